"""Huffman decoding of MCUs into blocks; restart intervals.

The bit reader holds up to 64 bits and is refilled without a branch: eight bytes are or-ed in behind
what is left. That is enough for two lookups, which are up to four coefficients. An end of block is
a step past the block's end, so the loop has one exit, and what lies there is a coefficient that
nobody reads.
"""

from __future__ import annotations

import numpy as np

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.jpeg.destuff import destuff
from slipstream_decoders._kernels.jpeg.idct import write_blocks
from slipstream_decoders._kernels.jpeg.tables import (
    BAD_STEP,
    INCOMPLETE,
    entry_of,
    step_of,
)
from slipstream_decoders._kernels.jpeg.workspace import (
    AC_TABLE,
    BIT,
    BLOCKS,
    BYTES,
    DATA_END,
    DC_TABLE,
    FIRST_VALUES,
    LIMITS,
    LOOKUP_BITS,
    MCU,
    MCUS_LEFT,
    PITCH,
    POSITION,
    PREDICTOR,
    PREDICTORS,
    QUANTISER,
    RESTART_INTERVAL,
    RESTARTS,
    SOURCE,
    SOURCE_END,
    SPARE,
    STARTED,
    STEPS,
    TARGET,
    TARGET_STEP,
    TARGETS,
    VALUES,
)
from slipstream_decoders._kernels.simd.memory import read_i32, read_u8, write_i32, write_i64
from slipstream_decoders._kernels.simd.words import read_big_endian, read_i64, write_i16

_FIRST_ONLY = 0xFFFF1F00FF00
_TO_INDEX = np.uint64(64 - LOOKUP_BITS)
_TO_16_BITS = np.uint64(48)
_DAMAGED = -1


@kernel
def decode_mcus(base: int, num_blocks: int, skip: int, take: int, lane: int) -> int:
    """Decode MCUs of one restart interval, from where the reader is.

    Parameters
    ----------
    base : int
        Address of the workspace: descriptors, predictors and reader are set.
    num_blocks : int
        Of one MCU.
    skip, take : int
        So many MCUs nobody wants, then so many whose blocks are written to their targets.
    lane : int
        Blocks that wait for their inverse transform.

    Returns
    -------
    int
        Blocks that wait now, or -1: the data are damaged or end too early.
    """
    start = read_i64(base + POSITION)
    position = start + 7
    bit = read_i64(base + BIT)
    bits = read_big_endian(start) << np.uint64(bit)
    count = 56 - bit
    last = read_i64(base + DATA_END) + 7
    for mcu in range(skip + take):
        wanted = mcu >= skip
        if position > last:
            return _DAMAGED
        for block in range(num_blocks):
            descriptor = base + MCU + 64 * block
            table = read_i64(descriptor + DC_TABLE)
            quantiser = read_i64(descriptor + QUANTISER)
            predictor = read_i64(descriptor + PREDICTOR)
            target = base + BLOCKS + 4 * lane if wanted else base + SPARE
            bits |= read_big_endian(position) >> np.uint64(count)
            position += (63 - count) >> 3
            count |= 56
            entry = read_i64(table + (np.int64(bits >> _TO_INDEX) << 3))
            if entry & INCOMPLETE:
                entry = _complete(table, bits, entry, False)
                if entry == 0:
                    return _DAMAGED
            bits <<= np.uint64(entry & 63)
            count -= entry & 31
            value = np.int64(read_i32(predictor)) + (entry >> 48)
            write_i32(predictor, value)
            write_i16(target, value * np.int64(read_i32(quantiser + 12)))
            table = read_i64(descriptor + AC_TABLE)
            at = np.int64(1)
            while True:
                bits |= read_big_endian(position) >> np.uint64(count)
                position += (63 - count) >> 3
                count |= 56
                bits, count, at = _symbols(table, quantiser, target, bits, count, at)
                if at >= 64:
                    break
                bits, count, at = _symbols(table, quantiser, target, bits, count, at)
                if at >= 64:
                    break
            if at != 64 and (at >> 6) != 2:
                return _DAMAGED
            if wanted:
                address = read_i64(descriptor + TARGET)
                write_i64(base + TARGETS + 8 * lane, address)
                write_i64(base + STEPS + 8 * lane, read_i64(descriptor + PITCH))
                write_i64(descriptor + TARGET, address + read_i64(descriptor + TARGET_STEP))
                lane += 1
                if lane == 16:
                    write_blocks(base)
                    lane = np.int64(0)
    used = (position - start) * 8 - count
    write_i64(base + POSITION, start + (used >> 3))
    write_i64(base + BIT, used & 7)
    return lane if start + ((used + 7) >> 3) <= read_i64(base + DATA_END) else _DAMAGED


@kernel
def _symbols(
    table: int, quantiser: int, target: int, bits: int, count: int, at: int
) -> tuple[int, int, int]:
    """One lookup: one or two coefficients to the block at ``target``; (bits, count, at) after."""
    entry = read_i64(table + (np.int64(bits >> _TO_INDEX) << 3))
    if entry & INCOMPLETE:
        entry = _complete(table, bits, entry, True)
    at += (entry >> 8) & 255
    if at == 64:  # the block is full: the second symbol is the next block's
        entry = (entry & _FIRST_ONLY) | ((entry >> 24) & 31) | (entry >> 32) << 48
    bits <<= np.uint64(entry & 63)
    count -= entry & 31
    place = quantiser + 8 * at
    write_i16(target + np.int64(read_i32(place)), (entry >> 32) * np.int64(read_i32(place + 4)))
    at += (entry >> 16) & 255
    place = quantiser + 8 * at
    write_i16(target + np.int64(read_i32(place)), (entry >> 48) * np.int64(read_i32(place + 4)))
    return bits, count, at


@kernel
def _complete(table: int, bits: int, entry: int, is_ac: bool) -> int:
    """A complete entry from an incomplete one; a bad code is 0 in DC and ``BAD_STEP`` in AC."""
    length, size, step = entry & 63, (entry >> 16) & 15, (entry >> 8) & 255
    if length == 0:
        code = np.int64(bits >> _TO_16_BITS)
        length = np.int64(LOOKUP_BITS + 1)
        while code >= np.int64(read_i32(table + LIMITS + 4 * length)):
            length += 1
        if length > 16:
            return entry_of(1, BAD_STEP, 0) if is_ac else np.int64(0)
        number = (code >> (16 - length)) + np.int64(read_i32(table + FIRST_VALUES + 4 * length))
        symbol = np.int64(read_u8(table + VALUES + (number & 255)))
        size, step = symbol & 15, step_of(symbol, is_ac)
    if size == 0:
        return entry_of(length, step, 0)
    value = np.int64((bits << np.uint64(length)) >> np.uint64(64 - size))
    if value < 1 << (size - 1):
        value += 1 - (1 << size)
    return entry_of(length + size, step, value)


@kernel
def decode_across_restarts(base: int, num_blocks: int, skip: int, take: int, lane: int) -> int:
    """``decode_mcus`` over any number of restart intervals."""
    while skip + take > 0:
        if read_i64(base + MCUS_LEFT) == 0 and not pass_restart(base):
            return _DAMAGED
        left = read_i64(base + MCUS_LEFT)
        num = min(skip + take, left)
        skipped = min(skip, num)
        lane = decode_mcus(base, num_blocks, skipped, num - skipped, lane)
        if lane < 0:
            return _DAMAGED
        write_i64(base + MCUS_LEFT, left - num)
        skip -= skipped
        take -= num - skipped
    return lane


@kernel
def pass_restart(base: int) -> bool:
    """Pass the next restart marker; whether it is there and is the right one."""
    marker, end = read_i64(base + SOURCE), read_i64(base + SOURCE_END)
    while marker < end and read_u8(marker) == 0xFF:
        marker += 1
    restarts = read_i64(base + RESTARTS)
    if marker >= end or np.int64(read_u8(marker)) != 0xD0 + restarts:
        return False
    write_i64(base + RESTARTS, (restarts + 1) & 7)
    write_i64(base + MCUS_LEFT, read_i64(base + RESTART_INTERVAL))
    for c in range(3):
        write_i32(base + PREDICTORS + 64 * c, 0)
    start_reading(base, marker + 1, end, 0)
    return True


@kernel
def start_reading(base: int, source: int, source_end: int, bit: int) -> None:
    """Let the reader begin at a byte and bit of the payload."""
    target = read_i64(base + BYTES)
    destuff(base, source, source_end, target)
    write_i64(base + STARTED, source)
    write_i64(base + SOURCE_END, source_end)
    write_i64(base + POSITION, target)
    write_i64(base + BIT, bit)
