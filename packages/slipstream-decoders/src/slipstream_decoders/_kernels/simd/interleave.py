"""Planar 4:2:0 pixels -> interleaved ones, 16 of a row at once, each chroma sample for two."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.core import types

from slipstream_decoders._kernels.simd.chroma import store_rgb
from slipstream_decoders._kernels.simd.vectors import (
    I8,
    I32,
    LANES,
    Builder,
    Value,
    constant,
    define,
    load,
    shuffle,
    store,
)

_TRIPLES = [channel * LANES + pixel for pixel in range(LANES) for channel in range(3)]
_TWICE = [lane // 2 for lane in range(LANES)]


def _load_pixels(
    builder: Builder, luma: Value, blue: Value, red: Value
) -> tuple[Value, Value, Value]:
    def twice(address: Value) -> Value:
        half = load(builder, ir.VectorType(I8, LANES // 2), address)
        return builder.shuffle_vector(half, half, constant(I32, _TWICE))

    return load(builder, ir.VectorType(I8, LANES), luma), twice(blue), twice(red)


def _write_rgb(builder: Builder, luma: Value, blue: Value, red: Value, target: Value) -> None:
    store_rgb(builder, *_load_pixels(builder, luma, blue, red), target)


def _write_yuv(builder: Builder, luma: Value, blue: Value, red: Value, target: Value) -> None:
    y, u, v = _load_pixels(builder, luma, blue, red)
    both = shuffle(builder, y, u, list(range(2 * LANES)))
    last = shuffle(builder, v, v, list(range(2 * LANES)))
    store(builder, shuffle(builder, both, last, _TRIPLES), target)


_Writer = Callable[[int, int, int, int], None]

write_16_rgb: _Writer = define("write_16_rgb", types.void, [types.int64] * 4, _write_rgb)
"""(Y, U, V, target): 16 luma and 8 chroma samples of each kind -> 16 pixels R, G, B, in libjpeg's
fixed point."""

write_16_yuv: _Writer = define("write_16_yuv", types.void, [types.int64] * 4, _write_yuv)
"""(Y, U, V, target): 16 luma and 8 chroma samples of each kind -> 16 pixels Y, U, V."""
