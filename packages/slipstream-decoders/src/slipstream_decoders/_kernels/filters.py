"""Antialiased triangle filters as tables in a workspace, and what both resizers check.

A resize is separable. One axis is described by a table of 4-byte words: the first source pixel of
each output pixel (int32), then the weights tap by tap, ``weights[tap][output]``. Every output has
the same number of taps (missing ones weigh 0), so no inner loop has a length that the processor
cannot predict; the first pixel is clamped so that all taps stay between the bounds. A flip is the
same table in reverse order and costs nothing.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.simd.memory import (
    read_f64,
    write_f64,
    write_i32,
)

OK: Final = 0
"""The output is written. These three are numbers of ``status.DecodeStatus``."""
BAD_BOX: Final = 5
"""The window or the bounds are empty, not finite, or not inside one another. Nothing is written."""
WORKSPACE: Final = 6
"""The workspace is smaller than the size function says. Nothing is written."""

FIXED_POINT_BITS: Final = 22
"""Fractional bits of integer weights."""

_LARGEST_SIDE = 1 << 24
_ROUNDING = 1e-3  # pixels by which rounding may push a window over its bounds


@kernel
def round_up(value: int, multiple: int) -> int:
    """The smallest multiple that is not below ``value``."""
    return (value + multiple - 1) // multiple * multiple


@kernel
def most_taps(source_size: int, output_size: int) -> int:
    """No window of at most ``source_size`` pixels needs more taps than this."""
    support = max(source_size / output_size, 1.0)
    return min(source_size, math.ceil(2.0 * support) + 1)


@kernel
def table_size(taps: int, entries: int) -> int:
    """Bytes of a filter table."""
    return 4 * (1 + taps) * entries


@kernel
def is_window_inside(start: float, length: float, first: int, size: int, source_size: int) -> bool:
    """Whether on one axis the window lies in the bounds, and the bounds in the source."""
    if size < 1 or first < 0 or source_size > _LARGEST_SIDE or first + size > source_size:
        return False
    return (  # comparisons with NaN are false
        length > 0.0 and start >= first - _ROUNDING and start + length <= first + size + _ROUNDING
    )


@kernel
def fill_fixed_filter(
    start: float,
    stop: float,
    size: int,
    outputs: int,
    entries: int,
    flip: bool,
    table: int,
    scratch: int,
) -> int:
    """Integer weights, equal to those of Pillow's BILINEAR bit for bit.

    Parameters
    ----------
    start, stop : float
        Ends of the window in pixels, relative to the bounds; rounded to float32 as Pillow does.
    size : int
        Pixels between the bounds.
    outputs, entries : int
        Output pixels, and entries of the table: those above ``outputs`` repeat the last.
    flip : bool
        Whether the first output is the window's last pixel.
    table, scratch : int
        Addresses of ``table_size(most_taps(size, outputs), entries)`` bytes, and of 8 bytes a tap.

    Returns
    -------
    int
        Number of taps.
    """
    low = np.float32(min(max(start, 0.0), float(size)))
    high = np.float32(min(max(stop, 0.0), float(size)))
    scale = np.float64(high - low) / outputs
    support = max(scale, 1.0)
    inverse = 1.0 / support
    taps = 1
    for output in range(outputs):
        centre = np.float64(low) + (output + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        taps = max(taps, min(int(centre + support + 0.5), size) - first)
    for entry in range(entries):
        output = min(entry, outputs - 1)
        if flip:
            output = outputs - 1 - output
        centre = np.float64(low) + (output + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        last = min(int(centre + support + 0.5), size)
        base = min(first, size - taps)
        total = 0.0
        for tap in range(taps):
            weight = 0.0
            if first <= base + tap < last:
                weight = max(1.0 - abs((base + tap - centre + 0.5) * inverse), 0.0)
            write_f64(scratch + 8 * tap, weight)
            total += weight
        write_i32(table + 4 * entry, base)
        for tap in range(taps):
            weight = read_f64(scratch + 8 * tap) / total
            fixed = int(0.5 + weight * (1 << FIXED_POINT_BITS))
            write_i32(table + 4 * ((1 + tap) * entries + entry), fixed)
    return taps
