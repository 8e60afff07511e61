"""Operations on 16 x 16 tiles, held whole in registers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir
from numba.core import types

from slipstream_decoders._kernels.simd.vectors import (
    I8,
    LANES,
    Builder,
    Value,
    define,
    load,
    shuffle,
    store,
)


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


def _transpose_u8(
    builder: Builder, source: Value, source_pitch: Value, target: Value, target_pitch: Value
) -> None:
    rows = []
    for _ in range(LANES):
        rows.append(load(builder, ir.VectorType(I8, LANES), source))
        source = builder.add(source, source_pitch)
    for row in transpose_bytes(builder, rows):
        store(builder, row, target)
        target = builder.add(target, target_pitch)


transpose_tile_u8: Callable[[int, int, int, int], None] = define(
    "transpose_tile_u8", types.void, [types.int64] * 4, _transpose_u8
)
"""(source, source pitch, target, target pitch): transpose 16 x 16 bytes; pitches in bytes."""
