"""Compiled transforms on the CPU equal the same transforms in torch, which are their twins."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slipstream_decoders import BatchContext, _jit, run_stages
from slipstream_ssl_pipelines._kernels import blur, color, flip, tone, warp
from slipstream_ssl_pipelines._kernels.pixels import BLOCK, Grid
from slipstream_ssl_pipelines.transforms import (
    ImageTransform,
    RandAugment,
    RandomAffine,
    RandomBrightness,
    RandomColorJitter,
    RandomColorJitterYIQ,
    RandomContrast,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomHue,
    RandomPosterize,
    RandomRotate,
    RandomSaturation,
    RandomSolarization,
    RandomZoom,
    ToGrayscale,
    TrivialAugment,
    auto_augment,
    base,
)
from slipstream_ssl_pipelines.transforms.chunks import is_channels_last

NUM = 5
COLORS = [
    RandomBrightness(0.7),
    RandomContrast(0.7),
    RandomSaturation(0.7),
    RandomHue(0.7),
    RandomColorJitter(0.8, 0.5, 0.4, 0.8, 0.8),
    RandomColorJitter(1.0, saturation=0.9),
    RandomColorJitterYIQ(0.8, 90, 0.4, 0.4, 0.4, 0.4),
    RandomGrayscale(0.5),
    ToGrayscale(),
]
ANY_CHANNELS = [
    RandomHorizontalFlip(0.5),
    RandomGaussianBlur(0.8, 5),
    RandomSolarization(0.7, (0.0, 1.0)),
    RandomPosterize(0.7, (1, 8)),
    RandomRotate(0.7),
    RandomZoom(0.7, (0.5, 2.0), (0, 1), (0, 1)),
    RandomAffine(1.0, 180, (0.5, 0.5), (0.1, 3), (-40, 40)),
]
SIZES = [(1, 1), (3, 2), (17, 31)]  # the last one has more pixels than a block


def _name(value: object) -> str:
    return type(value).__name__


def _bytes(height: int, width: int, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height)
    shape = (NUM, channels, height, width)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    images[0] = images[0, :1]  # gray
    images[1] = 255
    images[2] = 0
    return images.contiguous(memory_format=torch.channels_last)


def _smooth(height: int, width: int) -> torch.Tensor:
    """Images on which a small error of a position is a small error of a pixel."""
    y, x = torch.meshgrid(torch.linspace(0, 3, height), torch.linspace(0, 2, width), indexing="ij")
    phases = torch.arange(3 * NUM).view(NUM, 3, 1, 1)
    return (0.5 + 0.5 * torch.sin(x + y + phases)).contiguous(memory_format=torch.channels_last)


def _context(num_threads: int | None = None, ids: int = NUM) -> BatchContext:
    return BatchContext(np.arange(ids), seed=11, num_threads=num_threads)


def _in_torch(
    monkeypatch: pytest.MonkeyPatch, stage: ImageTransform, images: torch.Tensor
) -> torch.Tensor:
    with monkeypatch.context() as patch:
        for module in (base, auto_augment):
            patch.setattr(module, "can_run", lambda _images: False)
        return run_stages([stage], images, _context(ids=len(images)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stage", COLORS + ANY_CHANNELS[:4], ids=_name)
def test_compiled_is_torch(
    monkeypatch: pytest.MonkeyPatch, stage: ImageTransform, size: tuple[int, int]
) -> None:
    """Floats within 2e-5, bytes within one level at ties, for both orders of the channels."""
    images = _bytes(*size)
    for batch in (images, images.contiguous()):
        expected = _in_torch(monkeypatch, stage, batch)
        result = run_stages([stage], batch, _context())
        assert result.dtype == torch.uint8
        assert is_channels_last(result) == is_channels_last(expected)
        difference = (result.int() - expected.int()).abs()
        assert difference.max() <= 1
        assert (difference > 0).float().mean() < 0.02
        floats = batch / 255
        expected = _in_torch(monkeypatch, stage, floats)
        result = run_stages([stage], floats, _context())
        torch.testing.assert_close(result, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("stage", "channels"),
    [
        *((stage, 1) for stage in ANY_CHANNELS),
        *((stage, 4) for stage in ANY_CHANNELS if stage.channels is None),
    ],
    ids=_name,
)
def test_other_numbers_of_channels(
    monkeypatch: pytest.MonkeyPatch, stage: ImageTransform, channels: int
) -> None:
    """Masks get what torch gives, RGBA images too where their opacity is treated like colours."""
    images = _bytes(9, 12, channels)
    result = run_stages([stage], images, _context())
    difference = (result.int() - _in_torch(monkeypatch, stage, images).int()).abs()
    assert (difference > 1).float().mean() < 0.01


@pytest.mark.parametrize("stage", ANY_CHANNELS[4:], ids=_name)
@pytest.mark.parametrize("size", SIZES)
def test_compiled_warps_are_torch(
    monkeypatch: pytest.MonkeyPatch, stage: RandomAffine, size: tuple[int, int]
) -> None:
    """On smooth images within 5e-4; nearest neighbours are the same but for ties."""
    images = _smooth(*size)
    for batch in (images, images.contiguous()):
        result = run_stages([stage], batch, _context())
        expected = _in_torch(monkeypatch, stage, batch)
        torch.testing.assert_close(result, expected, atol=5e-4, rtol=0)
    nearest = RandomAffine(1.0, 30, (0.3, 0.3), (0.5, 2), (-10, 10), interpolation="nearest")
    result = run_stages([nearest], images, _context())
    difference = (result - _in_torch(monkeypatch, nearest, images)).abs()
    assert (difference > 1e-6).float().mean() < 0.01


@pytest.mark.parametrize("policy", [RandAugment(), TrivialAugment(interpolation="bilinear")])
@pytest.mark.parametrize("number", range(14))
def test_each_operation_of_the_policies(
    monkeypatch: pytest.MonkeyPatch, policy: RandAugment | TrivialAugment, number: int
) -> None:
    """Compiled operations equal those in torch, on bytes and floats, alone and after another."""
    smooth = _smooth(24, 33)
    weak, strong = -policy.table[number].strongest / 2, policy.table[number].strongest
    levels = torch.tensor([0.0, weak, weak / 2, strong / 3, strong])
    if not policy.table[number].signed:
        levels = levels.abs()
    if policy.table[number].name == "Posterize":
        levels = torch.tensor([1.0, 2.0, 4.0, 7.0, 8.0])
    if policy.table[number].name == "Solarize":
        levels = torch.tensor([0.0, 0.2, 0.5, 0.7, 1.0])
    operation = torch.full((NUM, 2), number)
    operation[:, 1] = 6  # brightness
    params = {"operation": operation, "magnitude": torch.stack([levels, levels * 0.01], 1)}
    for images, limit in ((smooth, 1e-3), ((smooth * 255).to(torch.uint8), 1.0)):
        before = images.clone()
        result = policy.replay(images, params)
        with monkeypatch.context() as patch:
            patch.setattr(auto_augment, "can_run", lambda _images: False)
            expected = policy.replay(images, params)
        difference = (result.float() - expected.float()).abs()
        assert (difference > limit).float().mean() < 0.005  # ties, and jumps of equalize
        assert torch.equal(images, before)


@pytest.mark.parametrize("stage", COLORS[:-1] + ANY_CHANNELS, ids=_name)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_threads_and_place_do_not_matter(stage: ImageTransform, dtype: torch.dtype) -> None:
    """One thread or four, in place or not: the same bits."""
    images = _bytes(17, 31)
    images = images if dtype == torch.uint8 else (images / 255).to(dtype)
    result = run_stages([stage], images, _context(1))
    assert torch.equal(run_stages([stage], images, _context(4)), result)
    in_place = type(stage).__new__(type(stage))
    in_place.__setstate__({**stage.__getstate__(), "inplace": True})
    written = images.clone(memory_format=torch.preserve_format)
    assert run_stages([in_place], written, _context(1)) is written
    assert torch.equal(written, result)


def test_gradients_and_views_take_torch() -> None:
    """Where a gradient is wanted, or memory has gaps, ``transform`` does the work."""
    stage, images = RandomColorJitter(1.0, 0.1, 0.4, 0.4, 0.4), _smooth(8, 9)
    wanted = images.clone().requires_grad_()
    run_stages([stage], wanted, _context()).sum().backward()
    assert wanted.grad is not None
    assert wanted.grad.abs().sum() > 0
    wide = torch.zeros(NUM, 3, 8, 20)
    wide[..., 3:12] = images
    result = run_stages([stage], wide[..., 3:12], _context())
    expected = run_stages([stage], images, _context())
    torch.testing.assert_close(result, expected, atol=2e-5, rtol=0)
    doubles = run_stages([stage], images.double(), _context())
    assert doubles.dtype == torch.float64
    torch.testing.assert_close(doubles.float(), expected, atol=2e-5, rtol=0)


def test_kernels_refuse_what_does_not_fit() -> None:
    """Shapes are checked before anything is written."""
    source, target = np.full(12, 0.5, np.float32), np.zeros(12, np.float32)
    one, lines = np.float32(1), np.empty((4, BLOCK), np.float32)
    factors, matrix = np.ones(4, np.float32), np.zeros((2, 3))
    image, ring = source.reshape(1, 2, 2, 3), np.empty((3, 6), np.float32)
    grid = Grid(3, 2, 2, 1, 3)
    calls = [
        color.adjust_colors(source[:11], False, 1, factors, one, one, one, target[:11], lines),
        color.adjust_colors(source, False, 1, factors[:3], one, one, one, target, lines),
        color.adjust_colors(source, False, 1, factors, one, one, one, target, lines[:3]),
        color.mix_colors(source, False, np.eye(3, dtype=np.float32), one, one, one, target, lines),
        color.to_luma(source, False, one, target[:5], lines),
        tone.solarize(source, one, one, target[:5]),
        tone.keep_levels(source, one, target[:5]),
        tone.mask_bits(np.zeros(4, np.uint8), np.uint8(1), np.zeros(3, np.uint8)),
        tone.sharpen(image, one, one, one, target.reshape(1, 2, 2, 3), ring),
        tone.map_channels(
            np.zeros((1, 4, 3), np.uint8), np.zeros((2, 256), np.uint8), np.zeros((1, 4, 3), "u1")
        ),
        tone.count_values(np.zeros((1, 4, 3), np.uint8), np.zeros((2, 256), np.int64)),
        tone.stretch(image[0], target.reshape(2, 2, 3), np.empty((2, 3, 7), np.float32)),
        blur.filter_image(
            image, factors[:2], True, one, one, target.reshape(1, 2, 2, 3), ring, lines[:2]
        ),
        flip.mirror(np.zeros(12, np.uint8), Grid(3, 2, 3, 1, 3), np.zeros(12, np.uint8)),
        warp.warp_nearest(source, grid, matrix[:1], target),
        warp.warp_nearest(source, grid, matrix * np.nan, target),
        warp.warp_bilinear(source, grid._replace(step=4), matrix, one, target),
    ]
    assert not any(calls)
    assert not target.any()


def test_machine_code_is_kept_under_its_sources() -> None:
    """The directory of these kernels is named after this package and all that they depend on."""
    directory = _jit._usable_directory(_jit._package_of(color.adjust_colors.py_func))  # type: ignore[attr-defined]
    assert directory.name.startswith("slipstream_ssl_pipelines-")
    assert directory.name != _jit._usable_directory(_jit._PACKAGE).name
