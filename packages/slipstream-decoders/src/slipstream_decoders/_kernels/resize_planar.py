"""Crop and resize of Y, Cb, Cr planes, with the colours converted at the output size.

Sixteen output rows at a time: the vertical pass of each plane (64 pixels of a row at once), 16 x 16
transposes, the horizontal pass (a tap is one multiply-add of 16 rows), then colours, transposed
back and stored. Nothing of the image's size lies in between, everything is float32 until the end,
and chroma is never brought to luma's resolution. Of the planes, pixels of the plane itself are
read and nothing else; the output is written exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.filters import (
    BAD_BOX,
    OK,
    UNSUPPORTED,
    WORKSPACE,
    Filter,
    copy_bytes,
    fill_float_filter,
    is_output_size,
    is_window_inside,
    most_taps,
    round_up,
    table_size,
)
from slipstream_decoders._kernels.planar_output import (
    FLOAT16_PLANES,
    LINE,
    TILE,
    UINT8_PIXELS,
    Target,
    pixel_size,
    write_rows,
)
from slipstream_decoders._kernels.simd.arithmetic import multiply_add, splat_f32
from slipstream_decoders._kernels.simd.memory import (
    load_f32,
    load_u8_as_f32,
    read_f32,
    read_i32,
    store_f32,
)
from slipstream_decoders._kernels.simd.tiles import transpose_tile_f32


class _Plane(NamedTuple):
    """One plane of 8-bit samples."""

    address: int
    pitch: int
    width: int


class _Span(NamedTuple):
    """Window and bounds of one axis, in luma pixels."""

    start: float
    length: float
    first: int
    size: int
    flip: bool | np.bool_


@kernel
def resize_planar(
    luma: int,
    luma_pitch: int,
    blue: int,
    red: int,
    chroma_pitch: int,
    ratio_y: int,
    ratio_x: int,
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
    kind: int,
    output: int,
    output_pitch: int,
    output_plane_pitch: int,
    output_height: int,
    output_width: int,
    normalization: int,
    workspace: int,
    workspace_size: int,
) -> int:
    """Resize one window of an image in planes.

    Parameters
    ----------
    luma, luma_pitch : int
        Address of the uint8 luma plane, bytes from one row to the next.
    blue, red, chroma_pitch : int
        Addresses of the uint8 planes Cb and Cr, bytes from one row to the next.
    ratio_y, ratio_x : int
        Luma pixels for one chroma pixel, down and across; both 0 for a gray image, which has no
        chroma planes. Chroma planes have ceil(size / ratio) rows and columns.
    source_height, source_width : int
        Size of the luma plane in pixels.
    window_x, window_y, window_width, window_height : float
        The part to resize, in luma pixels; it lies in the bounds.
    bounds_x, bounds_y, bounds_width, bounds_height : int
        Luma pixels that may contribute to the output. Of chroma, the pixels that cover them may.
    flip : bool
        Whether to mirror the output left to right.
    kind : int
        ``UINT8_PIXELS``, ``FLOAT32_PIXELS``, ``FLOAT32_PLANES``, ``FLOAT16_PIXELS`` or
        ``FLOAT16_PLANES``.
    output, output_pitch, output_plane_pitch : int
        Address of the output, bytes from one row to the next and from one channel's plane to the
        next (used by the kinds of planes only).
    output_height, output_width : int
        Size of the output in pixels.
    normalization : int
        Address of six float32: scale of R, G, B, then bias of R, G, B; unused for ``UINT8_PIXELS``.
    workspace, workspace_size : int
        Address and bytes of scratch memory: at least ``planar_workspace_size`` of the bounds.

    Returns
    -------
    int
        ``OK``, ``BAD_BOX``, ``UNSUPPORTED`` or ``WORKSPACE``.

    Notes
    -----
    Integers are int64 and floats float64: other types compile another copy.
    """
    if not UINT8_PIXELS <= kind <= FLOAT16_PLANES or not _is_known_ratio(ratio_y, ratio_x):
        return UNSUPPORTED
    is_gray = ratio_x == 0
    if (
        not is_output_size(output_height, output_width)
        or luma_pitch < source_width
        or not (is_gray or chroma_pitch >= _covering(source_width, ratio_x))
        or output_pitch < output_width * pixel_size(kind)
        or not is_window_inside(window_x, window_width, bounds_x, bounds_width, source_width)
        or not is_window_inside(window_y, window_height, bounds_y, bounds_height, source_height)
    ):
        return BAD_BOX
    if workspace_size < planar_workspace_size(
        bounds_height, bounds_width, output_height, output_width
    ):
        return WORKSPACE
    chroma_width = source_width if is_gray else _covering(source_width, ratio_x)
    _resize(
        _Plane(luma, luma_pitch, source_width),
        _Plane(blue, chroma_pitch, chroma_width),
        _Plane(red, chroma_pitch, chroma_width),
        ratio_y,
        ratio_x,
        _Span(window_y, window_height, bounds_y, bounds_height, np.bool_(False)),
        _Span(window_x, window_width, bounds_x, bounds_width, flip),
        Target(
            kind,
            output,
            output_pitch,
            output_plane_pitch,
            output_height,
            output_width,
            normalization,
        ),
        round_up(workspace, 64),
    )
    return OK


@kernel
def planar_workspace_size(
    bounds_height: int, bounds_width: int, output_height: int, output_width: int
) -> int:
    """Bytes of workspace that ``resize_planar`` needs for any window in bounds of this size.

    Smaller bounds never need more: what the largest image needs is enough for all.
    """
    rows_size, columns_size = _table_sizes(bounds_height, bounds_width, output_height, output_width)
    return (
        64
        + 2 * (rows_size + columns_size)
        + 3 * LINE * round_up(output_width, 16)
        + 3 * TILE
        + LINE * round_up(bounds_width, 16)
        + 256
        + 16 * _pitch(bounds_width)
    )


@kernel
def _table_sizes(
    bounds_height: int, bounds_width: int, output_height: int, output_width: int
) -> tuple[int, int]:
    """Bytes of a filter table for rows and for columns; chroma never needs more than luma."""
    rows = table_size(most_taps(bounds_height, output_height), round_up(output_height, 16))
    columns = table_size(most_taps(bounds_width, output_width), round_up(output_width, 16))
    return rows, columns


@kernel
def _pitch(reach: int) -> int:
    """Bytes between rows of the vertical pass: 64 columns to spare, and an odd number of lines."""
    return 4 * (round_up(reach, 64) + 64) + LINE


@kernel
def _covering(size: int, ratio: int) -> int:
    """Chroma pixels that cover ``size`` luma pixels."""
    return (size + ratio - 1) // ratio


@kernel
def _is_known_ratio(ratio_y: int, ratio_x: int) -> bool:
    if ratio_y == 0 or ratio_x == 0:
        return ratio_y == ratio_x
    return ratio_y in (1, 2, 4) and ratio_x in (1, 2, 4)


@kernel
def _resize(
    luma: _Plane,
    blue: _Plane,
    red: _Plane,
    ratio_y: int,
    ratio_x: int,
    down: _Span,
    across: _Span,
    target: Target,
    table: int,
) -> None:
    """Filters first, then 16 output rows at a time."""
    rows_size, columns_size = _table_sizes(down.size, across.size, target.height, target.width)
    whole = np.int64(1)  # a literal 1 would compile another copy
    rows = _axis(down, whole, target.height, table)
    columns = _axis(across, whole, target.width, table + rows_size)
    table += rows_size + columns_size
    results = table + rows_size + columns_size
    plane_size = LINE * columns.entries
    tile = results + 3 * plane_size
    is_gray = ratio_x == 0
    chroma_rows, chroma_columns = rows, columns
    if is_gray:
        for address in range(results + plane_size, tile, LINE):
            store_f32(address, splat_f32(128.0))
    else:
        chroma_rows = _axis(down, ratio_y, target.height, table)
        chroma_columns = _axis(across, ratio_x, target.width, table + rows_size)
    for row in range(0, rows.entries, 16):
        _resample(luma, rows, columns, row, tile, results)
        if not is_gray:
            _resample(blue, chroma_rows, chroma_columns, row, tile, results + plane_size)
            _resample(red, chroma_rows, chroma_columns, row, tile, results + 2 * plane_size)
        write_rows(target, row, results, plane_size, tile)


@kernel
def _axis(span: _Span, ratio: int, outputs: int, table: int) -> Filter:
    """The filter of one axis of a plane that has one pixel for ``ratio`` luma pixels."""
    first = span.first // ratio
    return fill_float_filter(
        span.start / ratio,
        span.length / ratio,
        first,
        _covering(span.first + span.size, ratio) - first,
        outputs,
        round_up(outputs, 16),
        span.flip,
        table,
    )


@kernel
def _resample(
    plane: _Plane, rows: Filter, columns: Filter, row: int, tile: int, results: int
) -> None:
    """Output rows ``row`` .. ``row + 15`` of one plane -> float32 ``results[column][row]``."""
    transposed = tile + 3 * TILE
    lines = transposed + LINE * round_up(columns.reach, 16) + 256
    pitch = _pitch(columns.reach)
    for line in range(16):
        _filter_row(plane, rows, columns, row + line, lines + line * pitch)
    for column in range(0, columns.reach, 16):
        transpose_tile_f32(lines + 4 * column, pitch, transposed + LINE * column, LINE)
    _filter_transposed(transposed, columns, results)


@kernel
def _filter_row(plane: _Plane, rows: Filter, columns: Filter, row: int, target: int) -> None:
    """Vertical pass of one output row, for the columns that are needed."""
    step = 4 * rows.entries
    top = plane.address + read_i32(rows.table + 4 * row) * plane.pitch
    weights = rows.table + step + 4 * row
    if plane.width < 64:
        _filter_narrow_row(
            top + columns.first, plane.pitch, weights, step, rows.taps, columns.reach, target
        )
    else:
        for block in range(0, columns.reach, 64):
            offset = min(block, plane.width - 64 - columns.first)
            _filter_64_pixels(
                top + columns.first + offset,
                plane.pitch,
                weights,
                step,
                rows.taps,
                target + 4 * offset,
            )


@kernel
def _filter_64_pixels(
    source: int, pitch: int, weights: int, step: int, taps: int, target: int
) -> None:
    weight = splat_f32(read_f32(weights))
    total0 = load_u8_as_f32(source) * weight
    total1 = load_u8_as_f32(source + 16) * weight
    total2 = load_u8_as_f32(source + 32) * weight
    total3 = load_u8_as_f32(source + 48) * weight
    for _ in range(1, taps):
        source += pitch
        weights += step
        weight = splat_f32(read_f32(weights))
        total0 = multiply_add(load_u8_as_f32(source), weight, total0)
        total1 = multiply_add(load_u8_as_f32(source + 16), weight, total1)
        total2 = multiply_add(load_u8_as_f32(source + 32), weight, total2)
        total3 = multiply_add(load_u8_as_f32(source + 48), weight, total3)
    store_f32(target, total0)
    store_f32(target + 64, total1)
    store_f32(target + 128, total2)
    store_f32(target + 192, total3)


@kernel
def _filter_narrow_row(
    source: int, pitch: int, weights: int, step: int, taps: int, reach: int, target: int
) -> None:
    """A row of a plane that is narrower than what the vectors read: by way of a copy of 64 bytes.

    The sums are those of ``_filter_64_pixels`` to the bit, so pixels do not depend on how much of
    an image was decoded.
    """
    line = target + 256
    copy_bytes(source, reach, line)
    weight = splat_f32(read_f32(weights))
    total0 = load_u8_as_f32(line) * weight
    total1 = load_u8_as_f32(line + 16) * weight
    total2 = load_u8_as_f32(line + 32) * weight
    total3 = load_u8_as_f32(line + 48) * weight
    for _ in range(1, taps):
        source += pitch
        weights += step
        copy_bytes(source, reach, line)
        weight = splat_f32(read_f32(weights))
        total0 = multiply_add(load_u8_as_f32(line), weight, total0)
        total1 = multiply_add(load_u8_as_f32(line + 16), weight, total1)
        total2 = multiply_add(load_u8_as_f32(line + 32), weight, total2)
        total3 = multiply_add(load_u8_as_f32(line + 48), weight, total3)
    store_f32(target, total0)
    store_f32(target + 64, total1)
    store_f32(target + 128, total2)
    store_f32(target + 192, total3)


@kernel
def _filter_transposed(transposed: int, columns: Filter, results: int) -> None:
    """Horizontal pass: four output columns of 16 rows at once."""
    step = 4 * columns.entries
    origin = transposed - LINE * columns.first
    for column in range(0, columns.entries, 4):
        bases = columns.table + 4 * column
        source0 = origin + LINE * read_i32(bases)
        source1 = origin + LINE * read_i32(bases + 4)
        source2 = origin + LINE * read_i32(bases + 8)
        source3 = origin + LINE * read_i32(bases + 12)
        weights = bases + step
        total0 = load_f32(source0) * splat_f32(read_f32(weights))
        total1 = load_f32(source1) * splat_f32(read_f32(weights + 4))
        total2 = load_f32(source2) * splat_f32(read_f32(weights + 8))
        total3 = load_f32(source3) * splat_f32(read_f32(weights + 12))
        for tap in range(1, columns.taps):
            weights += step
            line = LINE * tap
            weight0, weight1 = read_f32(weights), read_f32(weights + 4)
            weight2, weight3 = read_f32(weights + 8), read_f32(weights + 12)
            total0 = multiply_add(load_f32(source0 + line), splat_f32(weight0), total0)
            total1 = multiply_add(load_f32(source1 + line), splat_f32(weight1), total1)
            total2 = multiply_add(load_f32(source2 + line), splat_f32(weight2), total2)
            total3 = multiply_add(load_f32(source3 + line), splat_f32(weight3), total3)
        target = results + LINE * column
        store_f32(target, total0)
        store_f32(target + LINE, total1)
        store_f32(target + 2 * LINE, total2)
        store_f32(target + 3 * LINE, total3)
