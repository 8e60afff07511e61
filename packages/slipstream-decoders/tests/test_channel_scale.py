"""Normalisation of float32 pixels in one pass: the formula, rounded once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slipstream_decoders import BatchContext, BufferPool, Normalize
from slipstream_decoders._kernels.channel_scale import scale_channels


def _images(num: int = 3, height: int = 37, width: int = 29, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(num, channels, height, width, generator=generator)
    return images.contiguous(memory_format=torch.channels_last)


def _context(num_threads: int = 1, buffers: BufferPool | None = None) -> BatchContext:
    return BatchContext(
        np.arange(3), seed=1, num_threads=num_threads, buffers=buffers or BufferPool(0)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_floats_are_normalised_by_the_formula(dtype: torch.dtype, channels: int) -> None:
    """Within one rounding of the formula in double precision, for both orders of the memory."""
    images = _images(channels=channels)
    mean, std = [0.1, 0.5, 0.4, 0.3][:channels], [0.2, 0.3, 0.25, 0.5][:channels]
    shape = (-1, 1, 1)
    exact = (images.double() - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    stage = Normalize(mean, std, dtype=dtype)
    result = stage.apply(images, _context())
    assert result.dtype == dtype
    assert result.is_contiguous(memory_format=torch.channels_last)
    eps = torch.finfo(dtype).eps
    assert ((result.double() - exact).abs() <= eps * (exact.abs() + 1)).all()
    planar = stage.apply(images.contiguous(), _context())
    assert channels == 1 or not planar.is_contiguous(memory_format=torch.channels_last)
    assert ((planar.double() - exact).abs() <= 8 * eps * (exact.abs() + 1)).all()


def test_threads_and_lists_do_not_matter() -> None:
    """One thread or three, a batch or a list of its images: the same bits, and the input stays."""
    images = _images()
    before = images.clone()
    whole = Normalize().apply(images, _context(1))
    assert torch.equal(Normalize().apply(images, _context(3)), whole)
    singles = Normalize().apply(list(images), _context())
    assert torch.equal(torch.stack(singles), whole)
    assert torch.equal(images, before)


def test_results_belong_to_the_caller() -> None:
    """Memory of the pool is not lent again while a result is held."""
    pool, images = BufferPool(4), _images()
    first = Normalize().apply(images, _context(buffers=pool))
    kept = first.clone()
    Normalize().apply(1 - images, _context(buffers=pool))
    assert torch.equal(first, kept)


def test_gradients_flow() -> None:
    """Where somebody wants a gradient, it is one over the deviation."""
    images = _images().requires_grad_()
    Normalize((0.0,) * 3, (0.5,) * 3).apply(images, _context()).sum().backward()
    assert images.grad is not None
    torch.testing.assert_close(images.grad, torch.full_like(images, 2.0))
    with torch.no_grad():
        assert not Normalize().apply(images, _context()).requires_grad


def test_kernel_refuses_what_does_not_fit() -> None:
    """Arrays of other lengths are left alone."""
    source, out = np.ones(6, np.float32), np.zeros(5, np.float32)
    one = np.ones(3, np.float32)
    assert not scale_channels(source, one, one, out)
    assert not scale_channels(source, one, one[:2], np.zeros(6, np.float32))
    assert not scale_channels(source, one[:0], one[:0], np.zeros(6, np.float32))
    assert not out.any()
