"""The last step of a planar resize: 32 pixels of Y, Cb, Cr -> RGB in its final form.

Colours are BT.601 full range, as in JPEG. Levels come as <32 x i16>, see ``taps``, in the order
of ``pack_halves``. Bytes are made in 16-bit numbers; normalised outputs are
``rgb * scale + bias`` in float32, with no rounding to bytes in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir
from numba.core import types

from slipstream_decoders._kernels.simd.half import to_half
from slipstream_decoders._kernels.simd.pairs import (
    PACKED,
    opaque,
    rounded_products,
    store_triples,
    unpack_halves,
)
from slipstream_decoders._kernels.simd.taps import add_levels
from slipstream_decoders._kernels.simd.vectors import (
    CONTRACT,
    F32,
    HALVES,
    I8,
    I16,
    I32,
    LANES,
    Builder,
    Value,
    Vector,
    constant,
    define,
    load,
    same,
    shuffle,
    splat,
    store,
)

_FLOATS = ir.VectorType(F32, LANES)


def _constant(value: float) -> Value:
    return constant(I16, [round(value)] * 2 * LANES)


def _write_bytes(builder: Builder, luma: Value, blue: Value, red: Value, target: Value) -> None:
    def part(chroma: Value, factor: float) -> Value:
        return rounded_products(builder, chroma, _constant(factor * 32768))

    def add(y: Value, first: Value, second: Value) -> Value:
        """Both have the same sign, so that what is saturated stays it."""
        return add_levels(builder, add_levels(builder, y, first), second)

    r = opaque(builder, builder.lshr(add(luma, red, part(red, 0.402)), _constant(8)))
    half = builder.add(part(blue, -0.344136 / 2), part(red, -0.714136 / 2))
    g = builder.and_(add(luma, half, half), _constant(-256))
    b = builder.lshr(add(luma, blue, part(blue, 0.772)), _constant(8))
    # bytes less 128 become bytes
    red_green = builder.xor(builder.or_(r, g), _constant(-0x7F80))
    b = builder.xor(b, _constant(0x80))
    for number, pairs in enumerate(unpack_halves(builder, red_green, b)):
        quadruples = builder.bitcast(opaque(builder, pairs), ir.VectorType(I8, 4 * LANES))
        store_triples(builder, quadruples, target, 48 * number)


def _rgb(builder: Builder, luma: Value, blue: Value, red: Value) -> list[Value]:
    """BT.601 full range in float32, clamped."""

    def add(value: Value, chroma: Value, factor: float) -> Value:
        product = builder.fmul(chroma, same(F32, factor), flags=CONTRACT)
        return builder.fadd(value, product, flags=CONTRACT)

    green = add(add(luma, blue, -0.344136), red, -0.714136)
    zero, top = same(F32, 0.0), same(F32, 255.0)
    clamped = []
    for value in (add(luma, red, 1.402), green, add(luma, blue, 1.772)):
        raised = builder.select(builder.fcmp_ordered(">", value, zero), value, zero)
        clamped.append(builder.select(builder.fcmp_ordered("<", raised, top), raised, top))
    return clamped


def _normalized(
    builder: Builder, planes: Sequence[Value], normalization: Value, *, is_half: bool
) -> list[list[Value]]:
    """For each 16 of 32 pixels: three channels, <16 x float> or the bits of <16 x half>."""
    scale, bias = (
        [splat(builder, load(builder, F32, normalization, 4 * (3 * part + c))) for c in range(3)]
        for part in range(2)
    )
    found = []
    for half in range(2):
        lanes = [PACKED.index(LANES * half + lane) for lane in range(LANES)]
        floats = []
        for plane, offset in zip(planes, (127.5, 0.0, 0.0), strict=True):  # luma is rounded
            words = builder.sext(shuffle(builder, plane, plane, lanes), ir.VectorType(I32, LANES))
            level = builder.fmul(builder.sitofp(words, _FLOATS), same(F32, 1 / 256), flags=CONTRACT)
            floats.append(builder.fadd(level, same(F32, offset), flags=CONTRACT))
        channels = []
        for channel, value in enumerate(_rgb(builder, *floats)):
            product = builder.fmul(value, scale[channel], flags=CONTRACT)
            result = builder.fadd(product, bias[channel], flags=CONTRACT)
            channels.append(to_half(builder, result) if is_half else result)
        found.append(channels)
    return found


def _pixels_writer(*, is_half: bool) -> Callable[..., None]:
    size = LANES * (2 if is_half else 4)

    def emit(
        builder: Builder,
        luma: Value,
        blue: Value,
        red: Value,
        target: Value,
        normalization: Value,
    ) -> None:
        halves = _normalized(builder, (luma, blue, red), normalization, is_half=is_half)
        for half, channels in enumerate(halves):
            for third in range(3):
                vector = _interleaved_third(builder, channels, third)
                store(builder, vector, target, size * (3 * half + third))

    return emit


def _interleaved_third(builder: Builder, channels: Sequence[Value], third: int) -> Value:
    """Values 16 * third .. of the 48 in r0 g0 b0 r1 g1 b1 ..."""
    r, g, b = channels
    numbers = range(LANES * third, LANES * (third + 1))
    red_green = [n // 3 + LANES * (n % 3 == 1) for n in numbers]
    with_blue = [n // 3 + LANES if n % 3 == 2 else lane for lane, n in enumerate(numbers)]
    return shuffle(builder, shuffle(builder, r, g, red_green), b, with_blue)


write_byte_pixels: Callable[[Vector, Vector, Vector, int], None] = define(
    "write_byte_pixels", types.void, [HALVES] * 3 + [types.int64], _write_bytes
)
"""(Y, Cb, Cr, target): 32 uint8 RGB pixels, rounded to nearest."""

_PIXELS = [*[HALVES] * 3, *[types.int64] * 2]
_PixelsWriter = Callable[[Vector, Vector, Vector, int, int], None]

write_float_pixels: _PixelsWriter = define(
    "write_float_pixels", types.void, _PIXELS, _pixels_writer(is_half=False)
)
"""(Y, Cb, Cr, target, normalization): 32 float32 RGB pixels."""

write_half_pixels: _PixelsWriter = define(
    "write_half_pixels", types.void, _PIXELS, _pixels_writer(is_half=True)
)
"""(Y, Cb, Cr, target, normalization): 32 float16 RGB pixels."""
