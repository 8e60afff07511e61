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
from slipstream_decoders.stages.channels_last import is_channels_last, map_pixels

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
        return is_channels_last(images, torch.uint8, len(self._table))

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

        def look_up(source: NDArray[Any], target: NDArray[Any]) -> None:
            map_bytes(source, table, target)

        results = map_pixels(images, look_up, table.dtype, context)
        return [result.view(self.dtype) for result in results]
