"""One compiled pass over the pixels of images that have their channels last in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from numpy.typing import DTypeLike, NDArray

from slipstream_decoders.context import BatchContext


def is_channels_last(images: torch.Tensor, dtype: torch.dtype, num_channels: int) -> bool:
    """Whether ``map_pixels`` can take images of this dtype, shape (..., C, H, W).

    They must be on the CPU, with the channels last in memory, and not be empty.
    """
    return (
        images.dtype == dtype
        and images.device.type == "cpu"
        and images.shape[-3] == num_channels
        and images.numel() > 0
        and images.movedim(-3, -1).is_contiguous()
    )


def map_pixels(
    images: Sequence[torch.Tensor],
    kernel: Callable[[NDArray[Any], NDArray[Any]], None],
    dtype: DTypeLike,
    context: BatchContext,
) -> list[torch.Tensor]:
    """Write each image anew.

    Parameters
    ----------
    images : sequence of Tensor, shape (..., C, H, W)
        One batch, or images of varying sizes, for all of which ``is_channels_last``.
    kernel : callable
        Takes the pixels of one image and those of its result, shape (H * W, C) each.
    dtype : dtype
        Of the results.
    context : BatchContext
        Lends the results' memory and the threads.

    Returns
    -------
    list of Tensor
        In the same shape and memory order; they belong to the caller.
    """
    sources: list[NDArray[Any]] = []
    targets: list[NDArray[Any]] = []
    results = []
    for image in images:
        pixels = image.detach().movedim(-3, -1)
        target = context.buffers.lend(tuple(pixels.shape), dtype)
        results.append(torch.from_numpy(target).movedim(-1, -3))
        shape = (-1, pixels.shape[-3] * pixels.shape[-2], pixels.shape[-1])
        sources += [*pixels.numpy().reshape(shape)]
        targets += [*target.reshape(shape)]

    def run(begin: int, end: int) -> None:
        for row in range(begin, end):
            kernel(sources[row], targets[row])

    context.threads.run(run, len(sources))
    return results
