"""Batch buffers that are used again, but never while anybody can still see them.

Memory fresh from the system costs a page fault every 4 KiB, several percent of a decode. A buffer
is lent as a NumPy array; whatever is made from it (torch tensors, their views, their NumPy views)
keeps that array alive, and the buffer returns when the array is collected, not before.
"""

from __future__ import annotations

import ctypes
import queue
import weakref
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

_ALIGNMENT = 64


class Buffers(Protocol):
    """Where the memory of batches comes from."""

    def lend(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An uninitialised C-contiguous array that belongs to the caller."""


class BufferPool:
    """Lends arrays; thread-safe; an empty pool allocates and never waits.

    Parameters
    ----------
    max_free : int
        Buffers that are kept for later; further ones are given back to the system.
    """

    def __init__(self, max_free: int) -> None:
        self._max_free = max_free
        # The finaliser may run anywhere, also inside another thread's put: SimpleQueue allows it.
        self._returned: queue.SimpleQueue[NDArray[np.uint8]] = queue.SimpleQueue()

    def lend(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An uninitialised C-contiguous array, 64-byte aligned.

        Parameters
        ----------
        shape : tuple of int
        dtype : dtype

        Returns
        -------
        ndarray
            Belongs to the caller until it and every view or tensor made from it are gone.
        """
        dtype = np.dtype(dtype)
        num_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        buffer = self._take(num_bytes)
        # NumPy points views of views at the innermost array: with another kind of owner beneath,
        # that is this one.
        owner: Any = (ctypes.c_char * buffer.nbytes).from_buffer(buffer.data)
        array: NDArray[Any] = np.ndarray(shape, dtype, buffer=owner)
        weakref.finalize(array, self._returned.put, buffer).atexit = False
        return array

    def _take(self, num_bytes: int) -> NDArray[np.uint8]:
        """The smallest free buffer that fits and is not far too large, or a new one."""
        free = []
        while True:
            try:
                free.append(self._returned.get_nowait())
            except queue.Empty:
                break
        fitting = [b for b in free if num_bytes <= b.nbytes <= 2 * num_bytes + _ALIGNMENT]
        if fitting:
            chosen = min(fitting, key=lambda b: b.nbytes)
        else:  # the next batch may be somewhat larger; pages that nobody touches cost nothing
            chosen = _aligned(num_bytes + num_bytes // 8)
        kept = [b for b in free if b is not chosen][-self._max_free :] if self._max_free else []
        for buffer in kept:
            self._returned.put(buffer)
        return chosen


def _aligned(num_bytes: int) -> NDArray[np.uint8]:
    whole = np.empty(num_bytes + _ALIGNMENT, np.uint8)
    start = -whole.ctypes.data % _ALIGNMENT
    return whole[start : start + num_bytes]
