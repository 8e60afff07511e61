"""Chroma to luma's resolution and YCbCr to RGB, in libjpeg's integers.

Chroma is doubled by libjpeg's triangle filter ("fancy upsampling"): a sample counts three quarters,
its nearer neighbour one quarter, and the rounding alternates. The conversion has the 16 fractional
bits of libjpeg's tables.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.core import types

from slipstream_decoders._kernels.simd.pairs import pack_bytes, pair_products
from slipstream_decoders._kernels.simd.vectors import (
    I8,
    I16,
    I32,
    LANES,
    Builder,
    Value,
    constant,
    define,
    load,
    same,
    shuffle,
    splat,
    store,
)

SAMPLES = 2 * LANES
"""Chroma samples that one call takes."""

_HALVES = ir.VectorType(I16, SAMPLES)
_WORDS = ir.VectorType(I32, LANES)
_INTERLEAVED = [lane + LANES * part for lane in range(LANES) for part in range(2)]


def _all(value: int) -> Value:
    return constant(I16, [value] * SAMPLES)


def _samples(builder: Builder, address: Value, offset: int) -> Value:
    return builder.zext(load(builder, ir.VectorType(I8, SAMPLES), address, offset), _HALVES)


def _blend(builder: Builder, this: Value, near: Value) -> Value:
    return builder.add(builder.mul(this, _all(3)), near)


def _store_both(builder: Builder, even: Value, odd: Value, target: Value) -> None:
    """Bytes in turn; they come as 16-bit numbers."""
    store(builder, builder.or_(even, builder.shl(odd, _all(8))), target)


def _double_across(builder: Builder, this: Value, target: Value) -> None:
    left, here, right = (_samples(builder, this, offset) for offset in (-1, 0, 1))
    even = builder.add(_blend(builder, here, left), _all(1))
    odd = builder.add(_blend(builder, here, right), _all(2))
    _store_both(builder, builder.lshr(even, _all(2)), builder.lshr(odd, _all(2)), target)


def _double_down(
    builder: Builder, this: Value, near: Value, rounding: Value, target: Value
) -> None:
    total = _blend(builder, _samples(builder, this, 0), _samples(builder, near, 0))
    half = splat(builder, builder.trunc(rounding, I16))
    total = builder.add(total, shuffle(builder, half, half, list(range(LANES)) * 2))
    narrow = builder.trunc(builder.lshr(total, _all(2)), ir.VectorType(I8, SAMPLES))
    store(builder, narrow, target)


def _double_both(builder: Builder, this: Value, near: Value, target: Value) -> None:
    left, here, right = (
        _blend(builder, _samples(builder, this, offset), _samples(builder, near, offset))
        for offset in (-1, 0, 1)
    )
    even = builder.add(_blend(builder, here, left), _all(8))
    odd = builder.add(_blend(builder, here, right), _all(7))
    _store_both(builder, builder.lshr(even, _all(4)), builder.lshr(odd, _all(4)), target)


def _write_rgb(builder: Builder, luma: Value, blue: Value, red: Value, target: Value) -> None:
    kind = ir.VectorType(I8, LANES)
    y, cb, cr = (load(builder, kind, address) for address in (luma, blue, red))
    store_rgb(builder, y, cb, cr, target)


def store_rgb(builder: Builder, luma: Value, blue: Value, red: Value, target: Value) -> None:
    """Convert 16 pixels, a vector of bytes for each channel, and store them as 48 bytes."""
    y = builder.zext(luma, _WORDS)
    both = shuffle(builder, blue, red, _INTERLEAVED)
    pairs = builder.sext(builder.xor(both, constant(I8, [128] * SAMPLES)), _HALVES)
    words = builder.bitcast(pairs, _WORDS)
    cr = builder.ashr(words, same(I32, 16))
    cb = builder.ashr(builder.shl(words, same(I32, 16)), same(I32, 16))

    def add_fraction(value: Value, of_blue: int, of_red: int) -> Value:
        product = pair_products(builder, pairs, of_blue, of_red)
        rounded = builder.add(product, same(I32, 1 << 15))
        return builder.add(value, builder.ashr(rounded, same(I32, 16)))

    # factors are 65536 times 1.402, -0.34414, -0.71414 and 1.772, less what is added before
    r = add_fraction(builder.add(y, cr), 0, 91881 - 65536)
    g = add_fraction(builder.sub(y, cr), -22554, 65536 - 46802)
    b = add_fraction(builder.add(y, builder.add(cb, cb)), 116130 - 131072, 0)
    packed = pack_bytes(builder, [r, g, b, b])
    in_quarters = [
        16 * quarter + 4 * channel + pixel
        for quarter in range(4)
        for pixel in range(4)
        for channel in range(3)
    ]
    store(builder, shuffle(builder, packed, packed, in_quarters), target)


def _write_gray(builder: Builder, luma: Value, target: Value) -> None:
    y = load(builder, ir.VectorType(I8, LANES), luma)
    thrice = [pixel for pixel in range(LANES) for _ in range(3)]
    store(builder, shuffle(builder, y, y, thrice), target)


double_across: Callable[[int, int], None] = define(
    "double_across", types.void, [types.int64] * 2, _double_across
)
"""(samples, target): 32 samples to 64. One more on either side is read."""

double_down: Callable[[int, int, int, int], None] = define(
    "double_down", types.void, [types.int64] * 4, _double_down
)
"""(samples, those of the nearer row, 1 for an upper row or 2 for a lower one, target): 32 to 32."""

double_both: Callable[[int, int, int], None] = define(
    "double_both", types.void, [types.int64] * 3, _double_both
)
"""(samples, those of the nearer row, target): 32 to 64. One more on either side is read."""

write_rgb_pixels: Callable[[int, int, int, int], None] = define(
    "write_rgb_pixels", types.void, [types.int64] * 4, _write_rgb
)
"""(Y, Cb, Cr, target): 16 pixels of a byte each to 48 bytes."""

write_gray_pixels: Callable[[int, int], None] = define(
    "write_gray_pixels", types.void, [types.int64] * 2, _write_gray
)
"""(Y, target): 16 pixels of a byte each to 48 bytes."""
