"""A window of MCUs -> planes, from the start of the scan or from seek points; making those points.

Planes are written in whole MCUs: the caller gives room for them and ignores what lies outside of
the image.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.filters import round_up
from slipstream_decoders._kernels.jpeg.entropy import (
    decode_across_restarts,
    pass_restart,
    start_reading,
)
from slipstream_decoders._kernels.jpeg.entropy_pairs import decode_mcu_pairs
from slipstream_decoders._kernels.jpeg.idct import write_blocks
from slipstream_decoders._kernels.jpeg.parse import (
    ACROSS,
    COMPONENT_WORDS,
    COMPONENTS,
    DOWN,
    MCU_ROWS,
    MCUS_ACROSS,
    NUM_COMPONENTS,
    RESTART,
    SCAN,
)
from slipstream_decoders._kernels.jpeg.seek import (
    HEADER_BYTES,
    MAX_PAYLOAD,
    point_bytes,
    points_across,
    points_size,
    read_offset,
    restore_state,
    step_of_points,
    write_point,
    write_points_header,
)
from slipstream_decoders._kernels.jpeg.tables import load_tables, prepare_quantisers
from slipstream_decoders._kernels.jpeg.workspace import (
    AC_TABLE,
    BIT,
    BLOCK_BYTES,
    BLOCKS,
    BYTES,
    COMPONENT_TABLES,
    DATA_SLACK,
    DC_TABLE,
    MCU,
    MCUS_LEFT,
    PITCH,
    POSITION,
    PREDICTOR,
    PREDICTORS,
    QUANTISER,
    RESTART_INTERVAL,
    RESTARTS,
    ROW_STEP,
    SECOND,
    SOURCE,
    SOURCE_END,
    SPARE,
    STARTED,
    STEPS,
    TARGET,
    TARGET_STEP,
    TARGETS,
)
from slipstream_decoders._kernels.simd.memory import read_u8, write_i32, write_i64
from slipstream_decoders._kernels.simd.words import mark_ones, read_i64, trailing_zeros
from slipstream_decoders._kernels.status import BAD_BOX, CORRUPT, OK, UNSUPPORTED
from slipstream_decoders._kernels.status import WORKSPACE as TOO_SMALL

_NO_RESTART: Final = 1 << 40
_EOI: Final = 0xD9


class Planes(NamedTuple):
    """Where the window's first MCU goes."""

    luma: int
    blue: int
    red: int
    luma_pitch: int
    chroma_pitch: int


class Window(NamedTuple):
    """MCUs from (x_begin, y_begin) up to but not including (x_end, y_end)."""

    x_begin: int
    y_begin: int
    x_end: int
    y_end: int


class Memory(NamedTuple):
    """Addresses of one thread's memory."""

    workspace: int
    """``WORKSPACE_BYTES``, zeroed, then given to ``prepare_workspace``."""
    data: int
    """For destuffed bytes: ``data_bytes_for`` the payload."""
    data_bytes: int


@kernel
def data_bytes_for(size: int) -> int:
    """Bytes that ``Memory.data`` needs for a payload of ``size`` bytes."""
    return size + DATA_SLACK + 192


@kernel
def prepare_workspace(workspace: int) -> None:
    """Make a zeroed workspace ready, once."""
    prepare_quantisers(round_up(workspace, 64))


@kernel
def decode_planes(
    payload: int,
    size: int,
    header: NDArray[np.int64],
    window: Window,
    planes: Planes,
    points: int,
    points_bytes: int,
    memory: Memory,
) -> int:
    """Decode a window of an image.

    Parameters
    ----------
    payload, size : int
        Address and bytes of the file; 64 bytes after it are readable.
    header : ndarray of int64, shape (HEADER_WORDS,)
        What ``parse_header`` made of it.
    window : Window
    planes : Planes
        Of each component, as many whole blocks as the window has are written there.
    points, points_bytes : int
        Address and bytes of the image's seek points; 0 without. Others' are ignored.
    memory : Memory

    Returns
    -------
    int
        ``OK``, ``CORRUPT``, ``UNSUPPORTED``, ``BAD_BOX`` or ``WORKSPACE``. Only what was decoded on
        the way to the window's last MCU was judged.
    """
    x_begin, y_begin, x_end, y_end = window
    if not (
        0 <= x_begin < x_end <= header[MCUS_ACROSS] and 0 <= y_begin < y_end <= header[MCU_ROWS]
    ):
        return BAD_BOX
    if memory.data_bytes < data_bytes_for(size):
        return TOO_SMALL
    base = round_up(memory.workspace, 64)
    status = load_tables(payload, header, base)
    if status != OK:
        return status
    num_blocks = _describe(header, base, planes)
    _reset(header, base, memory)
    is_all_across = x_begin == 0 and x_end == header[MCUS_ACROSS]
    step = np.int64(0)
    if points != 0 and not (is_all_across and y_begin == 0):
        step = step_of_points(points, points_bytes, header, size)
    if step > 0:
        data_end = memory.data + memory.data_bytes - DATA_SLACK - 64
        lane = _decode_from_points(
            payload, size, header, window, points, step, base, num_blocks, data_end
        )
    else:
        lane = _decode_from_start(payload, size, header, window, base, num_blocks)
    if lane < 0:
        _clear_blocks(base)
        return CORRUPT
    if lane > 0:
        for empty in range(lane, 16):
            write_i64(base + TARGETS + 8 * empty, base + SPARE)
            write_i64(base + STEPS + 8 * empty, 0)
        write_blocks(base)
    if step == 0 and is_all_across and y_end == header[MCU_ROWS]:
        return _judge_end(base)
    return OK


@kernel
def _describe(header: NDArray[np.int64], base: int, planes: Planes) -> int:
    """Write the descriptors of an MCU's blocks, targets at the window's first MCU; their number."""
    descriptor = base + MCU
    for c in range(header[NUM_COMPONENTS]):
        words = COMPONENTS + COMPONENT_WORDS * c
        across, down = header[words + ACROSS], header[words + DOWN]
        pitch = planes.luma_pitch if c == 0 else planes.chroma_pitch
        plane = planes.luma if c == 0 else (planes.blue if c == 1 else planes.red)
        tables = base + COMPONENT_TABLES + 64 * c
        for row in range(down):
            for column in range(across):
                write_i64(descriptor + DC_TABLE, read_i64(tables + DC_TABLE))
                write_i64(descriptor + AC_TABLE, read_i64(tables + AC_TABLE))
                write_i64(descriptor + QUANTISER, read_i64(tables + QUANTISER))
                write_i64(descriptor + PREDICTOR, base + PREDICTORS + 64 * c)
                write_i64(descriptor + TARGET, plane + 8 * row * pitch + 8 * column)
                write_i64(descriptor + TARGET_STEP, 8 * across)
                write_i64(descriptor + PITCH, pitch)
                write_i64(descriptor + ROW_STEP, 8 * down * pitch)
                descriptor += 64
    return (descriptor - base - MCU) // 64


@kernel
def _reset(header: NDArray[np.int64], base: int, memory: Memory) -> None:
    """The state before the first MCU."""
    write_i64(base + BYTES, memory.data)
    write_i64(base + RESTARTS, 0)
    write_i64(base + RESTART_INTERVAL, header[RESTART])
    write_i64(base + MCUS_LEFT, header[RESTART] if header[RESTART] > 0 else _NO_RESTART)
    for c in range(3):
        write_i32(base + PREDICTORS + 64 * c, 0)


@kernel
def _clear_blocks(base: int) -> None:
    """Forget blocks that were begun."""
    for offset in range(0, BLOCK_BYTES, 8):
        write_i64(base + BLOCKS + offset, 0)


@kernel
def _next_row(base: int, num_blocks: int, num_mcus: int) -> None:
    """Move the targets from the end of ``num_mcus`` MCUs to the row of MCUs below."""
    for block in range(num_blocks):
        descriptor = base + MCU + 64 * block
        back = num_mcus * read_i64(descriptor + TARGET_STEP)
        below = read_i64(descriptor + TARGET) - back + read_i64(descriptor + ROW_STEP)
        write_i64(descriptor + TARGET, below)


@kernel
def _decode_from_start(
    payload: int,
    size: int,
    header: NDArray[np.int64],
    window: Window,
    base: int,
    num_blocks: int,
) -> int:
    """Blocks that wait for their transform, or -1."""
    across = header[MCUS_ACROSS]
    start_reading(base, payload + header[SCAN], payload + size, np.int64(0))
    skip = window.y_begin * across + window.x_begin
    take = window.x_end - window.x_begin
    lane: int = np.int64(0)
    for _ in range(window.y_begin, window.y_end):
        lane = decode_across_restarts(base, num_blocks, skip, take, lane)
        if lane < 0:
            break
        _next_row(base, num_blocks, take)
        skip = across - take
    return lane


@kernel
def _decode_from_points(
    payload: int,
    size: int,
    header: NDArray[np.int64],
    window: Window,
    points: int,
    step: int,
    base: int,
    num_blocks: int,
    data_end: int,
) -> int:
    """Blocks that wait for their transform, or -1. Destuffed bytes end before ``data_end``."""
    scan, end = payload + header[SCAN], payload + size
    in_row = points_across(header, step)
    first = window.x_begin // step
    after = (window.x_end + step - 1) // step
    take = window.x_end - window.x_begin
    num_bytes = point_bytes(header)
    num_points = in_row * header[MCU_ROWS]
    skip = window.x_begin - first * step
    lane: int = np.int64(0)
    row = window.y_begin
    while row < window.y_end:
        is_pair = header[RESTART] == 0 and row + 1 < window.y_end and lane & 1 == 0
        data = read_i64(base + BYTES)
        for second in range(1 + is_pair):
            point = points + HEADER_BYTES + num_bytes * ((row + second) * in_row + first)
            offset = read_offset(point)
            source, source_end = scan + (offset >> 3), end
            if (row + second) * in_row + after < num_points:
                next_offset = read_offset(point + num_bytes * (after - first))
                # one byte more, so that a stuffed one is seen whole
                source_end = min(end, scan + (next_offset >> 3) + 2)
            if source >= source_end:
                return -1
            if second == 1 and data + source_end - source > data_end:
                is_pair = False  # rows that share bytes: these are not the image's points
                break
            reader = base + SECOND * second
            mcu = (row + second) * header[MCUS_ACROSS] + first * step
            write_i64(reader + BYTES, data)
            restore_state(header, reader, mcu, point)
            start_reading(reader, source, source_end, offset & 7)
            data += source_end - source + 64
        if is_pair:
            lane = decode_mcu_pairs(base, num_blocks, skip, take, lane)
        else:
            lane = decode_across_restarts(base, num_blocks, skip, take, lane)
        if lane < 0:
            break
        _next_row(base, num_blocks, take)
        if is_pair:
            _next_row(base, num_blocks, np.int64(0))
        row += 1 + is_pair
    return lane


@kernel
def _judge_end(base: int) -> int:
    """What follows the last MCU of a scan: it must be the end of the image."""
    marker, end = read_i64(base + SOURCE), read_i64(base + SOURCE_END)
    while marker < end and read_u8(marker) == 0xFF:
        marker += 1
    if marker >= end:
        return CORRUPT
    return OK if read_u8(marker) == _EOI else UNSUPPORTED


@kernel
def build_points(
    payload: int,
    size: int,
    header: NDArray[np.int64],
    step: int,
    points: int,
    points_bytes: int,
    memory: Memory,
) -> int:
    """Make the seek points of an image, and judge its whole scan.

    Parameters
    ----------
    payload, size, header, memory
        As in ``decode_planes``.
    step : int
        MCUs from one point of a row to the next, 1 to 255.
    points, points_bytes : int
        Address and bytes of room for them: at least ``points_size``.

    Returns
    -------
    int
        ``OK``, ``CORRUPT``, ``UNSUPPORTED`` or ``WORKSPACE``; with others than ``OK`` the points
        are of no use.
    """
    if not 1 <= step <= 255 or size > MAX_PAYLOAD:
        return UNSUPPORTED
    if memory.data_bytes < data_bytes_for(size) or points_bytes < points_size(header, step):
        return TOO_SMALL
    base = round_up(memory.workspace, 64)
    status = load_tables(payload, header, base)
    if status != OK:
        return status
    nowhere = base + SPARE
    num_blocks = _describe(header, base, Planes(nowhere, nowhere, nowhere, 0, 0))
    _reset(header, base, memory)
    write_points_header(header, size, step, points)
    scan = payload + header[SCAN]
    start_reading(base, scan, payload + size, np.int64(0))
    point = points + HEADER_BYTES
    source, walked = scan, np.int64(0)
    for _ in range(header[MCU_ROWS]):
        for x in range(0, header[MCUS_ACROSS], step):
            if read_i64(base + MCUS_LEFT) == 0 and not pass_restart(base):
                return CORRUPT
            if read_i64(base + STARTED) > source:
                source, walked = read_i64(base + STARTED), np.int64(0)
            position = read_i64(base + POSITION) - memory.data
            source = _stored(source, position - walked)
            walked = position
            offset = (source - scan) * 8 + read_i64(base + BIT)
            if not write_point(header, base, offset, point):
                return CORRUPT
            point += point_bytes(header)
            num = min(step, header[MCUS_ACROSS] - x)
            if decode_across_restarts(base, num_blocks, num, np.int64(0), np.int64(0)) < 0:
                return CORRUPT
    return _judge_end(base)


@kernel
def _stored(source: int, num: int) -> int:
    """Address in the payload after ``num`` destuffed bytes from ``source`` on."""
    while num > 0:
        ones = mark_ones(source)
        clean = min(num, np.int64(32) if ones == 0 else trailing_zeros(ones))
        source += clean
        num -= clean
        if num > 0 and clean < 32:
            source += 2
            num -= 1
    return source
