"""The last step of a planar resize: 16 x 16 tiles of Y, Cb, Cr -> RGB in its final form.

Colours are BT.601 full range, as in JPEG. A tile comes as float32 ``[column][row]``; the output is
written row by row, exactly 16 pixels wide. Normalised outputs are ``rgb * scale + bias`` with no
rounding to bytes in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir
from numba.core import types

from slipstream_decoders._kernels.simd.arithmetic import clamp_to_byte
from slipstream_decoders._kernels.simd.half import to_half
from slipstream_decoders._kernels.simd.tiles import transpose_words
from slipstream_decoders._kernels.simd.vectors import (
    CONTRACT,
    F32,
    I8,
    I32,
    LANES,
    Builder,
    Value,
    define,
    load,
    same,
    shuffle,
    splat,
    store,
)

_COLUMN = ir.VectorType(F32, LANES)
_COLUMN_BYTES = 4 * LANES


def _rgb(builder: Builder, luma: Value, blue: Value, red: Value) -> tuple[Value, Value, Value]:
    """BT.601 full range; the chroma values are still offset by 128."""

    def add(value: Value, chroma: Value, factor: float) -> Value:
        product = builder.fmul(chroma, same(F32, factor), flags=CONTRACT)
        return builder.fadd(value, product, flags=CONTRACT)

    blue = builder.fsub(blue, same(F32, 128.0), flags=CONTRACT)
    red = builder.fsub(red, same(F32, 128.0), flags=CONTRACT)
    green = add(add(luma, blue, -0.344136), red, -0.714136)
    return add(luma, red, 1.402), green, add(luma, blue, 1.772)


def _load_column(builder: Builder, planes: Sequence[Value], column: int) -> list[Value]:
    return [load(builder, _COLUMN, plane, _COLUMN_BYTES * column) for plane in planes]


def _bytes_of(builder: Builder, value: Value) -> Value:
    """Clamp to 0..255 and truncate; 32 bits a lane."""
    return clamp_to_byte(builder, builder.fptosi(value, ir.VectorType(I32, LANES)))


def _write_bytes(
    builder: Builder, luma: Value, blue: Value, red: Value, target: Value, pitch: Value
) -> None:
    pixels = []
    for column in range(LANES):
        y, cb, cr = _load_column(builder, (luma, blue, red), column)
        y = builder.fadd(y, same(F32, 0.5), flags=CONTRACT)  # rounds, as bytes are truncated
        r, g, b = (_bytes_of(builder, value) for value in _rgb(builder, y, cb, cr))
        high = builder.or_(builder.shl(g, same(I32, 8)), builder.shl(b, same(I32, 16)))
        pixels.append(builder.or_(r, high))
    triples = [4 * pixel + channel for pixel in range(LANES) for channel in range(3)]
    for row in transpose_words(builder, pixels):
        quadruples = builder.bitcast(row, ir.VectorType(I8, 4 * LANES))
        store(builder, shuffle(builder, quadruples, quadruples, triples), target)
        target = builder.add(target, pitch)


def _normalized_rows(
    builder: Builder, planes: Sequence[Value], normalization: Value, is_half: bool
) -> list[list[Value]]:
    """Rows of the three normalised channels, <16 x float> or the bits of <16 x half>."""
    scale, bias = (
        [splat(builder, load(builder, F32, normalization, 4 * (3 * part + c))) for c in range(3)]
        for part in range(2)
    )
    zero, top = same(F32, 0.0), same(F32, 255.0)
    channels: list[list[Value]] = [[], [], []]
    for column in range(LANES):
        rgb = _rgb(builder, *_load_column(builder, planes, column))
        for channel, value in enumerate(rgb):
            raised = builder.select(builder.fcmp_ordered(">", value, zero), value, zero)
            clamped = builder.select(builder.fcmp_ordered("<", raised, top), raised, top)
            product = builder.fmul(clamped, scale[channel], flags=CONTRACT)
            channels[channel].append(builder.fadd(product, bias[channel], flags=CONTRACT))
    rows = [transpose_words(builder, channel) for channel in channels]
    return [[to_half(builder, row) for row in channel] for channel in rows] if is_half else rows


def _planes_writer(is_half: bool) -> Callable[..., None]:
    def emit(
        builder: Builder,
        luma: Value,
        blue: Value,
        red: Value,
        target: Value,
        pitch: Value,
        plane_pitch: Value,
        normalization: Value,
    ) -> None:
        for rows in _normalized_rows(builder, (luma, blue, red), normalization, is_half):
            address = target
            for row in rows:
                store(builder, row, address)
                address = builder.add(address, pitch)
            target = builder.add(target, plane_pitch)

    return emit


def _pixels_writer(is_half: bool) -> Callable[..., None]:
    def emit(
        builder: Builder,
        luma: Value,
        blue: Value,
        red: Value,
        target: Value,
        pitch: Value,
        normalization: Value,
    ) -> None:
        channels = _normalized_rows(builder, (luma, blue, red), normalization, is_half)
        for r, g, b in zip(*channels, strict=True):
            for third in range(3):
                vector = _interleaved_third(builder, r, g, b, third)
                store(builder, vector, target, third * LANES * (2 if is_half else 4))
            target = builder.add(target, pitch)

    return emit


def _interleaved_third(builder: Builder, r: Value, g: Value, b: Value, third: int) -> Value:
    """Values 16 * third .. of the 48 in r0 g0 b0 r1 g1 b1 ..."""
    numbers = range(LANES * third, LANES * (third + 1))
    red_green = [n // 3 + LANES * (n % 3 == 1) for n in numbers]
    with_blue = [n // 3 + LANES if n % 3 == 2 else lane for lane, n in enumerate(numbers)]
    return shuffle(builder, shuffle(builder, r, g, red_green), b, with_blue)


write_byte_pixels: Callable[[int, int, int, int, int], None] = define(
    "write_byte_pixels", types.void, [types.int64] * 5, _write_bytes
)
"""(Y, Cb, Cr, target, pitch): 16 rows of 16 uint8 RGB pixels, rounded to nearest."""

_PixelsWriter = Callable[[int, int, int, int, int, int], None]
_PlanesWriter = Callable[[int, int, int, int, int, int, int], None]

write_float_pixels: _PixelsWriter = define(
    "write_float_pixels", types.void, [types.int64] * 6, _pixels_writer(is_half=False)
)
"""(Y, Cb, Cr, target, pitch, normalization): 16 rows of 16 float32 RGB pixels."""

write_half_pixels: _PixelsWriter = define(
    "write_half_pixels", types.void, [types.int64] * 6, _pixels_writer(is_half=True)
)
"""(Y, Cb, Cr, target, pitch, normalization): 16 rows of 16 float16 RGB pixels."""

write_float_planes: _PlanesWriter = define(
    "write_float_planes", types.void, [types.int64] * 7, _planes_writer(is_half=False)
)
"""(Y, Cb, Cr, target, pitch, plane pitch, normalization): three float32 tiles R, G, B."""

write_half_planes: _PlanesWriter = define(
    "write_half_planes", types.void, [types.int64] * 7, _planes_writer(is_half=True)
)
"""(Y, Cb, Cr, target, pitch, plane pitch, normalization): three float16 tiles R, G, B."""
