"""``ByteTable``: uint8 images to floating point in one pass on the CPU.

Each of the 256 values of a channel is converted once, in double precision, and looked up after
that: results are correctly rounded, and equal to the bit on any machine, in any batch, on any
number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_decoders._kernels.byte_tables import map_bytes
from slipstream_decoders.context import BatchContext

UNIT: Final[NDArray[np.float64]] = np.arange(256) / 255
"""Bytes as numbers in [0, 1]."""

_WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes


class ByteTable:
    """A conversion of uint8 channels to floating point.

    Parameters
    ----------
    values : ndarray of float64, shape (C, 256)
        What each byte of each channel becomes.
    dtype : dtype
        Of the result.
    """

    def __init__(self, values: NDArray[np.float64], dtype: torch.dtype) -> None:
        self.dtype = dtype
        words = torch.from_numpy(values).to(dtype).view(_WORDS[dtype.itemsize])
        self._table: NDArray[Any] = words.numpy()

    def takes(self, images: torch.Tensor) -> bool:
        """Whether ``convert`` can take these images.

        They must be uint8 on the CPU, shape (..., C, H, W), with the channels last in memory.
        """
        return (
            images.dtype == torch.uint8
            and images.device.type == "cpu"
            and images.shape[-3] == len(self._table)
            and images.numel() > 0
            and images.movedim(-3, -1).is_contiguous()
        )

    def convert(self, images: Sequence[torch.Tensor], context: BatchContext) -> list[torch.Tensor]:
        """Convert images that ``takes`` accepts.

        Parameters
        ----------
        images : sequence of Tensor of uint8, shape (..., C, H, W)
            One batch, or images of varying sizes.
        context : BatchContext
            Lends the results' memory and the threads.

        Returns
        -------
        list of Tensor
            In the same shape and memory order; they belong to the caller.
        """
        table = self._table
        sources: list[NDArray[np.uint8]] = []
        targets: list[NDArray[Any]] = []
        results = []
        for image in images:
            pixels = image.movedim(-3, -1)
            target = context.buffers.lend(tuple(pixels.shape), table.dtype)
            results.append(torch.from_numpy(target).view(self.dtype).movedim(-1, -3))
            shape = (-1, pixels.shape[-3] * pixels.shape[-2], len(table))
            sources += [*pixels.numpy().reshape(shape)]
            targets += [*target.reshape(shape)]

        def run(begin: int, end: int) -> None:
            for row in range(begin, end):
                map_bytes(sources[row], table, targets[row])

        context.threads.run(run, len(sources))
        return results
