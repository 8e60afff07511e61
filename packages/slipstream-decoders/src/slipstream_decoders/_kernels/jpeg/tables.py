"""Huffman tables that give one or two coefficients a lookup, and dequantisation tables.

All tables of an image together should leave room in the first-level cache. A table for DC has an
int32 entry for each value of the next ``DC_LOOKUP_BITS`` bits: the length of the code, and from bit
8 on the number of bits of the value; 0 if the code is longer. A table for AC has an int64 entry for
each value of the next ``LOOKUP_BITS`` bits:

| bits | |
|---|---|
| 0-5 | bits to consume, at most ``LOOKUP_BITS`` |
| 6 | incomplete: the symbol and its value do not fit, see ``entropy`` |
| 8-15 | how far the first symbol moves in the block: run + 1, ``END_STEP`` for an end of block |
| 16-23 | how far both symbols move; without a second one the same again |
| 24-28 | bits of the first symbol alone |
| 32-47 | first value |
| 48-63 | second value; without a second symbol the first value again |

An incomplete entry consumes nothing and moves past the block's end, by ``INCOMPLETE_STEP``. It has
the length of the code in bits 32-36, 0 if that is longer than ``LOOKUP_BITS``; the step in bits
40-47; and in bits 48-51 the number of bits of the value.

Many images share their tables, and many do not: each thread keeps the last few.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.jpeg.parse import (
    AC,
    COMPONENT_WORDS,
    COMPONENTS,
    DC,
    HUFFMANS,
    NUM_COMPONENTS,
    QUANTISATION,
    QUANTISATIONS,
)
from slipstream_decoders._kernels.jpeg.workspace import (
    AC_TABLE,
    COMPONENT_TABLES,
    DC_LOOKUP_BITS,
    DC_TABLE,
    FIRST_VALUES,
    GROUP_BYTES,
    KEY,
    LIMITS,
    LOOKUP_BITS,
    PAIRS,
    QUANTISER,
    QUANTISER_BYTES,
    QUANTISER_ENTRIES,
    QUANTISERS,
    TABLE_BYTES,
    TABLES,
    VALUES,
    WAYS,
)
from slipstream_decoders._kernels.simd.memory import read_u8, write_i32, write_i64, write_u8
from slipstream_decoders._kernels.simd.words import read_i64
from slipstream_decoders._kernels.status import CORRUPT, OK, UNSUPPORTED

END_STEP: Final = 128
"""Step of an end of block: positions 129 .. 191 are reached by nothing else."""
BAD_STEP: Final = 192
"""Step of bits that are no code: the position is 192 or more."""
BAD_SYMBOL: Final = 256
"""What such bits stand for."""
INCOMPLETE: Final = 64
INCOMPLETE_STEP: Final = 64

_ENTRIES: Final = 1 << LOOKUP_BITS
_MAX_AC_BITS: Final = 10  # of a value in an image of 8 bits; the bit reader relies on it
_MAX_DC_BITS: Final = 15
_FIRST_ONLY: Final = 0xFFFF1F00FF00  # first value, its bits and its step
_NOT_FOUND: Final = INCOMPLETE | INCOMPLETE_STEP << 8 | INCOMPLETE_STEP << 16

# fmt: off
_ZIGZAG = np.array([
     0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
])
# fmt: on
_PLACES = np.argsort(PAIRS, axis=None)
"""For each row, twice the pair that it is in, plus its place there."""
_OFFSETS = 256 * (_ZIGZAG % 8) + 64 * (_PLACES[_ZIGZAG // 8] // 2) + 2 * (_PLACES[_ZIGZAG // 8] % 2)
"""Offset of each coefficient in a block, in zigzag order."""


@kernel
def entry_of(bits: int, step: int, value: int) -> int:
    """A complete entry of one symbol."""
    low = bits | step << 8 | step << 16 | bits << 24
    return low | (value & 0xFFFF) << 32 | value << 48


@kernel
def step_of(symbol: int) -> int:
    """How far an AC symbol moves: its high bits are a run, and 0xF0 is a run with no value."""
    if symbol == BAD_SYMBOL:
        return BAD_STEP
    if symbol & 15 == 0 and symbol != 0xF0:
        return END_STEP
    return (symbol >> 4) + 1


@kernel
def prepare_quantisers(base: int) -> None:
    """Fill in what is the same for all images; once for a workspace."""
    for number in range(4):
        for i in range(QUANTISER_ENTRIES):
            inside = 1 <= i <= 64
            entry = base + QUANTISERS + number * QUANTISER_BYTES + 8 * i
            write_i32(entry, _OFFSETS[i - 1] if inside else 64 * 32)
            write_i32(entry + 4, 0)


@kernel
def load_tables(payload: int, header: NDArray[np.int64], base: int) -> int:
    """Make ready the tables of an image; ``COMPONENT_TABLES`` tells where they are.

    Parameters
    ----------
    payload : int
        Address of the file.
    header : ndarray of int64
        From ``parse_header``.
    base : int
        Address of the workspace.

    Returns
    -------
    int
        ``OK``, ``CORRUPT`` or ``UNSUPPORTED``.
    """
    for c in range(header[NUM_COMPONENTS]):
        words = COMPONENTS + COMPONENT_WORDS * c
        dc, ac, quantisation = header[words + DC], header[words + AC], header[words + QUANTISATION]
        target = base + COMPONENT_TABLES + 64 * c
        for group in (dc, ac + 4):
            table, status = _find_table(
                payload + header[HUFFMANS + group], base + TABLES + GROUP_BYTES * group, group >= 4
            )
            if status != OK:
                return status
            write_i64(target + (AC_TABLE if group >= 4 else DC_TABLE), table)
        quantiser = base + QUANTISERS + QUANTISER_BYTES * quantisation
        write_i64(target + QUANTISER, quantiser)
        _fill_quantiser(payload, header[QUANTISATIONS + quantisation], quantiser)
    return OK


@kernel
def _fill_quantiser(payload: int, offset: int, quantiser: int) -> None:
    """Factors of one table; a negative offset means values of 16 bits."""
    for i in range(64):
        if offset < 0:
            source = payload - offset + 2 * i
            factor = np.int64(read_u8(source)) * 256 + np.int64(read_u8(source + 1))
        else:
            factor = np.int64(read_u8(payload + offset + i))
        write_i32(quantiser + 8 * (i + 1) + 4, factor)


@kernel
def _find_table(definition: int, group: int, is_ac: bool) -> tuple[int, int]:
    """(address, status) of the table of a definition: 16 counts, then the symbols."""
    num_bytes = np.int64(16)
    for i in range(16):
        num_bytes += np.int64(read_u8(definition + i))
    for way in range(WAYS):
        table = group + 64 + TABLE_BYTES * way
        if read_i64(table + KEY) == num_bytes and _is_equal(table + KEY + 8, definition, num_bytes):
            return table, np.int64(OK)
    way = read_i64(group)
    write_i64(group, (way + 1) % WAYS)
    table = group + 64 + TABLE_BYTES * way
    write_i64(table + KEY, 0)
    status = build_table(definition, num_bytes - 16, table, is_ac)
    if status == OK:
        for i in range(num_bytes):
            write_u8(table + KEY + 8 + i, read_u8(definition + i))
        write_i64(table + KEY, num_bytes)
    return table, np.int64(status)


@kernel
def _is_equal(a: int, b: int, num_bytes: int) -> bool:
    whole = num_bytes // 8 * 8
    difference = 0
    for i in range(0, whole, 8):
        difference |= read_i64(a + i) ^ read_i64(b + i)
    for i in range(whole, num_bytes):
        difference |= read_u8(a + i) ^ read_u8(b + i)
    return difference == 0


@kernel
def build_table(definition: int, num_symbols: int, table: int, is_ac: bool) -> int:
    """Make a table from its definition, a canonical Huffman code.

    Parameters
    ----------
    definition : int
        Address of 16 counts and ``num_symbols`` symbols.
    num_symbols : int
        Sum of the counts, at most 256.
    table : int
        Address of ``TABLE_BYTES``.
    is_ac : bool

    Returns
    -------
    int
        ``CORRUPT`` if there are more codes than bits allow, or symbols that cannot be;
        ``UNSUPPORTED`` if a symbol is not one of an image of 8 bits.
    """
    for i in range(_ENTRIES if is_ac else 1 << (DC_LOOKUP_BITS - 1)):
        write_i64(table + 8 * i, _NOT_FOUND if is_ac else 0)
    code, number = np.int64(0), np.int64(0)
    write_i32(table + LIMITS, 0)
    for length in range(1, 17):
        write_i32(table + FIRST_VALUES + 4 * length, number - code)
        for _ in range(np.int64(read_u8(definition + length - 1))):
            symbol = np.int64(read_u8(definition + 16 + number))
            if not is_ac and symbol > _MAX_DC_BITS:
                return CORRUPT
            if is_ac and symbol & 15 > _MAX_AC_BITS:
                return UNSUPPORTED
            write_u8(table + VALUES + number, symbol)
            if is_ac and length <= LOOKUP_BITS:
                first = table + 8 * (code << (LOOKUP_BITS - length))
                _fill_entries(first, length, symbol & 15, step_of(symbol))
            if not is_ac and length <= DC_LOOKUP_BITS:
                for i in range(1 << (DC_LOOKUP_BITS - length)):
                    number_of_bits = (code << (DC_LOOKUP_BITS - length)) + i
                    write_i32(table + 4 * number_of_bits, symbol << 8 | length)
            code += 1
            number += 1
            if code >= 1 << length:  # a code of all ones is not allowed either
                return CORRUPT
        write_i32(table + LIMITS + 4 * length, code << (16 - length))
        code <<= 1
    write_i32(table + LIMITS + 4 * 17, 0x7FFFFFFF)
    if is_ac:
        _add_second_symbols(table)
    return OK if number == num_symbols else CORRUPT


@kernel
def _fill_entries(first: int, length: int, size: int, step: int) -> None:
    """The entries that begin with one code: with each of its values if they fit."""
    spare = LOOKUP_BITS - length
    if size > spare:
        for i in range(1 << spare):
            write_i64(first + 8 * i, size << 48 | step << 40 | length << 32 | _NOT_FOUND)
        return
    each = 1 << (spare - size)
    for bits in range(1 << size):
        value = bits if 2 * bits >= 1 << size else bits - (1 << size) + 1
        if size == 0:
            value = np.int64(0)
        entry = entry_of(length + size, step, value)
        for _ in range(each):
            write_i64(first, entry)
            first += 8


@kernel
def _add_second_symbols(table: int) -> None:
    """Join to each symbol the next one if that fits too."""
    singles = np.empty(_ENTRIES, np.int64)
    for i in range(_ENTRIES):
        singles[i] = read_i64(table + 8 * i)
    i = np.int64(0)
    while i < _ENTRIES:
        entry = singles[i]
        is_complete = entry & INCOMPLETE == 0
        length = entry & 63 if is_complete else (entry >> 32) & 31
        if length == 0:
            i += 1
            continue
        span = np.int64(1) << (LOOKUP_BITS - length)
        step = (entry >> 8) & 255
        if is_complete and step != END_STEP:
            first = entry & _FIRST_ONLY
            for j in range(span):
                second = singles[j << length]
                bits = length + (second & 63)
                both = step + ((second >> 8) & 255)
                joined = first | bits | both << 16 | (second >> 32) << 48
                fits = (second & INCOMPLETE == 0) & (bits <= LOOKUP_BITS)
                write_i64(table + 8 * (i + j), joined if fits else entry)
        i += span
