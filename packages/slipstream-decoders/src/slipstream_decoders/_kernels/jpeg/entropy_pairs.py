"""Huffman decoding of two rows of MCUs at once, each from a seek point of its own.

A lookup waits for the one before it, but not for one in another row. Both rows have the same blocks
in the same order, which are decoded in pairs: together until one of them ends, then the rest of the
other. Restart intervals are not for pairs.
"""

from __future__ import annotations

import numpy as np

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.jpeg.entropy import (
    DAMAGED,
    KNOWN,
    Block,
    complete,
    decode_dc,
    find_long,
    find_long_dc,
    is_end,
    look_up,
    look_up_dc,
    place_block,
    read_at,
    refill,
    split,
    stop,
)
from slipstream_decoders._kernels.jpeg.idct import write_blocks
from slipstream_decoders._kernels.jpeg.tables import INCOMPLETE
from slipstream_decoders._kernels.jpeg.workspace import (
    AC_TABLE,
    BIT,
    BLOCKS,
    DATA_END,
    MCU,
    POSITION,
    PREDICTOR,
    QUANTISER,
    ROW_STEP,
    SECOND,
    SPARE,
)
from slipstream_decoders._kernels.simd.words import read_i64


@kernel
def decode_mcu_pairs(base: int, num_blocks: int, skip: int, take: int, lane: int) -> int:
    """``decode_mcus`` of two rows: the second one's reader and predictors lie ``SECOND`` further.

    Targets are those of the first row. ``lane`` is even, and so is the result, or it is -1.
    """
    other = base + SECOND
    start, start2 = read_i64(base + POSITION), read_i64(other + POSITION)
    last, last2 = read_i64(base + DATA_END) + 7, read_i64(other + DATA_END) + 7
    bits, bits2 = read_at(start, read_i64(base + BIT)), read_at(start2, read_i64(other + BIT))
    entry = entry2 = np.int64(0)
    for mcu in range(skip + take):
        wanted = mcu >= skip
        if bits.position > last or bits2.position > last2:
            return DAMAGED
        for number in range(num_blocks):
            descriptor = base + MCU + 64 * number
            target = base + BLOCKS + 4 * lane if wanted else base + SPARE
            bits, bits2 = refill(bits), refill(bits2)
            entry, entry2 = look_up_dc(descriptor, bits), look_up_dc(descriptor, bits2)
            if entry == 0:
                entry = find_long_dc(descriptor, bits.bits)
            if entry2 == 0:
                entry2 = find_long_dc(descriptor, bits2.bits)
            if entry == 0 or entry2 == 0:
                return DAMAGED
            predictor = read_i64(descriptor + PREDICTOR)
            bits = decode_dc(descriptor, predictor, target, bits, entry)
            bits2 = decode_dc(descriptor, predictor + SECOND, target + 4, bits2, entry2)
            table, quantiser = read_i64(descriptor + AC_TABLE), read_i64(descriptor + QUANTISER)
            block, block2 = Block(table, quantiser, target), Block(table, quantiser, target + 4)
            at, at2 = np.int64(1), np.int64(1)
            while True:
                if (at | at2) < 64:
                    bits, bits2 = refill(bits), refill(bits2)
                    bits, at, entry = look_up(block, bits, at)
                    bits2, at2, entry2 = look_up(block2, bits2, at2)
                    if (at | at2) < 64:
                        bits, at, entry = look_up(block, bits, at)
                        bits2, at2, entry2 = look_up(block2, bits2, at2)
                    if (at | at2) < 64:
                        bits, at, entry = look_up(block, bits, at)
                        bits2, at2, entry2 = look_up(block2, bits2, at2)
                    if (at | at2) < 64:
                        bits, at, entry = look_up(block, bits, at)
                        bits2, at2, entry2 = look_up(block2, bits2, at2)
                    if (at | at2) < 64:
                        bits, at, entry = look_up(block, bits, at)
                        bits2, at2, entry2 = look_up(block2, bits2, at2)
                elif at < 64:
                    bits, at, entry = look_up(block, refill(bits), at)
                    if at < 64:
                        bits, at, entry = look_up(block, bits, at)
                    if at < 64:
                        bits, at, entry = look_up(block, bits, at)
                elif at2 < 64:
                    bits2, at2, entry2 = look_up(block2, refill(bits2), at2)
                    if at2 < 64:
                        bits2, at2, entry2 = look_up(block2, bits2, at2)
                    if at2 < 64:
                        bits2, at2, entry2 = look_up(block2, bits2, at2)
                else:
                    break
                if at >= 64 and not is_end(at):
                    if entry & INCOMPLETE:
                        bits = refill(bits)
                        if entry & KNOWN == 0:
                            entry = find_long(table, bits.bits)
                        bits, at = complete(block, bits, at, entry)
                    else:
                        bits, at = split(bits, at, entry)
                    if at >= 64 and not is_end(at):
                        return DAMAGED
                if at2 >= 64 and not is_end(at2):
                    if entry2 & INCOMPLETE:
                        bits2 = refill(bits2)
                        if entry2 & KNOWN == 0:
                            entry2 = find_long(table, bits2.bits)
                        bits2, at2 = complete(block2, bits2, at2, entry2)
                    else:
                        bits2, at2 = split(bits2, at2, entry2)
                    if at2 >= 64 and not is_end(at2):
                        return DAMAGED
            if wanted:
                place_block(base, descriptor, lane + 1, read_i64(descriptor + ROW_STEP))
                place_block(base, descriptor, lane, np.int64(0))
                lane += 2
                if lane == 16:
                    write_blocks(base)
                    lane = np.int64(0)
    is_inside = stop(base, start, bits)
    return lane if stop(other, start2, bits2) and is_inside else DAMAGED
