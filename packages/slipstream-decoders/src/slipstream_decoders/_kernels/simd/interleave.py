"""Planar 4:2:0 pixels -> interleaved ones, 16 of a row at once, each chroma sample for two pixels.

Colours are BT.601 full range in libjpeg's 16-bit fixed point, so that RGB equals its conversion.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from llvmlite import ir
from numba.core import types

from slipstream_decoders._kernels.simd.arithmetic import clamp_to_byte
from slipstream_decoders._kernels.simd.vectors import (
    I8,
    I32,
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

HALF: Final = 1 << 15
RED_OF_V: Final = 91_881
"""1.402 in units of 2**-16."""
GREEN_OF_U: Final = -22_554
GREEN_OF_V: Final = -46_802
BLUE_OF_U: Final = 116_130

_INTS = ir.VectorType(I32, LANES)


def _luma(builder: Builder, address: Value) -> Value:
    return builder.zext(load(builder, ir.VectorType(I8, LANES), address), _INTS)


def _chroma(builder: Builder, address: Value) -> Value:
    """Eight samples, each twice."""
    half = load(builder, ir.VectorType(I8, LANES // 2), address)
    lanes = constant(I32, [lane // 2 for lane in range(LANES)])
    return builder.zext(builder.shuffle_vector(half, half, lanes), _INTS)


def _store_pixels(builder: Builder, channels: tuple[Value, Value, Value], target: Value) -> None:
    first, second, third = channels
    high = builder.or_(builder.shl(second, same(I32, 8)), builder.shl(third, same(I32, 16)))
    words = builder.or_(first, high)
    quadruples = builder.bitcast(words, ir.VectorType(I8, 4 * LANES))
    triples = [4 * pixel + channel for pixel in range(LANES) for channel in range(3)]
    store(builder, shuffle(builder, quadruples, quadruples, triples), target)


def _write_yuv(builder: Builder, luma: Value, blue: Value, red: Value, target: Value) -> None:
    channels = _luma(builder, luma), _chroma(builder, blue), _chroma(builder, red)
    _store_pixels(builder, channels, target)


def _write_rgb(builder: Builder, luma: Value, blue: Value, red: Value, target: Value) -> None:
    y = _luma(builder, luma)
    u = builder.sub(_chroma(builder, blue), same(I32, 128))
    v = builder.sub(_chroma(builder, red), same(I32, 128))

    def times(chroma: Value, factor: int) -> Value:
        return builder.mul(chroma, same(I32, factor))

    def channel(product: Value) -> Value:
        rounded = builder.ashr(builder.add(product, same(I32, HALF)), same(I32, 16))
        return clamp_to_byte(builder, builder.add(y, rounded))

    green = builder.add(times(u, GREEN_OF_U), times(v, GREEN_OF_V))
    channels = channel(times(v, RED_OF_V)), channel(green), channel(times(u, BLUE_OF_U))
    _store_pixels(builder, channels, target)


_Writer = Callable[[int, int, int, int], None]

write_16_yuv: _Writer = define("write_16_yuv", types.void, [types.int64] * 4, _write_yuv)
"""(Y, U, V, target): 16 luma and 8 chroma samples of each kind -> 16 pixels Y, U, V."""

write_16_rgb: _Writer = define("write_16_rgb", types.void, [types.int64] * 4, _write_rgb)
"""(Y, U, V, target): 16 luma and 8 chroma samples of each kind -> 16 pixels R, G, B."""
