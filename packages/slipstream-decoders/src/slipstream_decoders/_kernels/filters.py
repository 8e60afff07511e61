"""Antialiased triangle filters as tables in a workspace, and what both resizers check.

A resize is separable. One axis is described by a table of 4-byte words: the first source pixel of
each output pixel (int32), then the weights tap by tap, ``weights[tap][output]``. Every output has
the same number of taps (missing ones weigh 0), so no inner loop has a length that the processor
cannot predict; the first pixel is clamped so that all taps stay between the bounds. A flip is the
same table in reverse order and costs nothing.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.simd.arithmetic import divide, splat_f32, triangle
from slipstream_decoders._kernels.simd.memory import (
    load_f32,
    read_f64,
    read_i32,
    read_u8,
    store_f32,
    write_f32,
    write_f64,
    write_i32,
    write_u8,
)

FIXED_POINT_BITS: Final = 22
"""Fractional bits of integer weights."""

_LARGEST_SIDE = 1 << 24
_ROUNDING = 1e-3  # pixels by which rounding may push a window over its bounds


class Filter(NamedTuple):
    """The filter of one axis."""

    table: int
    """Address of the first pixels (int32) and the weights (4 bytes each)."""
    entries: int
    """Output pixels that the table describes: the output's, and copies of the last one."""
    taps: int
    """Weights of each output pixel."""
    first: int
    """The first source pixel that any output pixel touches."""
    reach: int
    """How many source pixels are touched from there on."""


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
    if size < 1 or first < 0 or source_size > _LARGEST_SIDE or size > source_size - first:
        return False
    return (  # comparisons with NaN are false
        length > 0.0 and start >= first - _ROUNDING and start + length <= first + size + _ROUNDING
    )


@kernel
def is_output_size(height: int, width: int) -> bool:
    """Whether there can be an output of this size."""
    return min(height, width) >= 1 and max(height, width) <= _LARGEST_SIDE


@kernel
def copy_bytes(source: int, length: int, target: int) -> None:
    """Copy ``length`` bytes between addresses."""
    for offset in range(length):
        write_u8(target + offset, read_u8(source + offset))


@kernel
def _filter(table: int, outputs: int, entries: int, taps: int) -> Filter:
    one_end = read_i32(table)
    other_end = read_i32(table + 4 * (outputs - 1))
    first = np.int64(min(one_end, other_end))
    return Filter(table, entries, taps, first, np.int64(max(one_end, other_end)) + taps - first)


@kernel
def fill_fixed_filter(
    start: float,
    length: float,
    size: int,
    outputs: int,
    entries: int,
    flip: bool | np.bool_,
    table: int,
    scratch: int,
) -> Filter:
    """Integer weights, equal to those of Pillow's BILINEAR bit for bit.

    Parameters
    ----------
    start, length : float
        The window in pixels, relative to the bounds; its ends are rounded to float32, as in Pillow.
    size : int
        Pixels between the bounds.
    outputs, entries : int
        Output pixels, and entries of the table.
    flip : bool
        Whether the first output pixel is the window's last.
    table, scratch : int
        Addresses of ``table_size(most_taps(size, outputs), entries)`` bytes, and of 8 bytes a tap.

    Returns
    -------
    Filter
        Its weights are int32 with ``FIXED_POINT_BITS`` fractional bits.
    """
    low = np.float32(min(max(start, 0.0), float(size)))
    high = np.float32(min(max(start + length, 0.0), float(size)))
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
    return _filter(table, outputs, entries, taps)


@kernel
def fill_float_filter(
    start: float,
    length: float,
    first: int,
    size: int,
    outputs: int,
    entries: int,
    flip: bool | np.bool_,
    table: int,
) -> Filter:
    """Weights in float32.

    Parameters
    ----------
    start, length : float
        The window, in source pixels.
    first, size : int
        The bounds, in source pixels.
    outputs, entries : int
        Output pixels, and entries of the table: a multiple of 16.
    flip : bool
        Whether the first output pixel is the window's last.
    table : int
        Address of ``table_size(most_taps(size, outputs), entries)`` bytes.

    Returns
    -------
    Filter
        Its weights are float32 and sum to 1.
    """
    scale = length / outputs
    support = max(scale, 1.0)
    taps = min(math.ceil(2.0 * support - 1e-9), size)
    weights = table + 4 * entries
    origin = math.floor(start)  # so that weights do not depend on where the source begins
    first -= origin
    for entry in range(entries):
        output = min(entry, outputs - 1)
        if flip:
            output = outputs - 1 - output
        centre = start - origin + (output + 0.5) * scale
        base = min(max(math.floor(centre - support + 0.5), first), first + size - taps)
        write_i32(table + 4 * entry, base + origin)
        write_f32(weights + 4 * entry, base - centre + 0.5)
    one = splat_f32(1.0)
    inverse = splat_f32(1.0 / support)
    for block in range(weights, weights + 4 * entries, 64):
        distance = load_f32(block)
        total = splat_f32(0.0)
        for tap in range(taps):
            weight = triangle((distance + splat_f32(tap)) * inverse)
            store_f32(block + 4 * entries * tap, weight)
            total = total + weight
        share = divide(one, total)
        for tap in range(taps):
            target = block + 4 * entries * tap
            store_f32(target, load_f32(target) * share)
    return _filter(table, outputs, entries, taps)
