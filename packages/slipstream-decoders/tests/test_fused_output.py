"""Stages that a decoder does in its own pass: what comes out is what the stages would give."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from slipstream_decoders import (
    IMAGENET_STD,
    BatchContext,
    DecodeMultiRandomResizedCrop,
    DecodeRandomResizedCrop,
    DecodeRandomResizeShortCropLong,
    DecodeResizeCrop,
    DecodeUniformMultiRandomResizedCrop,
    EncodedBatch,
    MultiCropPipeline,
    Normalize,
    Output,
    PixelForm,
    Stage,
    ToTorchImage,
    build_yuv420,
    find_turbojpeg,
    fused_stages,
    named_stages,
    run_stages,
)
from slipstream_decoders.stages.base import StageLike

SIDES = [(90, 70), (33, 120), (64, 64), (1, 1), (50, 201), (120, 90)]
ENGINES = [
    "native",
    "pillow",
    pytest.param(
        "turbojpeg",
        marks=pytest.mark.skipif(find_turbojpeg() is None, reason="no TurboJPEG library"),
    ),
]
LEVEL = 0.55 / 255
"""The rounding to bytes, and of 16-bit numbers before it, that a fused pass leaves out."""


class Flip(Stage):
    """Mirrors half of the images."""

    def flips(self, context: BatchContext) -> NDArray[np.bool_]:
        return context.uniforms(1)[:, 0] < 0.5

    def apply(self, batch: torch.Tensor, context: BatchContext) -> torch.Tensor:
        flips = torch.from_numpy(self.flips(context))[:, None, None, None]
        flipped = torch.where(flips, batch.flip(3), batch)
        return flipped.contiguous(memory_format=torch.channels_last)

    def fold(self, output: Output, name: str) -> Output:
        return output.mirrored(name, self.flips)


def _payload(height: int, width: int, **options: Any) -> bytes:
    rng = np.random.default_rng(height * 1000 + width)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8))
    file = io.BytesIO()
    coarse.resize((width, height)).save(file, "JPEG", quality=92, **options)
    return file.getvalue()


PAYLOADS = [_payload(*sides) for sides in SIDES]
BATCH = EncodedBatch.from_payloads(PAYLOADS)


def _context(num: int = len(SIDES), **changes: Any) -> BatchContext:
    return BatchContext(np.arange(num), seed=5, **changes)


def _one_by_one(stages: list[StageLike], batch: Any, context: BatchContext) -> Any:
    """Every stage in a pass of its own, under the same name."""
    for name, stage in named_stages(stages):
        batch = stage.apply(batch, context.in_stage(name)) if isinstance(stage, Stage) else 0
    return batch


def _check_alike(fused: torch.Tensor, separate: torch.Tensor, atol: float) -> None:
    assert fused.dtype == separate.dtype
    assert fused.shape == separate.shape
    assert fused.stride() == separate.stride()
    torch.testing.assert_close(fused.float(), separate.float(), rtol=0, atol=atol)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("quality", ["fast", "exact"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_one_pass_gives_what_the_stages_give(engine: str, quality: str, dtype: torch.dtype) -> None:
    """Same draws, layout and dtype; exact to the rounding of floats, fast to half a level."""
    crop = DecodeRandomResizedCrop(24, quality=quality, engine=engine)  # type: ignore[arg-type]
    rounding = 2e-6 if dtype == torch.float32 else 4e-3
    level = LEVEL if quality == "fast" else 0.0
    for after, scale in (
        ([Flip(), Normalize(dtype=dtype)], 1 / min(IMAGENET_STD)),
        ([ToTorchImage(), Flip(), Normalize(dtype=dtype)], 1 / min(IMAGENET_STD)),
        ([ToTorchImage(dtype=dtype), Flip()], 1.0),
    ):
        stages: list[StageLike] = [crop, *after]
        assert len(fused_stages(stages)) == 1
        fused = run_stages(stages, BATCH, _context())
        separate = _one_by_one(stages, BATCH, _context())
        _check_alike(fused, separate, 1.01 * level * scale + rounding)


def test_flips_alone_change_no_pixel() -> None:
    """uint8 pixels are those of a flip after the decode, to the bit; two flips may cancel."""
    for stages in ([DecodeResizeCrop(30, 24), Flip()], [DecodeResizeCrop(30, 24), Flip(), Flip()]):
        assert len(fused_stages(stages)) == 1
        fused = run_stages(stages, BATCH, _context())
        assert torch.equal(fused, _one_by_one(stages, BATCH, _context()))
    draws = [_context().in_stage(name).uniforms(1)[:, 0] < 0.5 for name in ("Flip", "Flip#2")]
    assert (draws[0] ^ draws[1]).any()
    assert draws[0].any()


def test_turned_images_are_flipped_as_displayed() -> None:
    """EXIF orientation first, then the flip."""
    exif = Image.Exif()
    exif[0x0112] = 6
    batch = EncodedBatch.from_payloads([_payload(60, 90, exif=exif)] * 8)
    stages = [DecodeRandomResizedCrop((20, 30), exif="apply"), Flip(), Normalize()]
    fused = run_stages(stages, batch, _context(8))
    separate = _one_by_one(stages, batch, _context(8))
    _check_alike(fused, separate, 1.01 * LEVEL / min(IMAGENET_STD) + 2e-6)


@pytest.mark.parametrize("quality", ["fast", "exact"])
def test_stored_pixels_take_part(quality: str) -> None:
    """Payloads of planes and of RGB."""
    crop = DecodeRandomResizedCrop(24, quality=quality)  # type: ignore[arg-type]
    planes = build_yuv420(BATCH).payloads
    yuv = EncodedBatch.from_mapping(
        {
            "data": np.concatenate(planes),
            "sizes": [payload.size for payload in planes],
            "heights": BATCH.heights,
            "widths": BATCH.widths,
            "codecs": np.full(len(BATCH), 1),
        }
    )
    pixels = [np.asarray(Image.open(io.BytesIO(payload))) for payload in PAYLOADS]
    rgb = EncodedBatch.from_mapping(
        {
            "data": np.concatenate([image.reshape(-1) for image in pixels]),
            "sizes": [image.size for image in pixels],
            "heights": BATCH.heights,
            "widths": BATCH.widths,
            "codecs": np.full(len(BATCH), 2),
        }
    )
    for batch in (yuv, rgb):
        stages = [crop, Flip(), Normalize()]
        fused = run_stages(stages, batch, _context())
        atol = 2e-6 if quality == "exact" or batch is rgb else 1.01 * LEVEL / min(IMAGENET_STD)
        _check_alike(fused, _one_by_one(stages, batch, _context()), atol + 2e-6)


def test_each_view_has_an_output_of_its_own() -> None:
    """Of a multi-crop decoder and its pipelines; stages that are left keep their names."""

    class Draw(Stage):
        def apply(self, batch: torch.Tensor, context: BatchContext) -> torch.Tensor:
            return batch + torch.from_numpy(context.uniforms(1)).float()[:, :, None, None]

    crops = {"a": {"size": 20}, "b": {"size": 12}, "c": {"size": 8}}
    stages = [
        DecodeMultiRandomResizedCrop(crops, quality="exact"),
        MultiCropPipeline({"a": [Flip(), Normalize()], "b": [ToTorchImage(), Draw(), Flip()]}),
    ]
    (_, _decoder), (_, rest) = fused_stages(stages)
    assert isinstance(rest, MultiCropPipeline)
    assert [name for name, _ in rest.stages["b"]] == ["Draw", "Flip"]
    fused = run_stages(stages, BATCH, _context())
    separate = _one_by_one(stages, BATCH, _context())
    assert list(fused) == list(separate)
    for view in crops:
        _check_alike(fused[view], separate[view], 2e-6)
    assert fused["c"].dtype == torch.uint8
    whole = [stages[0], MultiCropPipeline({view: [Normalize()] for view in crops})]
    assert len(fused_stages(whole)) == 1


def test_a_list_of_views_takes_what_draws_nothing() -> None:
    """Normalisation of all crops is fused, a flip is not."""
    decoder = DecodeUniformMultiRandomResizedCrop(2, 16, quality="exact")
    stages = [decoder, ToTorchImage(), Normalize()]
    assert len(fused_stages(stages)) == 1
    fused = run_stages(stages, BATCH, _context())
    for one, other in zip(fused, _one_by_one(stages, BATCH, _context()), strict=True):
        _check_alike(one, other, 2e-6)
    assert len(fused_stages([decoder, Flip()])) == 2


class _Tuned(Normalize):
    def apply(self, batch: Any, context: BatchContext) -> Any:
        return super().apply(batch, context) * 2


@pytest.mark.parametrize(
    "after",
    [
        Normalize(dtype=torch.bfloat16),
        Normalize(dtype=torch.float64),
        Normalize(device="meta"),
        Normalize((0.5,) * 4, (0.5,) * 4),
        _Tuned(),
        torch.nn.Identity(),
    ],
    ids=lambda stage: type(stage).__name__,
)
def test_what_a_decoder_does_not_do_stays_a_stage(after: StageLike) -> None:
    """Other types and devices, subclasses that replaced ``apply``, modules of torch."""
    assert len(fused_stages([DecodeRandomResizedCrop(24), after, Normalize()])) == 3


def test_results_that_are_no_tensor_on_the_cpu_are_left_alone() -> None:
    """Lists of images of their own sizes, and crops for another device."""
    by_image = DecodeRandomResizeShortCropLong((8, 24), "per_image")
    assert len(fused_stages([by_image, Normalize()])) == 2
    assert len(fused_stages([DecodeRandomResizedCrop(8, device="meta"), Normalize()])) == 2


def test_failed_images_are_black_before_normalisation() -> None:
    """As they are when each stage has its own pass."""
    batch = EncodedBatch.from_payloads([PAYLOADS[0], b"nothing", PAYLOADS[2]])
    stages = [DecodeRandomResizedCrop(8, quality="exact"), Normalize()]
    fused = run_stages(stages, batch, _context(3, failures={}))
    _check_alike(fused, _one_by_one(stages, batch, _context(3, failures={})), 2e-6)
    assert torch.equal(fused[1], Normalize()(torch.zeros(1, 3, 8, 8))[0])


def test_a_fused_stage_follows_its_original() -> None:
    """A size that is changed between epochs counts."""
    crop = DecodeRandomResizedCrop(24)
    ((_, fused),) = fused_stages([crop, Normalize()])
    crop.size = 16
    assert fused(PAYLOADS).shape == (6, 3, 16, 16)


def test_pixel_forms_that_no_decoder_writes_are_refused() -> None:
    """Scaled bytes, doubles."""
    with pytest.raises(ValueError, match="float64"):
        PixelForm(np.dtype(np.float64))
    with pytest.raises(ValueError, match="scaled"):
        PixelForm(scale=(2.0, 1.0, 1.0))
