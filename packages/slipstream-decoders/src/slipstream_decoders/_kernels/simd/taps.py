"""Taps of a planar resize: pixels times weights, in 16-bit numbers.

Across a row, each of 16 outputs takes its next two pixels with its two weights, 14 bits each. Down
the columns, each of 32 numbers takes one weight of 15 bits. In between, a level is an int16 with 8
fractional bits, less 128. All of it is integers: the same on any processor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from llvmlite import ir
from numba.core import cgutils, types

from slipstream_decoders._kernels.simd.pairs import (
    has_feature,
    pack_halves,
    pick_bytes,
    picks_bytes,
    rounded_products,
    sums_of_products,
)
from slipstream_decoders._kernels.simd.vectors import (
    HALVES,
    I8,
    I16,
    I32,
    INTS,
    LANES,
    Builder,
    Value,
    Vector,
    define,
    load,
    same,
    shuffle,
    splat,
    store,
)

OUTPUTS_A_WINDOW: Final = LANES if has_feature("avx512vbmi") else 4
"""Outputs that pick their pixels from one window of the source."""
WINDOW: Final = 4 * OUTPUTS_A_WINDOW
"""Bytes of such a window."""
HAS_WINDOWS: Final = picks_bytes()
"""Whether the processor picks bytes of a window in one instruction."""

_declare: Any = cgutils.get_or_insert_function
_HALVES = ir.VectorType(I16, 2 * LANES)
_BYTES = ir.VectorType(I8, 4 * LANES)
_SUM_BITS: Final = 14
_BITS: Final = 8  # of a level's fraction


def _weigh(builder: Builder, pixels: Value, weights: Value, total: Value) -> Value:
    """<64 x i8>, every second byte of which is a pixel and the others zero."""
    factors = load(builder, _HALVES, weights)
    products = sums_of_products(builder, builder.bitcast(pixels, _HALVES), factors)
    return builder.add(total, products)


def _weigh_window(
    builder: Builder, source: Value, starts: Value, step: Value, total: Value
) -> Value:
    windows = []
    for number in range(LANES // OUTPUTS_A_WINDOW):
        start = builder.sext(load(builder, I32, starts, 4 * number), source.type)
        windows.append(load(builder, ir.VectorType(I8, WINDOW), builder.add(source, start)))
    pixels = pick_bytes(builder, _joined(builder, windows), load(builder, _BYTES, step))
    return _weigh(builder, pixels, builder.add(step, ir.Constant(step.type, 64)), total)


def _joined(builder: Builder, parts: Sequence[Value]) -> Value:
    while len(parts) > 1:
        both = list(range(2 * parts[0].type.count))
        parts = [
            shuffle(builder, *pair, both) for pair in zip(parts[::2], parts[1::2], strict=True)
        ]
    return parts[0]


def _weigh_places(builder: Builder, source: Value, step: Value, total: Value) -> Value:
    pixels = ir.Constant(ir.VectorType(I16, LANES), ir.Undefined)
    for lane in range(LANES):
        place = builder.sext(load(builder, I32, step, 4 * lane), source.type)
        two = load(builder, I16, builder.add(source, place))
        pixels = builder.insert_element(pixels, two, ir.Constant(I32, lane))
    pixels = builder.bitcast(pixels, ir.VectorType(I8, 2 * LANES))
    zeros = ir.Constant(pixels.type, None)
    spread = shuffle(builder, pixels, zeros, [n // 2 + 32 * (n % 2) for n in range(4 * LANES)])
    return _weigh(builder, spread, builder.add(step, ir.Constant(step.type, 64)), total)


def _store_levels(builder: Builder, target: Value, first: Value, second: Value) -> None:
    first, second = (builder.ashr(v, same(I32, _SUM_BITS - _BITS)) for v in (first, second))
    store(builder, pack_halves(builder, first, second), target)


def _first_levels(builder: Builder, source: Value, weight: Value) -> Value:
    weights = builder.bitcast(splat(builder, load(builder, I32, weight)), _HALVES)
    return rounded_products(builder, load(builder, _HALVES, source), weights)


def _more_levels(builder: Builder, source: Value, weight: Value, total: Value) -> Value:
    return add_levels(builder, total, _first_levels(builder, source, weight))


def add_levels(builder: Builder, first: Value, second: Value) -> Value:
    """Saturated, which is at levels 0 and 256."""
    kind = ir.FunctionType(_HALVES, [_HALVES] * 2)
    function = _declare(builder.module, kind, "llvm.sadd.sat.v32i16")
    return builder.call(function, [first, second])


def _no_colour(_builder: Builder) -> Value:
    return ir.Constant(_HALVES, None)


weigh_window: Callable[[int, int, int, Vector], Vector] = define(
    "weigh_window", INTS, [types.int64] * 3 + [INTS], _weigh_window
)
"""(row of the source, starts of windows, step, total): total + two pixels x weights, 16 times.

A step has 64 bytes that tell which bytes of its window an output takes, then 32 weights."""

weigh_places: Callable[[int, int, Vector], Vector] = define(
    "weigh_places", INTS, [types.int64] * 2 + [INTS], _weigh_places
)
"""(row of the source, step, total): the same; a step has 16 int32, where in the row the two pixels
are, then 32 weights."""

store_levels: Callable[[int, Vector, Vector], None] = define(
    "store_levels", types.void, [types.int64, INTS, INTS], _store_levels
)
"""(target, first 16 sums, next 16): as 32 levels, lanes 0-3 of each in turn, then 4-7 ..."""

first_levels: Callable[[int, int], Vector] = define(
    "first_levels", HALVES, [types.int64] * 2, _first_levels
)
"""(32 levels, their weight as two int16): levels x weight."""

more_levels: Callable[[int, int, Vector], Vector] = define(
    "more_levels", HALVES, [types.int64] * 2 + [HALVES], _more_levels
)
"""(32 levels, their weight as two int16, total): total + levels x weight."""

no_colour: Callable[[], Vector] = define("no_colour", HALVES, [], _no_colour)
"""32 levels of chroma of a gray image."""

ROUND_CHROMA: Final = (1 << (_SUM_BITS - _BITS - 1)) - (128 << _SUM_BITS)
"""What sums of chroma begin with: they are rounded, and less 128."""
ROUND_LUMA: Final = ROUND_CHROMA + (1 << (_SUM_BITS - 1))
"""What sums of luma begin with: half a level more, since bytes are truncated."""
