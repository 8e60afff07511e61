"""Stages: layout, laws of randomness, conversions, views."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision.transforms import functional as tvf

from slipstream_decoders import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    BatchContext,
    DecodeCenterCrop,
    DecodeOnly,
    DecodeRandomResizedCrop,
    DecodeRandomResizeShortCropLong,
    DecodeResizeCrop,
    DecodeYUVCenterCrop,
    EncodedBatch,
    MultiCropPipeline,
    NamedCopies,
    Normalize,
    Stage,
    ToTorchImage,
    named_stages,
    run_stages,
)

SIDES = [(90, 70), (33, 120), (64, 64), (1, 1), (50, 201), (77, 31), (120, 90), (16, 300)]


def _payload(height: int, width: int, orientation: int = 0) -> bytes:
    rng = np.random.default_rng(height * 1000 + width)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8))
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    file = io.BytesIO()
    coarse.resize((width, height)).save(file, "JPEG", quality=92, exif=exif)
    return file.getvalue()


PAYLOADS = [_payload(*sides) for sides in SIDES]
BATCH = EncodedBatch.from_payloads(PAYLOADS)


def _context(ids: list[int], epoch: int = 0, seed: int = 5) -> BatchContext:
    return BatchContext(np.array(ids, np.int64), seed=seed, epoch=epoch)


ALL = list(range(len(PAYLOADS)))


@pytest.mark.parametrize(
    "stage", [DecodeCenterCrop(32), DecodeResizeCrop(40, 32), DecodeRandomResizedCrop(32)]
)
def test_images_are_channels_last_without_a_copy(stage: Stage) -> None:
    """uint8 (B, 3, H, W) whose memory is interleaved rows, as the decoder wrote it."""
    images = run_stages([stage], BATCH, _context(ALL))
    assert images.shape == (8, 3, 32, 32)
    assert images.dtype == torch.uint8
    assert images.is_contiguous(memory_format=torch.channels_last)


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(1, 7), max_size=4), epoch=st.integers(0, 3))
def test_random_crops_do_not_depend_on_batching(cuts: list[int], epoch: int) -> None:
    """Any split of the samples into batches, in any order, gives the same pixels a sample."""
    stage = DecodeRandomResizedCrop(24)
    whole = run_stages([stage], BATCH, _context(ALL, epoch))
    order = list(reversed(ALL))
    for rows in np.split(np.array(order), sorted(set(cuts))):
        if rows.size:
            part = run_stages([stage], BATCH.take(rows), _context(rows.tolist(), epoch))
            assert torch.equal(part, whole[torch.from_numpy(rows)])


def test_seeds_epochs_views_and_repeats_change_the_crops() -> None:
    """... and an explicit seed replaces the loader's, but not the epoch."""
    stage, seeded = DecodeRandomResizedCrop(24), DecodeRandomResizedCrop(24, seed=11)
    base = run_stages([stage], BATCH, _context(ALL))
    assert torch.equal(base, run_stages([stage], BATCH, _context(ALL)))
    assert not torch.equal(base, run_stages([stage], BATCH, _context(ALL, epoch=1)))
    assert not torch.equal(base, run_stages([stage], BATCH, _context(ALL, seed=6)))
    assert not torch.equal(base, run_stages([stage], BATCH, _context(ALL).in_view("other")))
    repeat = BatchContext(np.array(ALL), seed=5, occurrences=np.ones(8, np.int64))
    assert not torch.equal(base, run_stages([stage], BATCH, repeat))
    one = run_stages([seeded], BATCH, _context(ALL, seed=1))
    assert torch.equal(one, run_stages([seeded], BATCH, _context(ALL, seed=2)))
    assert not torch.equal(one, run_stages([seeded], BATCH, _context(ALL, epoch=1)))


def test_a_stage_outside_of_a_loader_is_random() -> None:
    """Called by hand without a seed it draws anew each time; bytes and load_batch dicts will do."""
    stage = DecodeRandomResizedCrop(24)
    assert not torch.equal(stage(PAYLOADS), stage(PAYLOADS))
    mapping = {
        "data": np.frombuffer(b"".join(PAYLOADS), np.uint8),
        "sizes": [len(payload) for payload in PAYLOADS],
        "heights": BATCH.heights,
        "widths": BATCH.widths,
    }
    center = DecodeCenterCrop(24)
    assert torch.equal(center(mapping), center(PAYLOADS))
    with pytest.raises(TypeError, match="first stage"):
        center(center(PAYLOADS))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("quality", ["exact", "fast"])
def test_exif_orientation_is_applied_on_request(orientation: int, quality: str) -> None:
    """Equal to turning the decoded image first."""
    payload = _payload(60, 90, orientation)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(payload)).convert("RGB"))
    left, top = round((upright.width - 60) / 2), round((upright.height - 60) / 2)
    expected = np.asarray(upright.crop((left, top, left + 60, top + 60))).astype(int)
    (crop,) = DecodeCenterCrop(60, exif="apply", quality=quality)([payload])
    difference = np.abs(crop.permute(1, 2, 0).numpy() - expected)
    assert difference.max() <= 1 if quality == "exact" else difference.mean() < 2
    (whole,) = DecodeOnly(exif="apply")([payload])
    np.testing.assert_array_equal(whole, np.asarray(upright))
    ignored = DecodeOnly()([payload])[0]
    assert ignored.shape == (60, 90, 3)


def test_both_ways_to_normalised_tensors_agree() -> None:
    """With and without ToTorchImage, uint8 tensors and HWC arrays: torchvision's numbers."""
    pixels = DecodeCenterCrop(24)(PAYLOADS)
    expected = tvf.normalize(pixels.float() / 255, IMAGENET_MEAN, IMAGENET_STD)
    arrays = pixels.permute(0, 2, 3, 1).numpy()
    for stages in (
        [Normalize()],
        [ToTorchImage(), Normalize()],
        [ToTorchImage()] * 2 + [Normalize()],
    ):
        for images in (pixels, arrays, torch.from_numpy(arrays)):
            out = run_stages(stages, images, _context(ALL))
            assert out.shape == (8, 3, 24, 24)
            torch.testing.assert_close(out, expected, rtol=0, atol=2e-6)
    assert Normalize(dtype=torch.float16)(pixels).dtype == torch.float16


def test_images_of_varying_sizes_stay_a_list() -> None:
    """DecodeOnly gives HWC arrays; the conversions then give CHW tensors."""
    images = DecodeOnly()(PAYLOADS)
    assert [image.shape for image in images] == [(*sides, 3) for sides in SIDES]
    tensors = run_stages([DecodeOnly(), ToTorchImage(), Normalize()], BATCH, _context(ALL))
    assert [tuple(t.shape) for t in tensors] == [(3, *sides) for sides in SIDES]


def test_named_copies_are_independent_and_views_have_their_own_pipelines() -> None:
    """One decode, several views; unlisted views pass through, unknown ones are an error."""
    stages = [
        DecodeCenterCrop(24),
        NamedCopies(["a", "b", "c"]),
        MultiCropPipeline({"a": [ToTorchImage()], "b": [ToTorchImage(), Normalize()]}),
    ]
    views = run_stages(stages, BATCH, _context(ALL))
    pixels = DecodeCenterCrop(24)(PAYLOADS)
    assert list(views) == ["a", "b", "c"]
    assert torch.equal(views["c"], pixels)
    torch.testing.assert_close(views["a"], pixels / 255)
    views["c"].zero_()
    assert views["a"].any()
    with pytest.raises(LookupError, match=r"\['z'\]"):
        run_stages([NamedCopies(["a"]), MultiCropPipeline({"z": []})], pixels, _context(ALL))


def test_views_draw_independently() -> None:
    """The same random stage in two views gets two streams, as do two stages of one view."""

    class Draw(Stage):
        def apply(self, batch: torch.Tensor, context: BatchContext) -> torch.Tensor:
            return torch.from_numpy(context.uniforms(1)[:, 0])

    class Append(Stage):
        def apply(self, batch: torch.Tensor, context: BatchContext) -> torch.Tensor:
            return torch.cat([batch, torch.from_numpy(context.uniforms(1)[:, 0])])

    blank = torch.zeros(8)
    views = run_stages(
        [NamedCopies(["a", "b"]), MultiCropPipeline({"a": [Draw()], "b": [Draw()]})],
        blank,
        _context(ALL),
    )
    assert not torch.equal(views["a"], views["b"])
    twice = run_stages([Append(), Append()], torch.zeros(0), _context(ALL))
    assert not torch.equal(twice[:8], twice[8:])


def test_wrong_arguments_are_refused_at_once() -> None:
    """Not in the first batch of a run."""
    for wrong in (
        lambda: DecodeCenterCrop(0),
        lambda: DecodeRandomResizedCrop(224, scale=(0.5, 0.1)),
        lambda: DecodeRandomResizedCrop(224, ratio=(0.0, 1.0)),
        lambda: DecodeRandomResizedCrop((1, 2, 3)),
        lambda: DecodeResizeCrop(224, 256),
        lambda: DecodeCenterCrop(224, quality="best"),  # type: ignore[arg-type]
        lambda: DecodeOnly(exif="maybe"),  # type: ignore[arg-type]
        lambda: DecodeOnly(engine="cpu"),  # type: ignore[arg-type]
        lambda: DecodeOnly(engine="planes"),  # type: ignore[arg-type]
        lambda: DecodeRandomResizedCrop(True),
        lambda: DecodeRandomResizedCrop(224.0),  # type: ignore[arg-type]
        lambda: DecodeRandomResizedCrop((224.0, 224)),  # type: ignore[arg-type]
        lambda: DecodeRandomResizeShortCropLong(32.0),  # type: ignore[arg-type]
        lambda: Normalize((0.5,), (0.0,)),
        lambda: Normalize((0.5,), (0.1, 0.2)),
        lambda: ToTorchImage(dtype=torch.uint8),
        lambda: NamedCopies([]),
        lambda: NamedCopies(["a", "a"]),
    ):
        with pytest.raises(ValueError, match=r"."):
            wrong()
    with pytest.raises(ValueError, match="engine must be one of 'auto', 'native'"):
        DecodeOnly(engine="nvimgcodec")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"write DecodeOnly\(\.\.\.\)"):
        named_stages([DecodeOnly])
    with pytest.raises(TypeError, match="callables"):
        MultiCropPipeline({"a": [3]})  # type: ignore[list-item]


def test_sizes_may_be_numpy_numbers() -> None:
    """As they come out of configurations and sweeps."""
    side: Any = np.int64(32)
    assert DecodeRandomResizeShortCropLong(side)(PAYLOADS).shape[-2:] == (32, 32)
    assert DecodeRandomResizedCrop((side, np.int32(24)))(PAYLOADS).shape[-2:] == (32, 24)


def test_engines_of_the_cpu_use_seek_points() -> None:
    """Those that begin with the native engine, and so after a stage was placed."""
    stage = DecodeRandomResizedCrop(32)
    assert stage.uses_seek_points
    for engine in ("auto", "cpu", "native", "planes"):
        assert DecodeRandomResizedCrop(32, engine=engine).uses_seek_points  # type: ignore[arg-type]
        assert stage.placed("cpu", engine).uses_seek_points  # type: ignore[arg-type]
    for engine in ("turbojpeg", "pillow"):
        assert not stage.placed("cpu", engine).uses_seek_points  # type: ignore[arg-type]
    assert not DecodeYUVCenterCrop(32).uses_seek_points


def test_output_size_may_change_between_epochs() -> None:
    """Progressive resizing sets the attribute; oblong outputs are (height, width)."""
    stage = DecodeRandomResizedCrop((20, 30))
    assert stage(PAYLOADS).shape[-2:] == (20, 30)
    stage.size = 16
    assert stage(PAYLOADS).shape[-2:] == (16, 16)


def test_importing_the_package_imports_neither_torch_nor_numba() -> None:
    """Names are loaded when they are used; each of __all__ exists."""
    code = (
        "import sys, slipstream_decoders as d\n"
        "assert not {'torch', 'numba', 'PIL'} & set(sys.modules), 'eager import'\n"
        "d.EncodedBatch, d.crop_images\n"
        "assert 'torch' not in sys.modules, 'the decoder core imports torch'\n"
        "assert all(getattr(d, name) is not None for name in d.__all__)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=Path.cwd())
