"""How a transform runs over the rows of a batch: gated, and on the CPU a few images at a time.

A pass over a whole batch of floats goes through main memory; a few images stay in the cache of a
core, so that a transform of ten passes costs ten passes in cache and one through memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import torch

from slipstream_decoders.buffers import Buffers

Params = dict[str, Any]
"""Name -> tensor with one row a sample, or nested ``Params``."""
Work = Literal["whole", "native", "levels", "float", "planes"]
"""What a transform's function takes: pixels as they come, of all rows; the same, but floating point
ones a few rows at a time; floating point in the range of the pixels, whose brightest value is
``params["top"]``; floating point, bytes being scaled to [0, 1]; the same with each channel
contiguous."""

CHUNK_ELEMENTS = 2**18
"""Elements a chunk and thread on the CPU: 1 MiB of float32."""
_WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}  # by bytes


def take_rows(params: Params, rows: Any, device: torch.device | None = None) -> Params:
    """The parameters of some samples.

    Parameters
    ----------
    params : Params
    rows : slice or Tensor of int64
    device : device, optional
        Where they go.
    """
    return {
        name: take_rows(value, rows, device)
        if isinstance(value, dict)
        else value[rows].to(device, non_blocking=True)
        for name, value in params.items()
    }


def is_channels_last(images: torch.Tensor) -> bool:
    """Whether the channels of (B, C, H, W) are next to each other in memory, and the rows not."""
    return images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()


def empty_images(
    shape: tuple[int, ...], like: torch.Tensor, buffers: Buffers, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """Uninitialised (B, C, H, W) in the device and memory order of another batch.

    On the CPU the memory is lent by the pool; it belongs to whoever holds the tensor.
    """
    dtype = dtype or like.dtype
    last = is_channels_last(like)
    if like.device.type != "cpu":
        order = torch.channels_last if last else torch.contiguous_format
        return torch.empty(shape, dtype=dtype, device=like.device, memory_format=order)
    b, c, h, w = shape
    array = buffers.lend((b, h, w, c) if last else shape, _WORDS[dtype.itemsize])
    images = torch.from_numpy(array).view(dtype)
    return images.permute(0, 3, 1, 2) if last else images


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """Arithmetic is in float32, but for float64 images."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def widen(images: torch.Tensor, work: Work) -> torch.Tensor:
    """Images in the form that a function works on; the input itself where it has that form."""
    if work in ("whole", "native"):
        return images
    order = torch.contiguous_format if work == "planes" else torch.preserve_format
    wide = images.to(working_dtype(images.dtype), memory_format=order)
    return wide.mul_(1 / 255) if images.dtype == torch.uint8 and work != "levels" else wide


def narrow(images: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Results back in a batch's type: bytes are rounded to the nearest."""
    return _rounded(images, dtype, 255.0).to(dtype)


def _rounded(images: torch.Tensor, dtype: torch.dtype, scale: float) -> torch.Tensor:
    """Numbers that become the right bytes where a conversion cuts off; others as they are."""
    if dtype == torch.uint8 and images.dtype != dtype:
        return torch.add(images.new_tensor(0.5), images, alpha=scale).clamp_(0, 255.5)
    return images


def chunks_of(num_rows: int, images: torch.Tensor) -> Iterator[slice]:
    """Ranges of ``num_rows`` rows to work on at once: all of them, but on the CPU."""
    step = num_rows
    if images.device.type == "cpu" and num_rows:
        elements = max(1, images[0].numel())
        step = max(1, CHUNK_ELEMENTS * torch.get_num_threads() // elements)
    return (slice(begin, min(begin + step, num_rows)) for begin in range(0, num_rows, max(1, step)))


def run_rows(
    images: torch.Tensor,
    rows: torch.Tensor | None,
    params: Params,
    function: Callable[[torch.Tensor, Params], torch.Tensor],
    work: Work,
    out: torch.Tensor | None,
    buffers: Buffers,
) -> torch.Tensor:
    """Apply a function to some rows of a batch, or to all.

    Parameters
    ----------
    images : Tensor, shape (B, C, H, W)
    rows : Tensor of int64 on the CPU, or None
        The samples it is applied to; None: all of them.
    params : Params
        Of the whole batch, on the CPU.
    function : callable
        (images, params) of a few samples -> images, not necessarily in the same size.
    work : {"whole", "native", "levels", "float", "planes"}
    out : Tensor or None
        Where the results go: a batch like ``images``, which it may be. Required with ``rows``.
    buffers : Buffers

    Returns
    -------
    Tensor
        ``out``, or a new one.
    """
    num_rows = len(images) if rows is None else len(rows)
    top = 255.0 if work == "levels" and images.dtype == torch.uint8 else 1.0
    at_once = work == "whole" or (work == "native" and images.dtype == torch.uint8)
    parts = [slice(0, num_rows)] if at_once else chunks_of(num_rows, images)
    for part in parts:
        chosen: Any = part if rows is None else rows[part]
        if rows is not None and len(chosen) == 1:
            chosen = slice(int(chosen[0]), int(chosen[0]) + 1)
        on_device = chosen.to(images.device) if isinstance(chosen, torch.Tensor) else chosen
        some = images[on_device]
        of_some = take_rows(params, chosen, images.device)
        if work == "levels":
            of_some["top"] = top
        result = function(widen(some, work), of_some)
        dtype = result.dtype if work in ("whole", "native") else images.dtype
        result = _rounded(result, dtype, 255.0 / top)
        if out is None:
            if len(result) == len(images):
                return in_order_of(images, result.to(dtype))
            out = empty_images((len(images), *result.shape[1:]), images, buffers, dtype)
        if isinstance(on_device, slice):
            out[on_device] = result  # converts on the way
        else:
            out[on_device] = result.to(dtype)
    return images if out is None else out


def in_order_of(like: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Images in the memory order of another batch; the input itself where it has that order."""
    order = torch.channels_last if is_channels_last(like) else torch.contiguous_format
    return images.contiguous(memory_format=order)
