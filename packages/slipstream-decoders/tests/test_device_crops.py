"""Crops that are finished on their stage's device: engines ``planes`` and ``nvimgcodec``.

On the CPU, torch does what a kernel does on a GPU, and nvImageCodec runs in its CPU-only mode.
"""

from __future__ import annotations

import copy
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream_decoders import (
    BatchContext,
    CorruptImageError,
    DecodeCenterCrop,
    DecodeMultiRandomResizedCrop,
    DecodeRandomResizedCrop,
    DecodeResizeCrop,
    EncodedBatch,
    MultiCropPipeline,
    Normalize,
    PixelForm,
    ToTorchImage,
    as_yuv420,
    build_seek_points,
    placed_stage,
    run_stages,
)
from slipstream_decoders.stages.device.nvimgcodec import is_nvimgcodec_installed

SIDES = [(90, 70), (33, 120), (64, 64), (1, 1), (50, 201), (77, 31), (120, 90), (16, 150)]
nvimgcodec = pytest.param(
    "nvimgcodec",
    marks=pytest.mark.skipif(not is_nvimgcodec_installed(), reason="nvImageCodec is not installed"),
)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def _payload(height: int, width: int, **options: Any) -> bytes:
    rng = np.random.default_rng(height * 1000 + width)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), np.uint8))
    file = io.BytesIO()
    coarse.resize((width, height)).save(file, "JPEG", **{"quality": 92, **options})
    return file.getvalue()


def _batch(*payloads: bytes) -> EncodedBatch:
    return EncodedBatch.from_payloads(payloads or [_payload(*sides) for sides in SIDES])


def _context(num: int = len(SIDES), **more: Any) -> BatchContext:
    return BatchContext(np.arange(num), seed=5, num_threads=1, **more)


def _levels(one: torch.Tensor, other: torch.Tensor) -> tuple[float, float]:
    """Largest and mean difference."""
    difference = (one.cpu().float() - other.cpu().float()).abs()
    return float(difference.max()), float(difference.mean())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "stage",
    [DecodeRandomResizedCrop((30, 41)), DecodeCenterCrop(40), DecodeResizeCrop(48, 40)],
    ids=lambda stage: type(stage).__name__,
)
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "gray", "planes"])
def test_planes_equal_the_cpus_fast_pixels(stage: Any, subsampling: str, device: str) -> None:
    """Planes resized on the device give the CPU's pixels, but for rounding."""
    if subsampling == "gray":
        images = [Image.open(io.BytesIO(_payload(*sides))).convert("L") for sides in SIDES]
        files = [io.BytesIO() for _ in images]
        for image, file in zip(images, files, strict=True):
            image.save(file, "JPEG")
        batch = _batch(*(file.getvalue() for file in files))
    elif subsampling == "planes":
        batch = as_yuv420(_batch(), _context())
    else:
        batch = _batch(*(_payload(*sides, subsampling=subsampling) for sides in SIDES))
    expected = stage.apply(batch, _context())
    there = _on(stage, device, "planes")
    found = there.apply(batch, _context())
    assert found.device.type == device
    assert found.dtype == torch.uint8
    assert found.is_contiguous(memory_format=torch.channels_last)
    largest, mean = _levels(expected, found)
    assert largest <= 1
    assert mean <= 0.02


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("engine", [nvimgcodec])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_nvimgcodec_equals_pillow(
    engine: str, subsampling: str, progressive: bool, device: str
) -> None:
    """Regions that nvImageCodec decodes, resized on the device, are Pillow's crop and resize."""
    options = {"subsampling": subsampling, "progressive": progressive}
    batch = _batch(*(_payload(*sides, **options) for sides in SIDES))
    stage = DecodeRandomResizedCrop(32, quality="exact", engine="pillow")
    expected = stage.apply(batch, _context())
    found = _on(stage, device, engine).apply(batch, _context())
    largest, mean = _levels(expected, found)
    assert largest <= (1 if device == "cpu" else 16)
    assert mean <= (0.5 if device == "cpu" else 1.0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("engine", ["planes", nvimgcodec])
def test_damaged_and_unsupported_images_go_to_the_cpu(engine: str, device: str) -> None:
    """A single image that an engine refuses is Pillow's, and leaves the others alone."""
    cmyk = Image.fromarray(np.full((40, 50, 4), 99, np.uint8), "CMYK")
    file = io.BytesIO()
    cmyk.save(file, "JPEG")
    sound = [_payload(60, 70), _payload(50, 44, progressive=True), file.getvalue()]
    stage = DecodeCenterCrop(24, device=device, engine=engine)
    expected = DecodeCenterCrop(24, engine="pillow").apply(_batch(*sound), _context(3))
    assert _levels(expected, stage.apply(_batch(*sound), _context(3)))[1] <= 1.0

    damaged = [sound[0], sound[0][: len(sound[0]) // 2], b"no image", sound[1]]
    with pytest.raises(CorruptImageError) as caught:
        stage.apply(_batch(*damaged), replace(_context(4), sample_ids=np.arange(10, 14)))
    assert caught.value.sample_ids == [11, 12]
    failures: dict[int, str] = {}
    found = stage.apply(_batch(*damaged), _context(4, failures=failures))
    assert sorted(failures) == [1, 2]
    assert not found[1].any()
    assert _levels(found[[0, 3]], expected[[0, 1]])[1] <= 1.0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("engine", ["planes", nvimgcodec])
def test_orientation_is_applied(engine: str, device: str) -> None:
    """Images that have to be turned are, beside upright ones."""
    exif = Image.Exif()
    payloads = []
    for orientation in (1, 6, 3):
        exif[0x0112] = orientation
        payloads.append(_payload(60, 44, exif=exif))
    batch = _batch(*payloads)
    stage = DecodeCenterCrop(40, exif="apply")
    expected = stage.apply(batch, _context(3))
    found = _on(stage, device, engine).apply(batch, _context(3))
    assert _levels(expected, found)[1] <= 1.5


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("engine", ["planes", nvimgcodec, "cpu", "auto"])
def test_normalised_on_the_device(engine: str, dtype: torch.dtype, device: str) -> None:
    """Stages after the crop are folded into it, with and without a device of their own."""
    for after in [Normalize(dtype=dtype), Normalize(dtype=dtype, device=device)]:
        stages = [DecodeRandomResizedCrop(24, device=device, engine=engine), after]
        found = run_stages(stages, _batch(), _context())
        assert (found.dtype, found.device.type) == (dtype, device)
        quality = "exact" if engine == "nvimgcodec" else "fast"
        plain = DecodeRandomResizedCrop(24, quality=quality)  # type: ignore[arg-type]
        expected = run_stages([plain, Normalize()], _batch(), _context())
        assert _levels(found, expected)[1] * 255 * 0.225 <= 0.6


@pytest.mark.parametrize("engine", ["planes", nvimgcodec])
def test_pipelines_are_placed(engine: Any) -> None:
    """Every crop of a pipeline can be put on a device with an engine; the rest stays."""
    crops = {"a": {"size": 16}, "b": {"size": 12}}
    stages = [
        DecodeRandomResizedCrop(20),
        DecodeMultiRandomResizedCrop(crops),
        MultiCropPipeline({"v": [DecodeCenterCrop(16), Normalize()], "w": [DecodeCenterCrop(8)]}),
    ]
    for stage in stages:
        expected = run_stages(stage, _batch(), _context())
        found = run_stages(placed_stage(stage, "cpu", engine), _batch(), _context())
        for name in expected if isinstance(expected, dict) else [...]:
            one, other = expected[name], found[name]
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
            level = 255 * 0.225 if one.is_floating_point() else 1
            assert _levels(one, other)[1] * level <= 4
    after = Normalize()
    assert placed_stage(after, "cpu", engine) is after


@pytest.mark.parametrize("device", DEVICES)
def test_several_views_of_one_decode(device: str) -> None:
    """All views of a multi-crop are made of one decode, from seek points too."""
    crops = {"a": {"size": 32, "scale": (0.3, 1.0)}, "b": {"size": (12, 16), "scale": (0.05, 0.3)}}
    batch = _batch()
    points = build_seek_points(batch)
    pointed = batch.with_seek_points(points.data, points.offsets, points.sizes)
    after = MultiCropPipeline({"a": [ToTorchImage(device)], "b": [Normalize()]})
    stages = [DecodeMultiRandomResizedCrop(crops), after]
    there = [DecodeMultiRandomResizedCrop(crops, device=device, engine="planes"), after]
    expected = run_stages([stages[0], MultiCropPipeline({"b": [Normalize()]})], batch, _context())
    for each in (batch, pointed):
        found = run_stages(there, each, _context())
        assert found["a"].device.type == found["b"].device.type == device
        assert _levels(expected["a"] / 255, found["a"])[0] <= 1.01 / 255
        assert _levels(expected["b"], found["b"])[0] <= 1e-2


def test_flips_are_those_of_the_cpu() -> None:
    """A mirrored output is the mirror of the plain one, to the bit."""
    from slipstream_decoders.stages.device.crop import DeviceJob, crop_by

    batch, flips = _batch(), np.arange(len(SIDES)) % 2 == 1
    stage = DecodeRandomResizedCrop((20, 27))
    form = PixelForm(np.dtype(np.float32), (0.1,) * 3, (-3.0,) * 3)
    plain, mirrored = (
        crop_by(
            "planes",
            DeviceJob(
                batch, [stage.view(batch, _context(), form, f)], torch.device("cpu"), _context()
            ),
        )[0]
        for f in (None, flips)
    )
    for row, flip in enumerate(flips):
        torch.testing.assert_close(mirrored[row].flip(-1) if flip else mirrored[row], plain[row])


def test_empty_batches_and_wrong_options() -> None:
    """A batch of nothing gives nothing; what cannot be is refused."""
    nothing = _batch().take(np.empty(0, np.int64))
    for engine in ("planes", "cpu", "auto"):
        stage = DecodeRandomResizedCrop(24, device="cpu", engine=engine)  # type: ignore[arg-type]
        assert stage.apply(nothing, _context(0)).shape == (0, 3, 24, 24)
    with pytest.raises(ValueError, match="fast"):
        DecodeCenterCrop(24, engine="planes", quality="exact")


def _on(stage: Any, device: str, engine: str) -> Any:
    """The same crop on a device, by an engine."""
    other = copy.copy(stage)
    other.options = replace(stage.options, quality="fast" if engine == "planes" else "exact")
    return other.placed(device, engine)
