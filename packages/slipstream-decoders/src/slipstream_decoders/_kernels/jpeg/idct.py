"""Inverse DCT of 16 blocks at once, a block a lane: libjpeg's accurate integer method (jidctint).

The results equal libjpeg-turbo's ISLOW bit for bit. Coefficients are dequantised int16 in pairs, so
that each product of the method is half of an instruction that multiplies and adds; the passes in
between are kept in pairs too. No transposes until the bytes leave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir
from numba.core import types

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.jpeg.workspace import (
    ADDRESSES,
    BLOCKS,
    PAIRS,
    ROWS,
    STEPS,
    TARGETS,
)
from slipstream_decoders._kernels.simd.pairs import pack_bytes, pair_products
from slipstream_decoders._kernels.simd.vectors import (
    I16,
    I32,
    I64,
    LANES,
    Builder,
    Value,
    constant,
    define,
    load,
    same,
    shuffle,
    store,
)

_HALVES = ir.VectorType(I16, 2 * LANES)
_WORDS = ir.VectorType(I32, LANES)
_BITS = 13  # of the factors' fractions
_FIRST_SHIFT = _BITS - 2  # the first pass keeps two fractional bits
_SECOND_SHIFT = _BITS + 2 + 3


def _one_dimension(builder: Builder, source: Value, rounding: int) -> list[Value]:
    """8 outputs <16 x i32>, not yet shifted, of the four pairs of inputs at an address."""
    add, sub = builder.add, builder.sub
    ends, even, odd, middle = (load(builder, _HALVES, source, 64 * i) for i in range(4))

    def products(pairs: Value, first: int, second: int) -> Value:
        return pair_products(builder, pairs, first, second)

    one = 1 << _BITS
    total = add(products(ends, one, one), same(I32, rounding))
    difference = add(products(ends, one, -one), same(I32, rounding))
    high, low = products(even, 10703, 4433), products(even, 4433, -10704)
    evens = [add(total, high), add(difference, low), sub(difference, low), sub(total, high)]

    sums = add(odd, middle)  # 7 + 3 and 1 + 5
    z3, z4 = products(sums, -6436, 9633), products(sums, 9633, 6437)
    odds = [
        add(products(odd, -7373, 4926), z4),
        add(products(middle, 4177, -20995), z3),
        add(products(middle, -20995, -4176), z4),
        add(products(odd, -4927, -7373), z3),
    ]
    first = [add(e, o) for e, o in zip(evens, odds, strict=True)]
    last = [sub(e, o) for e, o in zip(evens, odds, strict=True)]
    return first + last[::-1]


def _columns(builder: Builder, first: Value, second: Value, target: Value) -> None:
    rounding = 1 << (_FIRST_SHIFT - 1)
    both = [_one_dimension(builder, source, rounding) for source in (first, second)]
    is_high = constant(ir.IntType(1), [0, 1] * LANES)
    for row, (x, y) in enumerate(zip(*both, strict=True)):
        low = builder.bitcast(builder.lshr(x, same(I32, _FIRST_SHIFT)), _HALVES)
        high = builder.bitcast(builder.shl(y, same(I32, 16 - _FIRST_SHIFT)), _HALVES)
        store(builder, builder.select(is_high, high, low), target, 64 * len(PAIRS) * row)


def _addresses(builder: Builder, targets: Value, steps: Value, addresses: Value) -> None:
    kind = ir.VectorType(I64, 8)
    for half in (0, 64):
        address, step = load(builder, kind, targets, half), load(builder, kind, steps, half)
        for row in range(8):
            store(builder, address, addresses, 128 * row + half)
            address = builder.add(address, step)


def _row(builder: Builder, source: Value, addresses: Value) -> None:
    centre = (1 << (_SECOND_SHIFT - 1)) + (128 << _SECOND_SHIFT)
    shift = same(I32, _SECOND_SHIFT)
    outputs = [builder.ashr(v, shift) for v in _one_dimension(builder, source, centre)]
    left, right = (_four_pixels(builder, outputs[i : i + 4]) for i in (0, 4))
    for half in range(2):  # of each four lanes
        lanes = [4 * g + 2 * half + i for g in range(4) for i in range(2)]
        words = [lane + LANES * part for lane in lanes for part in range(2)]
        eight = builder.bitcast(shuffle(builder, left, right, words), ir.VectorType(I64, 8))
        for i, lane in enumerate(lanes):
            target = load(builder, I64, addresses, 8 * lane)
            store(builder, builder.extract_element(eight, ir.Constant(I32, i)), target)


def _four_pixels(builder: Builder, columns: Sequence[Value]) -> Value:
    """Four pixels of each lane's block, as <16 x i32>."""
    packed = pack_bytes(builder, columns)
    order = [16 * g + 4 * column + i for g in range(4) for i in range(4) for column in range(4)]
    return builder.bitcast(shuffle(builder, packed, packed, order), _WORDS)


def _clear(builder: Builder, address: Value) -> None:
    for i in range(16):
        store(builder, same(I32, 0), address, 64 * i)


_transform_columns: Callable[[int, int, int], None] = define(
    "transform_columns", types.void, [types.int64] * 3, _columns
)
"""(column, column that makes a pair with it, that pair in ``ROWS``): the first pass."""

_find_addresses: Callable[[int, int, int], None] = define(
    "find_addresses", types.void, [types.int64] * 3, _addresses
)
"""(``TARGETS``, ``STEPS``, ``ADDRESSES``): long before they are used, since a load must wait for a
wider store that has just been made."""

_transform_row: Callable[[int, int], None] = define(
    "transform_row", types.void, [types.int64] * 2, _row
)
"""(row of ``ROWS``, row of ``ADDRESSES``): 8 pixels of each block to where they belong."""

_clear_kilobyte: Callable[[int], None] = define("clear_kilobyte", types.void, [types.int64], _clear)


@kernel
def write_blocks(base: int) -> None:
    """Transform the 16 blocks of a workspace, write each to its target, and clear them."""
    _find_addresses(base + TARGETS, base + STEPS, base + ADDRESSES)
    for pair in range(4):
        first, second = PAIRS[pair]
        column = base + BLOCKS
        _transform_columns(column + 256 * first, column + 256 * second, base + ROWS + 64 * pair)
    for row in range(8):
        _transform_row(base + ROWS + 256 * row, base + ADDRESSES + 128 * row)
    _clear_kilobyte(base + BLOCKS)
    _clear_kilobyte(base + BLOCKS + 1024)
