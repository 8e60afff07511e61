"""The output forms of the planar resize."""

from __future__ import annotations

from typing import Final, NamedTuple

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.filters import copy_bytes
from slipstream_decoders._kernels.simd.colour import write_float_pixels, write_half_pixels
from slipstream_decoders._kernels.simd.vectors import Vector

UINT8_PIXELS: Final = 0
"""Output kind: uint8 RGB, height x width x 3, rounded to nearest."""
FLOAT32_PIXELS: Final = 1
"""Output kind: float32 RGB, height x width x 3, ``rgb * scale + bias``."""
FLOAT16_PIXELS: Final = 2
"""Output kind: as ``FLOAT32_PIXELS``, rounded to float16."""

TILE: Final = 32 * 12
"""Bytes of the largest block of pixels."""


class Target(NamedTuple):
    """Where the pixels go and in which form."""

    kind: int
    address: int
    pitch: int
    height: int
    width: int
    normalization: int


@kernel
def pixel_size(kind: int) -> int:
    """Bytes from one pixel of a row to the next."""
    if kind == UINT8_PIXELS:
        return 3
    return 12 if kind == FLOAT32_PIXELS else 6


@kernel
def write_floats(
    kind: int, luma: Vector, blue: Vector, red: Vector, place: int, scales: int
) -> None:
    """32 pixels in one of the forms of floats."""
    if kind == FLOAT32_PIXELS:
        write_float_pixels(luma, blue, red, place, scales)
    else:
        write_half_pixels(luma, blue, red, place, scales)


@kernel
def copy_tile(target: Target, tile: int, address: int) -> None:
    """The part of a block that lies in an output that is narrower than one."""
    copy_bytes(tile, target.width * pixel_size(target.kind), address)
