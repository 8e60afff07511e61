"""Inverse DCT of 16 blocks at once, a block a lane: libjpeg's accurate integer method (jidctint).

The results equal libjpeg-turbo's ISLOW bit for bit. Blocks are int16 ``[coefficient][lane]``,
dequantised. No transposes until the bytes leave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir
from numba.core import types

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.jpeg.workspace import BLOCKS, ROWS, STEPS, TARGETS
from slipstream_decoders._kernels.simd.arithmetic import clamp_to_byte
from slipstream_decoders._kernels.simd.vectors import (
    I8,
    I16,
    I32,
    I64,
    LANES,
    Builder,
    Value,
    define,
    load,
    same,
    shuffle,
    store,
)

_WORDS = ir.VectorType(I32, LANES)
_HALVES = ir.VectorType(I16, LANES)
_BITS = 13  # of the factors' fractions
_FIRST_SHIFT = _BITS - 2  # the first pass keeps two fractional bits
_SECOND_SHIFT = _BITS + 2 + 3
_LOW = [lane for i in range(8) for lane in (i, LANES + i)]
_HIGH = [lane + 8 for lane in _LOW]


def _times(builder: Builder, value: Value, factor: int) -> Value:
    """A product of 16-bit numbers: said so, LLVM takes a multiplication that is fast.

    All factors fit, and in data that an encoder made so do all values; libjpeg-turbo assumes the
    same.
    """
    narrow = builder.sext(builder.trunc(value, _HALVES), _WORDS)
    return builder.mul(narrow, same(I32, factor))


def _one_dimension(builder: Builder, v: Sequence[Value]) -> tuple[list[Value], list[Value]]:
    """The even and the odd part of 8 inputs: outputs i and 7 - i are even[i] +- odd[i]."""
    add, sub = builder.add, builder.sub

    def times(value: Value, factor: int) -> Value:
        return _times(builder, value, factor)

    shared = times(add(v[2], v[6]), 4433)
    low, high = sub(shared, times(v[6], 15137)), add(shared, times(v[2], 6270))
    total = builder.shl(add(v[0], v[4]), same(I32, _BITS))
    difference = builder.shl(sub(v[0], v[4]), same(I32, _BITS))
    even = [add(total, high), add(difference, low), sub(difference, low), sub(total, high)]

    z3, z4 = add(v[7], v[3]), add(v[5], v[1])
    shared = times(add(z3, z4), 9633)
    z1, z2 = times(add(v[7], v[1]), -7373), times(add(v[5], v[3]), -20995)
    z3, z4 = add(times(z3, -16069), shared), add(times(z4, -3196), shared)
    odd = [
        add(times(v[1], 12299), add(z1, z4)),
        add(times(v[3], 25172), add(z2, z3)),
        add(times(v[5], 16819), add(z2, z4)),
        add(times(v[7], 2446), add(z1, z3)),
    ]
    return even, odd


def _columns(builder: Builder, source: Value, target: Value) -> None:
    rows = [builder.sext(load(builder, _HALVES, source, 256 * i), _WORDS) for i in range(8)]
    even, odd = _one_dimension(builder, rows)
    for i in range(4):
        rounded = builder.add(even[i], same(I32, 1 << (_FIRST_SHIFT - 1)))
        for row, value in (
            (i, builder.add(rounded, odd[i])),
            (7 - i, builder.sub(rounded, odd[i])),
        ):
            store(builder, builder.ashr(value, same(I32, _FIRST_SHIFT)), target, 512 * row)


def _zip(builder: Builder, x: Value, y: Value) -> list[Value]:
    return [shuffle(builder, x, y, _LOW), shuffle(builder, x, y, _HIGH)]


def _row(builder: Builder, source: Value, targets: Value, steps: Value) -> None:
    even, odd = _one_dimension(builder, [load(builder, _WORDS, source, 64 * i) for i in range(8)])
    centre = same(I32, (1 << (_SECOND_SHIFT - 1)) + (128 << _SECOND_SHIFT))
    pixels: list[Value] = [None] * 8
    for i in range(4):
        rounded = builder.add(even[i], centre)
        for column, value in (
            (i, builder.add(rounded, odd[i])),
            (7 - i, builder.sub(rounded, odd[i])),
        ):
            shifted = builder.ashr(value, same(I32, _SECOND_SHIFT))
            clamped = clamp_to_byte(builder, shifted)
            pixels[column] = builder.trunc(clamped, ir.VectorType(I8, LANES))
    pairs = [_zip(builder, pixels[i], pixels[i + 4]) for i in range(4)]
    even_pairs = [v for half in range(2) for v in _zip(builder, pairs[0][half], pairs[2][half])]
    odd_pairs = [v for half in range(2) for v in _zip(builder, pairs[1][half], pairs[3][half])]
    lanes = [
        v for x, y in zip(even_pairs, odd_pairs, strict=True) for v in _zip(builder, x, y)
    ]  # 8 pixels of lane 2 * i and 8 of lane 2 * i + 1
    for i, both in enumerate(lanes):
        words = builder.bitcast(both, ir.VectorType(I64, 2))
        for half in range(2):
            target = load(builder, I64, targets, 8 * (2 * i + half))
            store(builder, builder.extract_element(words, ir.Constant(I32, half)), target)
    for offset in (0, 64):
        eight = ir.VectorType(I64, 8)
        advanced = builder.add(
            load(builder, eight, targets, offset), load(builder, eight, steps, offset)
        )
        store(builder, advanced, targets, offset)


def _clear(builder: Builder, address: Value) -> None:
    for i in range(16):
        store(builder, same(I32, 0), address, 64 * i)


_transform_column: Callable[[int, int], None] = define(
    "transform_column", types.void, [types.int64] * 2, _columns
)
"""(column of coefficients, column of ``ROWS``): the first pass of one column of 16 blocks."""

_transform_row: Callable[[int, int, int], None] = define(
    "transform_row", types.void, [types.int64] * 3, _row
)
"""(row, ``TARGETS``, ``STEPS``): 8 pixels of 16 blocks to their targets, which then advance."""

_clear_kilobyte: Callable[[int], None] = define("clear_kilobyte", types.void, [types.int64], _clear)


@kernel
def write_blocks(base: int) -> None:
    """Transform the 16 blocks of a workspace, write each to its target, and clear them."""
    for column in range(8):
        _transform_column(base + BLOCKS + 32 * column, base + ROWS + 64 * column)
    for row in range(8):
        _transform_row(base + ROWS + 512 * row, base + TARGETS, base + STEPS)
    _clear_kilobyte(base + BLOCKS)
    _clear_kilobyte(base + BLOCKS + 1024)
