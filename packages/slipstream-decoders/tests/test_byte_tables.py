"""uint8 to floating point on the CPU: exact, equal in any batch, and in the promised layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import functional as tvf

from slipstream_decoders import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    BatchContext,
    BufferPool,
    Normalize,
    Stage,
    ToTorchImage,
)
from slipstream_decoders._kernels.byte_tables import map_bytes

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
MEAN = torch.tensor(IMAGENET_MEAN, dtype=torch.float64).view(3, 1, 1)
STD = torch.tensor(IMAGENET_STD, dtype=torch.float64).view(3, 1, 1)


def _pixels(batch: int = 5, height: int = 7, width: int = 9, channels: int = 3) -> torch.Tensor:
    """uint8 (B, C, H, W) in channels_last order."""
    generator = torch.Generator().manual_seed(batch)
    shape = (batch, height, width, channels)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return pixels.permute(0, 3, 1, 2)


def _apply(stage: Stage, images: object, num_threads: int = 2) -> torch.Tensor:
    pool = BufferPool(2)
    context = BatchContext(np.arange(5), seed=0, buffers=pool, num_threads=num_threads)
    result: torch.Tensor = stage.apply(images, context)
    return result


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_byte_is_converted_exactly(dtype: torch.dtype) -> None:
    """Each of the 256 values is the double-precision result, rounded once to the dtype."""
    every = torch.arange(256, dtype=torch.uint8).repeat_interleave(3).reshape(1, 16, 16, 3)
    images = every.permute(0, 3, 1, 2)
    unit = images.double() / 255
    assert torch.equal(_apply(ToTorchImage(dtype=dtype), images), unit.to(dtype))
    assert torch.equal(_apply(Normalize(dtype=dtype), images), ((unit - MEAN) / STD).to(dtype))


def test_floats_are_torchvisions() -> None:
    """Within 2e-6 of to_tensor and normalize; to_tensor's own numbers to the bit."""
    images = _pixels()
    unit = images.float() / 255
    assert torch.equal(_apply(ToTorchImage(), images), unit)
    expected = tvf.normalize(unit, IMAGENET_MEAN, IMAGENET_STD)
    torch.testing.assert_close(_apply(Normalize(), images), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("stage", [ToTorchImage(), Normalize(), Normalize(dtype=torch.float16)])
def test_results_are_channels_last_and_new(stage: Stage) -> None:
    """(B, C, H, W) over interleaved rows; the input is left alone and shares no memory."""
    images = _pixels()
    before = images.clone()
    result = _apply(stage, images)
    assert result.shape == images.shape
    assert result.is_contiguous(memory_format=torch.channels_last)
    result.zero_()
    assert torch.equal(images, before)


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(1, 30), max_size=5), threads=st.integers(1, 3))
def test_bits_do_not_depend_on_batch_or_threads(cuts: list[int], threads: int) -> None:
    """Any split, any number of threads, in a list or in a batch: equal to the bit."""
    images, stage = _pixels(31), Normalize()
    whole = _apply(stage, images, 1)
    parts = torch.tensor_split(images, sorted(set(cuts)))
    rejoined = torch.cat([_apply(stage, part, threads) for part in parts if len(part)])
    assert torch.equal(rejoined, whole)
    listed = _apply(stage, [image.movedim(0, -1).numpy() for image in images], threads)
    assert isinstance(listed, list)
    assert all(map(torch.equal, listed, whole))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_one_three_or_four_channels(channels: int) -> None:
    """Each channel has its own table; torch's operations give the same numbers."""
    images = _pixels(channels=channels)
    mean, std = [0.1, 0.2, 0.3, 0.4][:channels], [0.5, 0.6, 0.7, 0.8][:channels]
    result = _apply(Normalize(mean, std), images)
    planes = _apply(Normalize(mean, std), images.contiguous())
    torch.testing.assert_close(result, planes, rtol=0, atol=2e-6)
    expected = tvf.normalize(images.float() / 255, mean, std)
    torch.testing.assert_close(result, expected, rtol=0, atol=2e-6)


def test_what_the_kernel_does_not_take_goes_through_torch() -> None:
    """Planar memory, floats, empty batches and lists of mixed kinds."""
    images = _pixels()
    expected = _apply(Normalize(), images)
    for other in (images.contiguous(), images.float() / 255, images[:, :, ::1, :]):
        torch.testing.assert_close(_apply(Normalize(), other), expected, rtol=0, atol=2e-6)
    assert _apply(Normalize(), images[:0]).shape == (0, 3, 7, 9)
    mixed = _apply(ToTorchImage(), [images[0], images[1].float() / 255])
    torch.testing.assert_close(mixed[0], images[0] / 255)
    assert _apply(ToTorchImage(), []) == []
    with pytest.raises(ValueError, match="expected 3 channels, got 4"):
        _apply(Normalize(), _pixels(channels=4))


def test_buffers_come_back_to_the_pool() -> None:
    """The result's memory is lent by the pool and used again once nobody can see it."""
    pool = BufferPool(4)
    context = BatchContext(np.arange(5), seed=0, buffers=pool)
    first = Normalize().apply(_pixels(), context)
    address = first.data_ptr()
    second = Normalize().apply(_pixels(), context)
    assert second.data_ptr() != address
    del first
    assert Normalize().apply(_pixels(), context).data_ptr() == address


def test_the_kernel_checks_shapes() -> None:
    """What does not fit together is refused and nothing is written."""
    table = np.zeros((3, 256), np.int16)
    out = np.ones((4, 3), np.int16)
    assert not map_bytes(np.zeros((5, 3), np.uint8), table, out)
    assert not map_bytes(np.zeros((4, 3), np.uint8), table[:2], out)
    assert not map_bytes(np.zeros((4, 3), np.uint8), table[:, :255], out)
    assert out.all()
    assert map_bytes(np.zeros((4, 3), np.uint8), table, out)
    assert not out.any()
