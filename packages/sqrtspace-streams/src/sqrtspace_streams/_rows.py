"""Rows of a node: its values for a range of windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqrtspace_streams._stage import Pad

Array = NDArray[Any]
Range = tuple[int, int]  # half-open, of windows


@dataclass(slots=True)
class Rows:
    """``array[i]`` belongs to window ``lo + i``; not to be written to."""

    lo: int
    array: Array

    @property
    def hi(self) -> int:
        """One past the last window."""
        return self.lo + len(self.array)

    def part(self, lo: int, hi: int) -> Array:
        """Windows ``[lo, hi)``, without a copy."""
        if lo == self.lo and hi - lo == len(self.array):
            return self.array
        return self.array[lo - self.lo : hi - self.lo]


def has_same_bits(a: Array, b: Array) -> bool:
    """Whether arrays are equal to the bit; a NaN is a NaN, whatever its sign and payload.

    Those depend, even for sums of two numbers, on where in a vector of the processor they stand.
    Bytes between fields, and those that fill up a ``longdouble``, hold no value and do not count.
    """
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.hasobject:
        return bool(np.array_equal(a, b))
    if np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes():
        return True
    if a.dtype.names is not None:
        return all(has_same_bits(a[name], b[name]) for name in a.dtype.names)
    if a.dtype.kind == "c":
        return has_same_bits(a.real, b.real) and has_same_bits(a.imag, b.imag)
    if a.dtype.kind != "f":
        return False
    same = (a == b) & (np.signbit(a) == np.signbit(b))
    return bool((same | (np.isnan(a) & np.isnan(b))).all())


def windows_of(samples: Array, num_windows: int, window: int, hop: int) -> Array:
    """Overlapping windows of samples: a read-only view of shape (num_windows, window, ...)."""
    if samples.flags.c_contiguous and not samples.dtype.hasobject:
        step, shape = samples.strides[0], (num_windows, window, *samples.shape[1:])
        strides = (hop * step, *samples.strides)  # ten times faster than sliding_window_view
        array: Array = np.ndarray(shape, samples.dtype, samples, 0, strides)
        array.setflags(write=False)
        return array
    view = np.lib.stride_tricks.sliding_window_view(samples, window, axis=0)[::hop][:num_windows]
    return np.moveaxis(view, -1, 1)


def padded(rows: Rows, wanted: Range, usable: Range, limit: int, pad: Pad) -> Array:
    """Windows ``wanted``; a view where all of them are there, else a copy.

    Windows before 0 and from ``limit`` on are made by ``pad``. Others outside of ``usable``, which
    only complete a block, repeat the nearest usable one.
    """
    lo, hi = wanted
    if lo >= max(usable[0], 0) and hi <= min(usable[1], limit):
        return rows.part(lo, hi)
    index = np.clip(np.arange(lo, hi), usable[0], usable[1] - 1)
    inside = np.clip(index, 0, limit - 1)
    block = rows.array[inside - rows.lo]
    if pad == "zero":
        block[inside != index] = np.zeros((), block.dtype)
    block.setflags(write=False)
    return block
