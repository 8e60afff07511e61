"""Huffman decoding of MCUs into blocks; restart intervals.

The bit reader holds up to 64 bits and is refilled without a branch: eight bytes are or-ed in behind
what is left. That is enough for five lookups, which are up to ten coefficients. Everything that is
out of the ordinary is a step past the block's end: its end, a value that a lookup cannot give, bits
that are no code. So a lookup has one branch, and what lies there is a coefficient that nobody
reads. Of the number of bits that are left only the low six bits of a word count.
"""

from __future__ import annotations

from typing import Final, NamedTuple

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
DAMAGED: Final = -1
KNOWN: Final = 31 << 32
"""Where an incomplete entry has the length of its code."""


class Bits(NamedTuple):
    """A bit reader."""

    bits: int
    """uint64: what comes next, from the highest bit on."""
    left: int
    """How many bits are surely there, in its low six bits."""
    position: int
    """Address of the byte from which to refill."""


class Block(NamedTuple):
    """Where coefficients 1 to 63 of a block come from and go to."""

    table: int
    quantiser: int
    target: int


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
    start, last = read_i64(base + POSITION), read_i64(base + DATA_END) + 7
    bits = read_at(start, read_i64(base + BIT))
    for mcu in range(skip + take):
        wanted = mcu >= skip
        if bits.position > last:
            return DAMAGED
        for number in range(num_blocks):
            descriptor = base + MCU + 64 * number
            target = base + BLOCKS + 4 * lane if wanted else base + SPARE
            predictor = read_i64(descriptor + PREDICTOR)
            bits = refill(bits)
            entry = look_up_dc(descriptor, bits)
            if entry == 0:
                entry = find_long_dc(descriptor, bits.bits)
                if entry == 0:
                    return DAMAGED
            bits = decode_dc(descriptor, predictor, target, bits, entry)
            block = Block(read_i64(descriptor + AC_TABLE), read_i64(descriptor + QUANTISER), target)
            at = np.int64(1)
            while True:
                bits, at, entry = look_up(block, refill(bits), at)
                if at < 64:
                    bits, at, entry = look_up(block, bits, at)
                if at < 64:
                    bits, at, entry = look_up(block, bits, at)
                if at < 64:
                    bits, at, entry = look_up(block, bits, at)
                if at < 64:
                    bits, at, entry = look_up(block, bits, at)
                if at < 64:
                    continue
                if is_end(at):
                    break
                if entry & INCOMPLETE == 0:
                    bits, at = split(bits, at, entry)
                    break
                bits = refill(bits)
                if entry & KNOWN == 0:
                    entry = find_long(block.table, bits.bits)
                bits, at = complete(block, bits, at, entry)
                if at >= 64:
                    break
            if not is_end(at):
                return DAMAGED
            if wanted:
                place_block(base, descriptor, lane, np.int64(0))
                lane += 1
                if lane == 16:
                    write_blocks(base)
                    lane = np.int64(0)
    return lane if stop(base, start, bits) else DAMAGED


@kernel
def place_block(base: int, descriptor: int, lane: int, offset: int) -> None:
    """Tell where the block of a lane goes: bytes from its target on. The last one moves that."""
    address = read_i64(descriptor + TARGET)
    write_i64(base + TARGETS + 8 * lane, address + offset)
    write_i64(base + STEPS + 8 * lane, read_i64(descriptor + PITCH))
    if offset == 0:
        write_i64(descriptor + TARGET, address + read_i64(descriptor + TARGET_STEP))


@kernel
def read_at(address: int, bit: int) -> Bits:
    """A reader whose next bit is this one of the byte at ``address``."""
    return Bits(read_big_endian(address) << np.uint64(bit), 56 - bit, address + 7)


@kernel
def refill(bits: Bits) -> Bits:
    """The same with at least 56 bits."""
    count = bits.left & 63
    more = bits.bits | read_big_endian(bits.position) >> np.uint64(count)
    return Bits(more, count | 56, bits.position + ((63 - count) >> 3))


@kernel
def stop(base: int, start: int, bits: Bits) -> bool:
    """Keep where a reader is that began at ``start``; whether that is inside of its data."""
    used = (bits.position - start) * 8 - (bits.left & 63)
    write_i64(base + POSITION, start + (used >> 3))
    write_i64(base + BIT, used & 7)
    return start + ((used + 7) >> 3) <= read_i64(base + DATA_END)


@kernel
def look_up_dc(descriptor: int, bits: Bits) -> int:
    """The entry of the DC table; 0 if the code is longer than a lookup, or none."""
    table = read_i64(descriptor + DC_TABLE)
    entry: int = np.int64(read_i32(table + (np.int64(bits.bits >> _TO_DC_INDEX) << 2)))
    return entry


@kernel
def find_long_dc(descriptor: int, bits: int) -> int:
    """The entry of a code that is longer than a lookup; 0 if there is none."""
    table = read_i64(descriptor + DC_TABLE)
    length, symbol = _find_symbol(table, bits, DC_LOOKUP_BITS + 1)
    return np.int64(0) if symbol == BAD_SYMBOL else symbol << 8 | length


@kernel
def decode_dc(descriptor: int, predictor: int, target: int, bits: Bits, entry: int) -> Bits:
    """Coefficient 0 of a block."""
    more = bits.bits << np.uint64(entry & 31)
    size = entry >> 8
    value = np.int64(read_i32(predictor)) + _value(more, size)
    write_i32(predictor, value)
    factor = np.int64(read_i32(read_i64(descriptor + QUANTISER) + 12))
    write_i16(target, value * factor)
    count = bits.left - (entry & 31) - size
    return Bits(more << np.uint64(size), count, bits.position)


@kernel
def look_up(block: Block, bits: Bits, at: int) -> tuple[Bits, int, int]:
    """One or two coefficients: (bits, position in the block, entry) after."""
    entry = read_i64(block.table + (np.int64(bits.bits >> _TO_INDEX) << 3))
    bits = Bits(bits.bits << np.uint64(entry & 63), bits.left - entry, bits.position)
    place = block.quantiser + 8 * (at + ((entry >> 8) & 255))
    value = (entry >> 32) * np.int64(read_i32(place + 4))
    write_i16(block.target + np.int64(read_i32(place)), value)
    at += (entry >> 16) & 255
    place = block.quantiser + 8 * at
    value = (entry >> 48) * np.int64(read_i32(place + 4))
    write_i16(block.target + np.int64(read_i32(place)), value)
    return bits, at, entry


@kernel
def is_end(at: int) -> bool:
    """Whether a block can end at this position: it is full, or its end was coded."""
    return at == 64 or (at >> 6) == 2


@kernel
def complete(block: Block, bits: Bits, at: int, entry: int) -> tuple[Bits, int]:
    """The coefficient of an incomplete entry whose length is known; at least 26 bits are there."""
    length, step, size = (entry >> 32) & 31, (entry >> 40) & 255, (entry >> 48) & 15
    more = bits.bits << np.uint64(length)
    at += step - INCOMPLETE_STEP
    place = block.quantiser + 8 * at
    value = _value(more, size) * np.int64(read_i32(place + 4))
    write_i16(block.target + np.int64(read_i32(place)), value)
    return Bits(more << np.uint64(size), bits.left - length - size, bits.position), at


@kernel
def find_long(table: int, bits: int) -> int:
    """The incomplete entry of a code that is longer than a lookup."""
    length, symbol = _find_symbol(table, bits, LOOKUP_BITS + 1)
    return (symbol & 15) << 48 | step_of(symbol) << 40 | length << 32


@kernel
def split(bits: Bits, at: int, entry: int) -> tuple[Bits, int]:
    """Give back the second symbol of a lookup whose first one has filled the block.

    Anything else is damage: a position where no block ends.
    """
    if at - ((entry >> 16) & 255) + ((entry >> 8) & 255) != 64:
        return bits, np.int64(BAD_STEP)
    end = 8 * bits.position - (bits.left & 63) - (entry & 63) + ((entry >> 24) & 31)
    return read_at(end >> 3, end & 7), np.int64(64)


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
            return DAMAGED
        left = read_i64(base + MCUS_LEFT)
        num = min(skip + take, left)
        skipped = min(skip, num)
        lane = decode_mcus(base, num_blocks, skipped, num - skipped, lane)
        if lane < 0:
            return DAMAGED
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
