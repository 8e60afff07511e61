"""Crop and resize of interleaved RGB, equal to Pillow's BILINEAR bit for bit.

Pillow's arithmetic: weights in 22-bit fixed point, and rounded bytes between a horizontal and a
vertical pass. The order of the passes is that of Pillow 13: vertical first when the height shrinks
by more than twice as many pixels as the width (older versions always take the horizontal pass
first, which may differ by one level then). The vertical pass filters 64 bytes of a row at once. The
horizontal pass takes 16 rows at once: their bytes are transposed, so that a tap is one
multiply-add of 16 rows and nothing is gathered.
"""

from __future__ import annotations

import numpy as np

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.filters import (
    FIXED_POINT_BITS,
    Filter,
    copy_bytes,
    fill_fixed_filter,
    is_output_size,
    is_window_inside,
    most_taps,
    round_up,
    table_size,
)
from slipstream_decoders._kernels.simd.arithmetic import fixed_to_bytes, splat_i32
from slipstream_decoders._kernels.simd.memory import (
    load_u8_as_i32,
    read_i32,
    read_u8,
    store_u8,
    write_u8,
)
from slipstream_decoders._kernels.simd.tiles import transpose_tile_u8
from slipstream_decoders._kernels.status import BAD_BOX, OK, WORKSPACE

_HALF = 1 << (FIXED_POINT_BITS - 1)


@kernel
def resize_rgb(
    source: int,
    source_pitch: int,
    source_height: int,
    source_width: int,
    window_x: float,
    window_y: float,
    window_width: float,
    window_height: float,
    bounds_x: int,
    bounds_y: int,
    bounds_width: int,
    bounds_height: int,
    flip: bool,
    output: int,
    output_pitch: int,
    output_height: int,
    output_width: int,
    workspace: int,
    workspace_size: int,
) -> int:
    """Resize one window of an RGB image.

    Equal to cropping the image to the bounds and then calling
    ``Image.resize((output_width, output_height), BILINEAR, box=window relative to the bounds)``.

    Parameters
    ----------
    source, source_pitch : int
        Address of uint8 RGB pixels, bytes from one row to the next.
    source_height, source_width : int
        Size of the source in pixels; nothing outside of it is read.
    window_x, window_y, window_width, window_height : float
        The part to resize, in source pixels; it lies in the bounds.
    bounds_x, bounds_y, bounds_width, bounds_height : int
        Source pixels that may contribute to the output.
    flip : bool
        Whether to mirror the output left to right.
    output, output_pitch : int
        Address of the uint8 RGB output, bytes from one row to the next.
    output_height, output_width : int
        Size of the output in pixels.
    workspace, workspace_size : int
        Address and bytes of scratch memory: at least ``rgb_workspace_size`` of the bounds.

    Returns
    -------
    int
        ``OK``, ``BAD_BOX`` or ``WORKSPACE``.

    Notes
    -----
    Integers are int64 and floats float64: other types compile another copy.
    """
    if (
        not is_output_size(output_height, output_width)
        or source_pitch < 3 * source_width
        or output_pitch < 3 * output_width
        or not is_window_inside(window_x, window_width, bounds_x, bounds_width, source_width)
        or not is_window_inside(window_y, window_height, bounds_y, bounds_height, source_height)
    ):
        return BAD_BOX
    if workspace_size < rgb_workspace_size(
        bounds_height, bounds_width, output_height, output_width
    ):
        return WORKSPACE
    entries = round_up(output_width, 2)
    column_table = round_up(workspace, 64)
    row_table = column_table + table_size(most_taps(bounds_width, output_width), entries)
    scratch = row_table + table_size(most_taps(bounds_height, output_height), output_height)
    between = round_up(scratch + _scratch_size(bounds_height, bounds_width, entries), 64)
    columns = fill_fixed_filter(
        window_x - bounds_x,
        window_width,
        bounds_width,
        output_width,
        entries,
        flip,
        column_table,
        scratch,
    )
    rows = fill_fixed_filter(
        window_y - bounds_y,
        window_height,
        bounds_height,
        output_height,
        output_height,
        np.bool_(False),  # a literal False would compile another copy
        row_table,
        scratch,
    )
    source += (bounds_y + rows.first) * source_pitch + 3 * (bounds_x + columns.first)
    is_vertical_first = _is_vertical_first(bounds_height, bounds_width, output_height, output_width)
    _filter_both(
        source,
        source_pitch,
        rows,
        columns,
        is_vertical_first,
        output,
        output_pitch,
        output_width,
        scratch,
        between,
    )
    return OK


@kernel
def rgb_workspace_size(
    bounds_height: int, bounds_width: int, output_height: int, output_width: int
) -> int:
    """Bytes of workspace that ``resize_rgb`` needs for any window in bounds of this size.

    Smaller bounds never need more: what the largest image needs is enough for all.
    """
    entries = round_up(output_width, 2)
    return (
        128
        + table_size(most_taps(bounds_width, output_width), entries)
        + table_size(most_taps(bounds_height, output_height), output_height)
        + _scratch_size(bounds_height, bounds_width, entries)
        + max(bounds_height * _pitch(output_width), output_height * _pitch(bounds_width))
    )


@kernel
def _scratch_size(bounds_height: int, bounds_width: int, entries: int) -> int:
    """Bytes for the weights of one output pixel, later for a tile and 16 transposed rows."""
    transposed = 256 + 16 * (round_up(3 * bounds_width, 16) + round_up(3 * entries, 16))
    return max(transposed, 8 * bounds_height)


@kernel
def _pitch(width: int) -> int:
    """Distance of rows between the passes: an odd number of 64-byte lines spares the cache."""
    return round_up(3 * width, 128) + 64


@kernel
def _is_vertical_first(
    bounds_height: int, bounds_width: int, output_height: int, output_width: int
) -> bool:
    shrink = bounds_height - output_height
    return shrink > 0 and shrink > 2 * (bounds_width - output_width)


@kernel
def _filter_both(
    source: int,
    source_pitch: int,
    rows: Filter,
    columns: Filter,
    is_vertical_first: bool,
    output: int,
    output_pitch: int,
    output_width: int,
    scratch: int,
    between: int,
) -> None:
    """Both passes, by way of ``between``; ``source`` is the first pixel that they touch."""
    output_bytes = 3 * output_width
    if is_vertical_first:
        pitch = _pitch(columns.reach)
        _filter_rows(source, source_pitch, rows, 3 * columns.reach, between, pitch)
        _filter_columns(
            between, pitch, rows.entries, columns, output_bytes, scratch, output, output_pitch
        )
    else:
        pitch = _pitch(output_width)
        _filter_columns(
            source, source_pitch, rows.reach, columns, output_bytes, scratch, between, pitch
        )
        _filter_rows(between, pitch, rows, output_bytes, output, output_pitch)


@kernel
def _filter_columns(
    source: int,
    source_pitch: int,
    num_rows: int,
    columns: Filter,
    target_bytes: int,
    scratch: int,
    target: int,
    target_pitch: int,
) -> None:
    """Horizontal pass; ``source`` is the first pixel that the filter touches."""
    source_bytes = 3 * columns.reach
    transposed = scratch + 256
    results = transposed + 16 * round_up(source_bytes, 16)
    height = min(num_rows, 16)
    for group in range(0, num_rows, 16):
        row = max(min(group, num_rows - 16), 0)
        _transpose_rows(
            source + row * source_pitch, source_pitch, height, source_bytes, scratch, transposed
        )
        _filter_transposed(transposed, columns, results)
        _transpose_back(
            results, height, target_bytes, scratch, target + row * target_pitch, target_pitch
        )


@kernel
def _transpose_rows(
    source: int, pitch: int, height: int, row_bytes: int, tile: int, transposed: int
) -> None:
    """Up to 16 rows -> ``transposed[byte][row]``. Incomplete tiles are first copied to ``tile``."""
    for offset in range(0, row_bytes, 16):
        length = min(row_bytes - offset, 16)
        if height == 16 and length == 16:
            transpose_tile_u8(source + offset, pitch, transposed + 16 * offset, 16)
        else:
            for row in range(height):
                copy_bytes(source + row * pitch + offset, length, tile + 16 * row)
            transpose_tile_u8(tile, 16, transposed + 16 * offset, 16)


@kernel
def _transpose_back(
    results: int, height: int, row_bytes: int, tile: int, target: int, pitch: int
) -> None:
    """``results[byte][row]`` -> up to 16 rows, incomplete tiles by way of ``tile``."""
    for offset in range(0, row_bytes, 16):
        length = min(row_bytes - offset, 16)
        if height == 16 and length == 16:
            transpose_tile_u8(results + 16 * offset, 16, target + offset, pitch)
        else:
            transpose_tile_u8(results + 16 * offset, 16, tile, 16)
            for row in range(height):
                copy_bytes(tile + 16 * row, length, target + row * pitch + offset)


@kernel
def _filter_transposed(transposed: int, columns: Filter, results: int) -> None:
    """``transposed[byte][row]`` -> ``results[byte][row]``: two output pixels of 16 rows at once."""
    step = 4 * columns.entries
    for entry in range(0, columns.entries, 2):
        a = transposed + 48 * (read_i32(columns.table + 4 * entry) - columns.first)
        b = transposed + 48 * (read_i32(columns.table + 4 * entry + 4) - columns.first)
        weights = columns.table + step + 4 * entry
        red_a = green_a = blue_a = red_b = green_b = blue_b = splat_i32(_HALF)
        for tap in range(columns.taps):
            weight = splat_i32(read_i32(weights + step * tap))
            pixel = a + 48 * tap
            red_a = red_a + load_u8_as_i32(pixel) * weight
            green_a = green_a + load_u8_as_i32(pixel + 16) * weight
            blue_a = blue_a + load_u8_as_i32(pixel + 32) * weight
            weight = splat_i32(read_i32(weights + step * tap + 4))
            pixel = b + 48 * tap
            red_b = red_b + load_u8_as_i32(pixel) * weight
            green_b = green_b + load_u8_as_i32(pixel + 16) * weight
            blue_b = blue_b + load_u8_as_i32(pixel + 32) * weight
        target = results + 48 * entry
        store_u8(target, fixed_to_bytes(red_a))
        store_u8(target + 16, fixed_to_bytes(green_a))
        store_u8(target + 32, fixed_to_bytes(blue_a))
        store_u8(target + 48, fixed_to_bytes(red_b))
        store_u8(target + 64, fixed_to_bytes(green_b))
        store_u8(target + 80, fixed_to_bytes(blue_b))


@kernel
def _filter_rows(
    source: int, source_pitch: int, rows: Filter, row_bytes: int, target: int, target_pitch: int
) -> None:
    """Vertical pass; ``source`` is the first pixel that the filter touches."""
    step = 4 * rows.entries
    for row in range(rows.entries):
        top = source + (read_i32(rows.table + 4 * row) - rows.first) * source_pitch
        weights = rows.table + step + 4 * row
        out = target + row * target_pitch
        if row_bytes < 64:
            _filter_narrow_row(top, source_pitch, weights, step, rows.taps, row_bytes, out)
        else:
            for block in range(0, row_bytes, 64):
                offset = min(block, row_bytes - 64)
                _filter_64_bytes(top + offset, source_pitch, weights, step, rows.taps, out + offset)


@kernel
def _filter_64_bytes(
    source: int, pitch: int, weights: int, step: int, taps: int, target: int
) -> None:
    total0 = total1 = total2 = total3 = splat_i32(_HALF)
    for tap in range(taps):
        weight = splat_i32(read_i32(weights + step * tap))
        total0 = total0 + load_u8_as_i32(source) * weight
        total1 = total1 + load_u8_as_i32(source + 16) * weight
        total2 = total2 + load_u8_as_i32(source + 32) * weight
        total3 = total3 + load_u8_as_i32(source + 48) * weight
        source += pitch
    store_u8(target, fixed_to_bytes(total0))
    store_u8(target + 16, fixed_to_bytes(total1))
    store_u8(target + 32, fixed_to_bytes(total2))
    store_u8(target + 48, fixed_to_bytes(total3))


@kernel
def _filter_narrow_row(
    source: int, pitch: int, weights: int, step: int, taps: int, row_bytes: int, target: int
) -> None:
    """A row of fewer than 64 bytes, which no vector may read or write."""
    for offset in range(row_bytes):
        total = _HALF
        for tap in range(taps):
            total += read_u8(source + tap * pitch + offset) * read_i32(weights + step * tap)
        write_u8(target + offset, total >> FIXED_POINT_BITS)
