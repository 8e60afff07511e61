"""Crop and resize of Y, Cb, Cr planes, with the colours converted at the output size.

One output row after another. The rows of the planes that it needs and no row before has needed are
resized across, 32 outputs at a time, into a ring of a few rows that stays in the first cache; then
32 pixels at a time are weighed down the columns, turned into RGB and stored. Everything is in
16-bit numbers until the end, with 7 fractional bits of a level, and the same on any processor but
for the last bits of floats. Chroma is never brought to luma's resolution. Of the planes, pixels of
the plane itself are read and nothing else; the output is written exactly.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.filters import (
    Filter,
    fill_float_filter,
    is_output_size,
    is_window_inside,
    most_taps,
    round_up,
    table_size,
)
from slipstream_decoders._kernels.planar_output import (
    FLOAT16_PIXELS,
    TILE,
    UINT8_PIXELS,
    Target,
    copy_tile,
    pixel_size,
    write_floats,
)
from slipstream_decoders._kernels.simd.arithmetic import splat_i32
from slipstream_decoders._kernels.simd.colour import write_byte_pixels
from slipstream_decoders._kernels.simd.memory import (
    copy_memory,
    prefetch,
    read_i32,
    write_i32,
    write_i64,
)
from slipstream_decoders._kernels.simd.taps import (
    ROUND_CHROMA,
    ROUND_LUMA,
    first_levels,
    more_levels,
    no_colour,
    store_levels,
    weigh_places,
    weigh_window,
)
from slipstream_decoders._kernels.simd.vectors import Vector
from slipstream_decoders._kernels.simd.words import read_i64
from slipstream_decoders._kernels.status import BAD_BOX, OK, UNSUPPORTED, WORKSPACE
from slipstream_decoders._kernels.tap_tables import (
    BLOCK,
    NARROW,
    START_BYTES,
    STEP_BYTES,
    Columns,
    Rows,
    columns_bytes,
    fill_columns,
    fill_rows,
    num_blocks,
    rows_bytes,
)

_TAP_BYTES: Final = 16  # address of 32 levels, their weight as two int16
_AHEAD: Final = 4  # rows between fetching one and its use


class _Samples(NamedTuple):
    """One plane of 8-bit samples."""

    address: int
    pitch: int
    height: int
    width: int
    ratio_y: int
    """Luma pixels for one of its own."""
    ratio_x: int


class _Plane(NamedTuple):
    """Samples, their filters, and a ring of their rows that are resized across."""

    samples: _Samples
    rows: Rows
    columns: Columns
    ring: int
    mask: int
    """Rows of the ring, a power of two, less one."""
    line: int
    """Memory for two rows that are too narrow for vectors."""
    first: int
    """The first column that is used."""
    reach: int
    """How many are used from there on."""


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
        ``UINT8_PIXELS``, ``FLOAT32_PIXELS`` or ``FLOAT16_PIXELS``.
    output, output_pitch : int
        Address of the output, bytes from one row to the next.
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
    if not UINT8_PIXELS <= kind <= FLOAT16_PIXELS or not _is_known_ratio(ratio_y, ratio_x):
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
    target = Target(kind, output, output_pitch, output_height, output_width, normalization)
    down = _Span(window_y, window_height, bounds_y, bounds_height, np.bool_(False))
    across = _Span(window_x, window_width, bounds_x, bounds_width, flip)
    floats = round_up(workspace, 64)
    tile = floats + _floats_bytes(bounds_height, bounds_width, output_height, output_width)
    memory = round_up(tile + TILE + 3 * _TAP_BYTES * most_taps(bounds_height, output_height), 64)
    whole = np.int64(1)  # a literal 1 would compile another copy
    y, memory = _plane(
        _Samples(luma, luma_pitch, source_height, source_width, whole, whole),
        down,
        across,
        target,
        floats,
        memory,
    )
    cb = cr = y
    if not is_gray:
        height, width = _covering(source_height, ratio_y), _covering(source_width, ratio_x)
        samples = _Samples(blue, chroma_pitch, height, width, ratio_y, ratio_x)
        cb, memory = _plane(samples, down, across, target, floats, memory)
        samples = _Samples(red, chroma_pitch, height, width, ratio_y, ratio_x)
        cr = _Plane(samples, cb.rows, cb.columns, memory, cb.mask, cb.line, cb.first, cb.reach)
    _write(y, cb, cr, np.bool_(is_gray), target, tile)
    return OK


@kernel
def planar_workspace_size(
    bounds_height: int, bounds_width: int, output_height: int, output_width: int
) -> int:
    """Bytes of workspace that ``resize_planar`` needs for any window in bounds of this size.

    Smaller bounds never need more: what the largest image needs is enough for all.
    """
    down, across = most_taps(bounds_height, output_height), most_taps(bounds_width, output_width)
    tables = rows_bytes(down, output_height) + columns_bytes(across, output_width) + 128
    return (
        128
        + _floats_bytes(bounds_height, bounds_width, output_height, output_width)
        + TILE
        + 3 * _TAP_BYTES * down
        + 2 * (tables + 2 * NARROW)
        + 3 * _ring_rows(down) * _ring_pitch(output_width)
    )


@kernel
def _floats_bytes(
    bounds_height: int, bounds_width: int, output_height: int, output_width: int
) -> int:
    """Bytes of the larger axis' filter in floats; chroma never needs more than luma."""
    return max(
        table_size(most_taps(bounds_height, output_height), round_up(output_height, BLOCK)),
        table_size(most_taps(bounds_width, output_width), round_up(output_width, BLOCK)),
    )


@kernel
def _ring_rows(taps: int) -> int:
    """Taps, and one row more, since luma's are made two at a time."""
    rows: int = np.int64(2)
    while rows < taps + 1:
        rows *= 2
    return rows


@kernel
def _ring_pitch(output_width: int) -> int:
    return 2 * BLOCK * num_blocks(output_width)


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
def _plane(
    samples: _Samples, down: _Span, across: _Span, target: Target, floats: int, memory: int
) -> tuple[_Plane, int]:
    """A plane with all that it needs in ``memory``, and the address after that."""
    for row in range(_AHEAD):
        _fetch_row(
            samples,
            down.first // samples.ratio_y + row,
            across.first // samples.ratio_x,
            across.size // samples.ratio_x,
        )
    line = memory
    memory += 2 * NARROW
    axis = _axis(down, samples.ratio_y, target.height, floats)
    rows = fill_rows(axis, target.height, memory)
    memory += round_up(rows_bytes(rows.taps, target.height), 64)
    axis = _axis(across, samples.ratio_x, target.width, floats)
    columns = fill_columns(axis, target.width, max(samples.width, NARROW), memory)
    memory += round_up(columns_bytes(2 * columns.pairs, target.width), 64)
    ring_rows = _ring_rows(rows.taps)
    plane = _Plane(samples, rows, columns, memory, ring_rows - 1, line, axis.first, axis.reach)
    return plane, memory + ring_rows * _ring_pitch(target.width)


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
        round_up(outputs, BLOCK),
        span.flip,
        table,
    )


@kernel
def _write(
    luma: _Plane,
    blue: _Plane,
    red: _Plane,
    is_gray: bool | np.bool_,
    target: Target,
    memory: int,
) -> None:
    """All rows of the output; ``memory`` holds a tile, then the taps of a row."""
    taps = memory + TILE
    blues = taps + _TAP_BYTES * luma.rows.taps
    reds = blues + _TAP_BYTES * blue.rows.taps
    chroma_taps = np.int64(0) if is_gray else blue.rows.taps
    made = chroma_made = np.int64(0)
    for row in range(target.height):
        made = _make_luma(luma, row, made)
        _list_taps(luma, row, taps)
        if not is_gray:
            chroma_made = _make_chroma(blue, red, row, chroma_made)
            _list_taps(blue, row, blues)
            _list_taps(red, row, reds)
        if target.kind == UINT8_PIXELS:
            _write_bytes(taps, luma.rows.taps, chroma_taps, row, target, memory)
        else:
            _write_floats(taps, luma.rows.taps, chroma_taps, row, target, memory)


@kernel
def _list_taps(plane: _Plane, row: int, taps: int) -> None:
    """Where the rows of an output row's taps are, and what they weigh."""
    first = np.int64(read_i32(plane.rows.firsts + 4 * row))
    weights = plane.rows.weights + 4 * plane.rows.taps * row
    for tap in range(plane.rows.taps):
        write_i64(taps + _TAP_BYTES * tap, _ring_row(plane, first + tap))
        write_i32(taps + _TAP_BYTES * tap + 8, read_i32(weights + 4 * tap))


@kernel
def _write_bytes(
    taps: int, num_taps: int, chroma_taps: int, row: int, target: Target, tile: int
) -> None:
    """One row of uint8 pixels; no chroma taps for a gray image."""
    blues = taps + _TAP_BYTES * num_taps
    reds = blues + _TAP_BYTES * chroma_taps
    address = target.address + row * target.pitch
    for column in range(0, target.width, BLOCK):
        place = tile
        if target.width >= BLOCK:
            place = address + 3 * min(column, target.width - BLOCK)
        cb = cr = no_colour()
        if chroma_taps > 0:
            cb = _weigh_block(blues, chroma_taps, 2 * column)
            cr = _weigh_block(reds, chroma_taps, 2 * column)
        write_byte_pixels(_weigh_block(taps, num_taps, 2 * column), cb, cr, place)
    if target.width < BLOCK:
        copy_tile(target, tile, address)


@kernel
def _write_floats(
    taps: int, num_taps: int, chroma_taps: int, row: int, target: Target, tile: int
) -> None:
    """One row of floats."""
    blues = taps + _TAP_BYTES * num_taps
    reds = blues + _TAP_BYTES * chroma_taps
    size = pixel_size(target.kind)
    address = target.address + row * target.pitch
    for column in range(0, target.width, BLOCK):
        place = tile
        if target.width >= BLOCK:
            place = address + size * min(column, target.width - BLOCK)
        cb = cr = no_colour()
        if chroma_taps > 0:
            cb = _weigh_block(blues, chroma_taps, 2 * column)
            cr = _weigh_block(reds, chroma_taps, 2 * column)
        y = _weigh_block(taps, num_taps, 2 * column)
        write_floats(target.kind, y, cb, cr, place, target.normalization)
    if target.width < BLOCK:
        copy_tile(target, tile, address)


@kernel
def _make_luma(plane: _Plane, row: int, made: int) -> int:
    """Resize across the rows up to the last one that an output row needs; where that ends.

    Always two: they share what is read of the filter.
    """
    first = np.int64(read_i32(plane.rows.firsts + 4 * row))
    made = max(made, first)
    while made < first + plane.rows.taps:
        second = min(made + 1, plane.samples.height - 1)
        _weigh_two(
            _source(plane, made, 0),
            _source(plane, second, NARROW),
            plane.columns,
            ROUND_LUMA,
            _ring_row(plane, made),
            _ring_row(plane, made + 1),
        )
        made += 2
    return made


@kernel
def _make_chroma(blue: _Plane, red: _Plane, row: int, made: int) -> int:
    """The same for chroma."""
    first = np.int64(read_i32(blue.rows.firsts + 4 * row))
    made = max(made, first)
    while made < first + blue.rows.taps:
        _weigh_two(
            _source(blue, made, 0),
            _source(red, made, NARROW),
            blue.columns,
            ROUND_CHROMA,
            _ring_row(blue, made),
            _ring_row(red, made),
        )
        made += 1
    return made


@kernel
def _ring_row(plane: _Plane, row: int) -> int:
    address: int = plane.ring + (row & plane.mask) * 2 * BLOCK * plane.columns.blocks
    return address


@kernel
def _source(plane: _Plane, row: int, offset: int) -> int:
    """Address of a row of the source; of its copy if it is narrow."""
    samples = plane.samples
    source = samples.address + row * samples.pitch
    _fetch_row(samples, row + _AHEAD, plane.first, plane.reach)
    if samples.width < NARROW:
        copy_memory(source, samples.width, plane.line + offset)
        source = plane.line + offset
    return source


@kernel
def _fetch_row(samples: _Samples, row: int, first: int, reach: int) -> None:
    """Let the processor fetch a part of a row; there need not be such a row."""
    address = samples.address + row * samples.pitch + first
    for offset in range(0, reach, 64):
        prefetch(address + offset)


@kernel
def _weigh_two(
    source: int, source2: int, columns: Columns, rounding: int, target: int, target2: int
) -> None:
    """Resize two rows across."""
    starts, steps = columns.starts, columns.steps
    zero = splat_i32(rounding)
    for _ in range(columns.blocks):
        first, second, first2, second2 = zero, zero, zero, zero
        if columns.has_windows:
            for _ in range(columns.pairs):
                first = weigh_window(source, starts, steps, first)
                first2 = weigh_window(source2, starts, steps, first2)
                starts += START_BYTES
                steps += STEP_BYTES
            for _ in range(columns.pairs):
                second = weigh_window(source, starts, steps, second)
                second2 = weigh_window(source2, starts, steps, second2)
                starts += START_BYTES
                steps += STEP_BYTES
        else:
            for _ in range(columns.pairs):
                first = weigh_places(source, steps, first)
                first2 = weigh_places(source2, steps, first2)
                steps += STEP_BYTES
            for _ in range(columns.pairs):
                second = weigh_places(source, steps, second)
                second2 = weigh_places(source2, steps, second2)
                steps += STEP_BYTES
        store_levels(target, first, second)
        store_levels(target2, first2, second2)
        target += 2 * BLOCK
        target2 += 2 * BLOCK


@kernel
def _weigh_block(taps: int, num_taps: int, offset: int) -> Vector:
    """32 levels of an output row, ``offset`` bytes from its start on."""
    total = first_levels(read_i64(taps) + offset, taps + 8)
    for tap in range(taps + _TAP_BYTES, taps + _TAP_BYTES * num_taps, _TAP_BYTES):
        total = more_levels(read_i64(tap) + offset, tap + 8, total)
    return total
