"""Memory for batches that is used again: fresh pages cost as much as copying a batch does.

A buffer comes back when the last array on it is gone, never before, so a batch belongs to the
caller for as long as it likes.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_SMALLEST_BYTES: Final = 1 << 18
"""Below this the allocator's own free lists do as well."""
_MAX_FREE: Final = 4


class _Lease:
    """Owns a buffer while arrays on it live: NumPy keeps it as their ``base``."""

    def __init__(self, buffer: NDArray[np.uint8], dtype: np.dtype[Any], shape: tuple[int, ...]):
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": dtype.str,
            "data": (buffer.ctypes.data, False),
        }
        # At the lease's end the queue itself is called, and no Python code: a KeyboardInterrupt
        # that came in a callback would be lost.
        self._ending = _Ending(self, _free.append)
        self._ending.buffer = buffer


class _Ending(weakref.ref[_Lease]):
    """Knows when a lease ends, and then offers its buffer."""

    buffer: NDArray[np.uint8]


_free: deque[_Ending] = deque(maxlen=_MAX_FREE)


def new_array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an uninitialised, writable array that the caller owns.

    Parameters
    ----------
    shape : tuple of int
        Its shape.
    dtype : numpy.dtype
        Its dtype, without objects in it.

    Returns
    -------
    ndarray
        C-contiguous; at most four buffers that nobody uses are kept for later calls.
    """
    num_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if num_bytes < _SMALLEST_BYTES:
        return np.empty(shape, dtype)
    return np.asarray(_Lease(_take(num_bytes), dtype, shape))


def _take(num_bytes: int) -> NDArray[np.uint8]:
    """A free buffer of a fitting size, or a new one with room for a somewhat larger batch."""
    for _ in range(_MAX_FREE):
        try:
            ending = _free.pop()
        except IndexError:
            break
        if num_bytes <= ending.buffer.size <= 4 * num_bytes:
            return ending.buffer
        _free.appendleft(ending)
    return np.empty(num_bytes + num_bytes // 4, np.uint8)
