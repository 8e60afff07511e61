"""Samples in memory, or in a file that is mapped into memory."""

from __future__ import annotations

import mmap
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sqrtspace_streams.sources.base import FiniteSource, Samples


class ArraySource(FiniteSource):
    """An array whose first axis is time; it is not copied.

    Parameters
    ----------
    array : ndarray, shape (num_samples, *item_shape)
    """

    def __init__(self, array: NDArray[Any]) -> None:
        if array.ndim < 1:
            raise ValueError("a source has at least one axis, that of time; this array has none")
        self.array = array.view()
        self.array.flags.writeable = False
        self.dtype, self.item_shape, self.length = array.dtype, array.shape[1:], len(array)

    def read(self, start: int, stop: int) -> Samples:
        """A view."""
        self.check_range(start, stop)
        samples: Samples = self.array[start:stop]
        return samples


class MmapSource(ArraySource):
    """A ``numpy.memmap``, read without a copy.

    Pages behind the cursor are given back to the system, so that a scan of a large file does not
    grow the process; they stay in the page cache.
    """

    def __init__(self, array: np.memmap[Any, Any]) -> None:
        super().__init__(array)
        self._map, self._first_byte = _map_of(array)
        self._released = 0

    def release(self, before: int) -> None:
        """Give the pages of earlier samples back."""
        if self._map is None or self.length == 0 or before <= 0:
            return
        end = self._first_byte + before * self.array.strides[0]
        end -= end % mmap.PAGESIZE
        if end < self._released:  # a later pass started anew
            self._released = 0
        start = max(self._released, self._first_byte - self._first_byte % mmap.PAGESIZE)
        if end > start:
            self._map.madvise(mmap.MADV_DONTNEED, start, end - start)
            self._released = end


def _map_of(array: np.memmap[Any, Any]) -> tuple[mmap.mmap | None, int]:
    """The map of an array and the array's offset in it; None where pages cannot be given back.

    Pages of a copy-on-write map hold what the user wrote: they are left alone.
    """
    held = cast("mmap.mmap | None", getattr(array, "_mmap", None))
    shared = getattr(array, "mode", None) in ("r", "r+")
    if held is None or not shared or not hasattr(mmap, "MADV_DONTNEED") or array.strides[0] <= 0:
        return None, 0
    address = np.frombuffer(held, np.uint8).ctypes.data
    return held, array.ctypes.data - address
