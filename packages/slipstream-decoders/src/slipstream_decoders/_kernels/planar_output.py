"""The output forms of the planar resize."""

from __future__ import annotations

from typing import Final, NamedTuple

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.filters import copy_bytes
from slipstream_decoders._kernels.simd.colour import (
    write_float_pixels,
    write_float_planes,
    write_half_pixels,
    write_half_planes,
)
from slipstream_decoders._kernels.simd.vectors import Vector

UINT8_PIXELS: Final = 0
"""Output kind: uint8 RGB, height x width x 3, rounded to nearest."""
FLOAT32_PIXELS: Final = 1
"""Output kind: float32 RGB, height x width x 3, ``rgb * scale + bias``."""
FLOAT32_PLANES: Final = 2
"""Output kind: float32 RGB, 3 x height x width, ``rgb * scale + bias``."""
FLOAT16_PIXELS: Final = 3
"""Output kind: as ``FLOAT32_PIXELS``, rounded to float16."""
FLOAT16_PLANES: Final = 4
"""Output kind: as ``FLOAT32_PLANES``, rounded to float16."""

TILE: Final = 32 * 12
"""Bytes of the largest block of pixels."""


class Target(NamedTuple):
    """Where the pixels go and in which form."""

    kind: int
    address: int
    pitch: int
    plane_pitch: int
    height: int
    width: int
    normalization: int


@kernel
def pixel_size(kind: int) -> int:
    """Bytes from one pixel of a row to the next."""
    if kind == UINT8_PIXELS:
        return 3
    size = 4 if kind in (FLOAT32_PIXELS, FLOAT32_PLANES) else 2
    return size if _is_planes(kind) else 3 * size


@kernel
def _is_planes(kind: int) -> bool:
    return kind in (FLOAT32_PLANES, FLOAT16_PLANES)


@kernel
def write_floats(
    kind: int, luma: Vector, blue: Vector, red: Vector, place: int, plane_pitch: int, scales: int
) -> None:
    """32 pixels in one of the forms of floats."""
    if kind == FLOAT32_PIXELS:
        write_float_pixels(luma, blue, red, place, scales)
    elif kind == FLOAT32_PLANES:
        write_float_planes(luma, blue, red, place, plane_pitch, scales)
    elif kind == FLOAT16_PIXELS:
        write_half_pixels(luma, blue, red, place, scales)
    else:
        write_half_planes(luma, blue, red, place, plane_pitch, scales)


@kernel
def copy_tile(target: Target, tile: int, address: int) -> None:
    """The part of a block that lies in an output that is narrower than one."""
    size = pixel_size(target.kind)
    for plane in range(3 if _is_planes(target.kind) else 1):
        source = tile + plane * 32 * size
        copy_bytes(source, target.width * size, address + plane * target.plane_pitch)
