"""Operations on 16 x 16 tiles, held whole in registers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir
from numba.core import types

from slipstream_decoders._kernels.simd.vectors import (
    F32,
    I8,
    LANES,
    Builder,
    Value,
    define,
    load,
    shuffle,
    store,
)


def transpose_words(builder: Builder, rows: Sequence[Value]) -> list[Value]:
    """Transpose 16 vectors of 16 x 32 bits: 32 in-lane unpacks, then 32 shuffles of 128 bits."""
    low_words = [word + 4 * lane for lane in range(4) for word in (0, 16, 1, 17)]
    high_words = [word + 2 for word in low_words]
    low_pairs = [word + 4 * lane for lane in range(4) for word in (0, 1, 16, 17)]
    high_pairs = [word + 2 for word in low_pairs]
    unpacked = [
        shuffle(builder, rows[i], rows[i + 1], pattern)
        for i in range(0, LANES, 2)
        for pattern in (low_words, high_words)
    ]
    quads = []  # quads[4 * g + c]: 128-bit lane L holds column 4 * L + c of rows 4 * g .. 4 * g + 3
    for i in range(0, LANES, 4):
        low0, high0, low1, high1 = unpacked[i : i + 4]
        for a, b in ((low0, low1), (high0, high1)):
            quads += [shuffle(builder, a, b, low_pairs), shuffle(builder, a, b, high_pairs)]

    def lanes(*numbers: int) -> list[int]:
        return [4 * number + word for number in numbers for word in range(4)]

    even, odd = lanes(0, 2, 4, 6), lanes(1, 3, 5, 7)
    columns: list[Value] = [None] * LANES
    for c in range(4):
        top, bottom = (quads[c], quads[4 + c]), (quads[8 + c], quads[12 + c])
        for first, pattern in enumerate((even, odd)):
            upper = shuffle(builder, *top, pattern)
            lower = shuffle(builder, *bottom, pattern)
            columns[4 * first + c] = shuffle(builder, upper, lower, even)
            columns[4 * first + c + 8] = shuffle(builder, upper, lower, odd)
    return columns


def transpose_bytes(builder: Builder, rows: Sequence[Value]) -> list[Value]:
    """Transpose 16 vectors of 16 bytes: four rounds of interleaving vectors i and i + 8."""
    low = [lane for i in range(8) for lane in (i, i + 16)]
    high = [lane + 8 for lane in low]
    for _ in range(4):
        rows = [
            shuffle(builder, rows[i], rows[i + 8], pattern)
            for i in range(8)
            for pattern in (low, high)
        ]
    return list(rows)


def _load_rows(builder: Builder, lane: ir.Type, address: Value, pitch: Value) -> list[Value]:
    rows = []
    for _ in range(LANES):
        rows.append(load(builder, ir.VectorType(lane, LANES), address))
        address = builder.add(address, pitch)
    return rows


def _store_rows(builder: Builder, rows: Sequence[Value], address: Value, pitch: Value) -> None:
    for row in rows:
        store(builder, row, address)
        address = builder.add(address, pitch)


def _transpose_u8(
    builder: Builder, source: Value, source_pitch: Value, target: Value, target_pitch: Value
) -> None:
    rows = _load_rows(builder, I8, source, source_pitch)
    _store_rows(builder, transpose_bytes(builder, rows), target, target_pitch)


def _transpose_f32(
    builder: Builder, source: Value, source_pitch: Value, target: Value, target_pitch: Value
) -> None:
    rows = _load_rows(builder, F32, source, source_pitch)
    _store_rows(builder, transpose_words(builder, rows), target, target_pitch)


_MOVE = [types.int64] * 4

transpose_tile_u8: Callable[[int, int, int, int], None] = define(
    "transpose_tile_u8", types.void, _MOVE, _transpose_u8
)
"""(source, source pitch, target, target pitch): transpose 16 x 16 bytes; pitches in bytes."""

transpose_tile_f32: Callable[[int, int, int, int], None] = define(
    "transpose_tile_f32", types.void, _MOVE, _transpose_f32
)
"""(source, source pitch, target, target pitch): transpose 16 x 16 float32; pitches in bytes."""
