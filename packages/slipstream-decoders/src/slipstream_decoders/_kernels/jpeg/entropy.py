"""Huffman decoding of MCUs into blocks; restart intervals.

The bit reader holds up to 64 bits and is refilled without a branch: eight bytes are or-ed in behind
what is left. That is enough for five lookups, which are up to ten coefficients. Everything that is
out of the ordinary is a step past the block's end: its end, a value that a lookup cannot give, bits
that are no code. So a lookup has one branch, and what lies there is a coefficient that nobody
reads. Of the number of bits that are left only the low six bits of a word count.
"""

from __future__ import annotations

import numpy as np

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.jpeg.destuff import destuff
from slipstream_decoders._kernels.jpeg.idct import write_blocks
from slipstream_decoders._kernels.jpeg.tables import (
    BAD_STEP,
    BAD_SYMBOL,
    INCOMPLETE,
    INCOMPLETE_STEP,
    step_of,
)
from slipstream_decoders._kernels.jpeg.workspace import (
    AC_TABLE,
    BIT,
    BLOCKS,
    BYTES,
    DATA_END,
    DC_LOOKUP_BITS,
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

_TO_INDEX = np.uint64(64 - LOOKUP_BITS)
_TO_DC_INDEX = np.uint64(64 - DC_LOOKUP_BITS)
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
    bit = read_i64(base + BIT)
    bits, count, position = _read_at(start, bit)
    last = read_i64(base + DATA_END) + 7
    for mcu in range(skip + take):
        wanted = mcu >= skip
        if position > last:
            return _DAMAGED
        for block in range(num_blocks):
            descriptor = base + MCU + 64 * block
            quantiser = read_i64(descriptor + QUANTISER)
            target = base + BLOCKS + 4 * lane if wanted else base + SPARE
            bits, count, position = _refill(bits, count, position)
            table = read_i64(descriptor + DC_TABLE)
            entry = np.int64(read_i32(table + (np.int64(bits >> _TO_DC_INDEX) << 2)))
            if entry == 0:
                length, symbol = _find_symbol(table, bits, DC_LOOKUP_BITS + 1)
                if symbol == BAD_SYMBOL:
                    return _DAMAGED
                entry = symbol << 8 | length
            bits <<= np.uint64(entry & 31)
            predictor = read_i64(descriptor + PREDICTOR)
            value = np.int64(read_i32(predictor)) + _value(bits, entry >> 8)
            bits <<= np.uint64(entry >> 8)
            count -= (entry & 31) + (entry >> 8)
            write_i32(predictor, value)
            write_i16(target, value * np.int64(read_i32(quantiser + 12)))
            table = read_i64(descriptor + AC_TABLE)
            at = np.int64(1)
            while True:
                bits, count, position = _refill(bits, count, position)
                bits, count, at, entry = _look_up(table, quantiser, target, bits, count, at)
                if at < 64:
                    bits, count, at, entry = _look_up(table, quantiser, target, bits, count, at)
                if at < 64:
                    bits, count, at, entry = _look_up(table, quantiser, target, bits, count, at)
                if at < 64:
                    bits, count, at, entry = _look_up(table, quantiser, target, bits, count, at)
                if at < 64:
                    bits, count, at, entry = _look_up(table, quantiser, target, bits, count, at)
                if at < 64:
                    continue
                if at == 64 or (at >> 6) == 2:
                    break
                if entry & INCOMPLETE == 0:
                    bits, count, position, at = _split(bits, count, position, at, entry)
                    break
                length, step, size = (entry >> 32) & 31, (entry >> 40) & 255, (entry >> 48) & 15
                bits, count, position = _refill(bits, count, position)
                if length == 0:
                    length, symbol = _find_symbol(table, bits, LOOKUP_BITS + 1)
                    size, step = symbol & 15, step_of(symbol)
                bits <<= np.uint64(length)
                at += step - INCOMPLETE_STEP
                place = quantiser + 8 * at
                value = _value(bits, size) * np.int64(read_i32(place + 4))
                write_i16(target + np.int64(read_i32(place)), value)
                bits <<= np.uint64(size)
                count -= length + size
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
    used = (position - start) * 8 - (count & 63)
    write_i64(base + POSITION, start + (used >> 3))
    write_i64(base + BIT, used & 7)
    return lane if start + ((used + 7) >> 3) <= read_i64(base + DATA_END) else _DAMAGED


@kernel
def _read_at(address: int, bit: int) -> tuple[int, int, int]:
    """(bits, count, position) of a reader whose next bit is this one of the byte at ``address``."""
    return read_big_endian(address) << np.uint64(bit), 56 - bit, address + 7


@kernel
def _refill(bits: int, count: int, position: int) -> tuple[int, int, int]:
    """The same with at least 56 bits."""
    count &= 63
    bits |= read_big_endian(position) >> np.uint64(count)
    return bits, count | 56, position + ((63 - count) >> 3)


@kernel
def _split(bits: int, count: int, position: int, at: int, entry: int) -> tuple[int, int, int, int]:
    """Give back the second symbol of a lookup whose first one has filled the block.

    (bits, count, position, at) after. Anything else is damage: an ``at`` of no sound block.
    """
    if at - ((entry >> 16) & 255) + ((entry >> 8) & 255) != 64:
        return bits, count, position, np.int64(BAD_STEP)
    end = 8 * position - (count & 63) - (entry & 63) + ((entry >> 24) & 31)
    bits, count, position = _read_at(end >> 3, end & 7)
    return bits, count, position, np.int64(64)


@kernel
def _look_up(
    table: int, quantiser: int, target: int, bits: int, count: int, at: int
) -> tuple[int, int, int, int]:
    """One or two coefficients to the block at ``target``; (bits, count, at, entry) after."""
    entry = read_i64(table + (np.int64(bits >> _TO_INDEX) << 3))
    bits <<= np.uint64(entry & 63)
    count -= entry
    place = quantiser + 8 * (at + ((entry >> 8) & 255))
    write_i16(target + np.int64(read_i32(place)), (entry >> 32) * np.int64(read_i32(place + 4)))
    at += (entry >> 16) & 255
    place = quantiser + 8 * at
    write_i16(target + np.int64(read_i32(place)), (entry >> 48) * np.int64(read_i32(place + 4)))
    return bits, count, at, entry


@kernel
def _find_symbol(table: int, bits: int, length: int) -> tuple[int, int]:
    """(length, symbol) of a code that has at least ``length`` bits."""
    code = np.int64(bits >> _TO_16_BITS)
    while code >= np.int64(read_i32(table + LIMITS + 4 * length)):
        length += 1
    if length > 16:
        return np.int64(1), np.int64(BAD_SYMBOL)
    number = (code >> (16 - length)) + np.int64(read_i32(table + FIRST_VALUES + 4 * length))
    return length, np.int64(read_u8(table + VALUES + (number & 255)))


@kernel
def _value(bits: int, size: int) -> int:
    """The number that the next ``size`` bits stand for, 0 to 15 of them."""
    value = np.int64((bits >> np.uint64(1)) >> np.uint64(63 - size))
    is_negative = ~(np.int64(bits) >> 63)
    number: int = value + (is_negative & (1 - (1 << size)))
    return number


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
