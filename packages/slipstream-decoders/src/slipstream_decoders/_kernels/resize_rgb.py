"""Crop and resize of interleaved RGB, equal to Pillow's BILINEAR bit for bit.

Pillow's order and arithmetic: a horizontal pass to rounded bytes for the rows that are needed, then
a vertical pass, with weights in 22-bit fixed point. Here the horizontal pass takes 16 rows at once:
their bytes are transposed, so that a tap is one multiply-add of 16 rows and nothing is gathered.
The source needs no readable bytes after its end and the output is written exactly.
"""

from __future__ import annotations

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.filters import (
    BAD_BOX,
    FIXED_POINT_BITS,
    OK,
    WORKSPACE,
    fill_fixed_filter,
    is_window_inside,
    most_taps,
    round_up,
    table_size,
)
from slipstream_decoders._kernels.simd.arithmetic import fixed_to_bytes, splat_i32
from slipstream_decoders._kernels.simd.memory import (
    load_u8,
    load_u8_as_i32,
    read_i32,
    read_u8,
    store_u8,
    write_u8,
)
from slipstream_decoders._kernels.simd.tiles import transpose_tile_u8

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
        min(output_height, output_width) < 1
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
    columns = round_up(workspace, 64)
    rows = columns + table_size(most_taps(bounds_width, output_width), entries)
    scratch = round_up(
        rows + table_size(most_taps(bounds_height, output_height), output_height), 64
    )
    left = window_x - bounds_x
    top = window_y - bounds_y
    column_taps = fill_fixed_filter(
        left, left + window_width, bounds_width, output_width, entries, flip, columns, scratch
    )
    row_taps = fill_fixed_filter(
        top, top + window_height, bounds_height, output_height, output_height, False, rows, scratch
    )
    first_row = read_i32(rows)
    needed_rows = read_i32(rows + 4 * (output_height - 1)) + row_taps - first_row
    pitch = round_up(3 * entries, 64) + 64
    filtered = scratch + _scratch_size(bounds_height, bounds_width, output_height, entries)
    _filter_columns(
        source + (bounds_y + first_row) * source_pitch + 3 * bounds_x,
        source_pitch,
        needed_rows,
        columns,
        column_taps,
        output_width,
        scratch,
        filtered,
        pitch,
    )
    _filter_rows(
        filtered,
        pitch,
        rows,
        row_taps,
        output_height,
        3 * output_width,
        output,
        output_pitch,
        scratch,
    )
    return OK


@kernel
def rgb_workspace_size(
    bounds_height: int, bounds_width: int, output_height: int, output_width: int
) -> int:
    """Bytes of workspace that ``resize_rgb`` needs for any window in bounds of this size.

    It never grows when the bounds shrink, so the largest image's size will do for all.
    """
    entries = round_up(output_width, 2)
    return (
        128
        + table_size(most_taps(bounds_width, output_width), entries)
        + table_size(most_taps(bounds_height, output_height), output_height)
        + _scratch_size(bounds_height, bounds_width, output_height, entries)
        + round_up(bounds_height, 16) * (round_up(3 * entries, 64) + 64)
    )


@kernel
def _scratch_size(bounds_height: int, bounds_width: int, output_height: int, entries: int) -> int:
    """Bytes used for weights while filters are made, then for 16 transposed rows."""
    transposed = 16 * (round_up(3 * bounds_width, 16) + round_up(3 * entries, 16) + 16)
    weights = 8 * (bounds_width + bounds_height)
    return round_up(max(transposed, weights), 64)


@kernel
def _filter_columns(
    source: int,
    source_pitch: int,
    needed_rows: int,
    columns: int,
    taps: int,
    output_width: int,
    scratch: int,
    filtered: int,
    pitch: int,
) -> None:
    """Horizontal pass: source rows -> ``filtered``, rounded bytes with row distance ``pitch``."""
    entries = round_up(output_width, 2)
    one_end = read_i32(columns)
    other_end = read_i32(columns + 4 * (output_width - 1))
    first = min(one_end, other_end)
    num_bytes = 3 * (max(one_end, other_end) + taps - first)
    tile = scratch
    transposed = tile + 256
    results = transposed + 16 * round_up(num_bytes, 16)
    for row in range(0, needed_rows, 16):
        _transpose_rows(
            source + row * source_pitch + 3 * first,
            source_pitch,
            min(needed_rows - row, 16),
            num_bytes,
            tile,
            transposed,
        )
        _filter_transposed(transposed, first, columns, taps, entries, results)
        for offset in range(0, 3 * entries, 16):
            transpose_tile_u8(results + 16 * offset, 16, filtered + row * pitch + offset, pitch)


@kernel
def _transpose_rows(
    source: int, pitch: int, num_rows: int, num_bytes: int, tile: int, transposed: int
) -> None:
    """Up to 16 rows -> ``transposed[byte][row]``. Incomplete tiles are first copied to ``tile``."""
    for offset in range(0, num_bytes, 16):
        length = min(num_bytes - offset, 16)
        if num_rows == 16 and length == 16:
            transpose_tile_u8(source + offset, pitch, transposed + 16 * offset, 16)
        else:
            for row in range(num_rows):
                _copy(source + row * pitch + offset, length, tile + 16 * row)
            transpose_tile_u8(tile, 16, transposed + 16 * offset, 16)


@kernel
def _copy(source: int, length: int, target: int) -> None:
    for offset in range(length):
        write_u8(target + offset, read_u8(source + offset))


@kernel
def _filter_transposed(
    transposed: int, first: int, columns: int, taps: int, entries: int, results: int
) -> None:
    """``transposed[byte][row]`` -> ``results[byte][row]``: two output pixels of 16 rows at once."""
    for entry in range(0, entries, 2):
        a = transposed + 48 * (read_i32(columns + 4 * entry) - first)
        b = transposed + 48 * (read_i32(columns + 4 * entry + 4) - first)
        weights = columns + 4 * (entries + entry)
        red_a = green_a = blue_a = red_b = green_b = blue_b = splat_i32(_HALF)
        for tap in range(taps):
            weight = splat_i32(read_i32(weights + 4 * entries * tap))
            pixel = a + 48 * tap
            red_a = red_a + load_u8_as_i32(pixel) * weight
            green_a = green_a + load_u8_as_i32(pixel + 16) * weight
            blue_a = blue_a + load_u8_as_i32(pixel + 32) * weight
            weight = splat_i32(read_i32(weights + 4 * entries * tap + 4))
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
    filtered: int,
    pitch: int,
    rows: int,
    taps: int,
    output_height: int,
    row_bytes: int,
    output: int,
    output_pitch: int,
    line: int,
) -> None:
    """Vertical pass: 64 bytes at once; the end of a row goes through ``line``."""
    first = read_i32(rows)
    for row in range(output_height):
        base = filtered + (read_i32(rows + 4 * row) - first) * pitch
        weights = rows + 4 * (output_height + row)
        for offset in range(0, row_bytes, 64):
            total0 = total1 = total2 = total3 = splat_i32(_HALF)
            pixel = base + offset
            for tap in range(taps):
                weight = splat_i32(read_i32(weights + 4 * output_height * tap))
                total0 = total0 + load_u8_as_i32(pixel) * weight
                total1 = total1 + load_u8_as_i32(pixel + 16) * weight
                total2 = total2 + load_u8_as_i32(pixel + 32) * weight
                total3 = total3 + load_u8_as_i32(pixel + 48) * weight
                pixel += pitch
            target = output + row * output_pitch + offset
            rest = row_bytes - offset
            store_u8(target if rest >= 64 else line, fixed_to_bytes(total0))
            store_u8(target + 16 if rest >= 64 else line + 16, fixed_to_bytes(total1))
            store_u8(target + 32 if rest >= 64 else line + 32, fixed_to_bytes(total2))
            store_u8(target + 48 if rest >= 64 else line + 48, fixed_to_bytes(total3))
            if rest < 64:
                _copy(line, rest, target)
