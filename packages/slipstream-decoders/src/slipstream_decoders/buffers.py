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


class _Loan(weakref.ref["NDArray[Any]"]):
    """Knows when a lent array is gone, and then offers its buffer."""

    buffer: NDArray[np.uint8]


class BufferPool:
    """Lends arrays; thread-safe; an empty pool allocates and never waits.

    Parameters
    ----------
    max_free : int
        Buffers that are kept for later; further ones are given back to the system.
    """

    def __init__(self, max_free: int) -> None:
        self._max_free = max_free
        # Loans may end anywhere, also inside another thread's put: SimpleQueue allows it.
        self._returned: queue.SimpleQueue[_Loan] = queue.SimpleQueue()

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
        # At the array's end the queue itself is called, and no Python code: a KeyboardInterrupt
        # that came in a callback would be lost. The owner keeps the loan until then.
        owner.loan = _Loan(array, self._returned.put)
        owner.loan.buffer = buffer
        return array

    def _take(self, num_bytes: int) -> NDArray[np.uint8]:
        """The smallest free buffer that fits and is not far too large, or a new one."""
        free: list[_Loan] = []
        while True:
            try:
                free.append(self._returned.get_nowait())
            except queue.Empty:
                break
        most = 2 * num_bytes + _ALIGNMENT
        fitting = [loan for loan in free if num_bytes <= loan.buffer.nbytes <= most]
        chosen = min(fitting, key=lambda loan: loan.buffer.nbytes, default=None)
        kept = [loan for loan in free if loan is not chosen]
        for loan in kept[-self._max_free :] if self._max_free else []:
            self._returned.put(loan)
        if chosen is not None:
            return chosen.buffer
        # the next batch may be somewhat larger; pages that nobody touches cost nothing
        return _aligned(num_bytes + num_bytes // 8)


def _aligned(num_bytes: int) -> NDArray[np.uint8]:
    whole = np.empty(num_bytes + _ALIGNMENT, np.uint8)
    start = -whole.ctypes.data % _ALIGNMENT
    return whole[start : start + num_bytes]
