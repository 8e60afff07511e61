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

_free: deque[NDArray[np.uint8]] = deque(maxlen=_MAX_FREE)


class _Lease:
    """Owns a buffer while arrays on it live: NumPy keeps it as their ``base``."""

    def __init__(self, buffer: NDArray[np.uint8], dtype: np.dtype[Any], shape: tuple[int, ...]):
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": dtype.str,
            "data": (buffer.ctypes.data, False),
        }
        weakref.finalize(self, _free.append, buffer).atexit = False


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
            buffer = _free.pop()
        except IndexError:
            break
        if num_bytes <= buffer.size <= 4 * num_bytes:
            return buffer
        _free.appendleft(buffer)
    return np.empty(num_bytes + num_bytes // 4, np.uint8)
