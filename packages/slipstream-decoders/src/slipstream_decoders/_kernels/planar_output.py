"""The output forms of the planar resize, and how its tiles get there."""

from __future__ import annotations

from typing import Final, NamedTuple

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.filters import copy_bytes
from slipstream_decoders._kernels.simd.colour import (
    write_byte_pixels,
    write_float_pixels,
    write_float_planes,
    write_half_pixels,
    write_half_planes,
)

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

LINE: Final = 64
"""Bytes of one column of a tile: 16 float32."""
TILE: Final = 16 * LINE
"""Bytes of a tile of one plane."""


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
def write_rows(target: Target, row: int, results: int, plane_size: int, tile: int) -> None:
    """Up to 16 rows of the output, incomplete tiles by way of ``tile``.

    Parameters
    ----------
    target : Target
    row : int
        The first row to write.
    results, plane_size : int
        Address of float32 ``[column][row]`` of Y, and bytes from there to Cb, and on to Cr.
    tile : int
        Address of scratch memory of three tiles.
    """
    size = pixel_size(target.kind)
    height = min(target.height - row, 16)
    complete = target.width // 16 if height == 16 else 0
    column = 0
    while column < target.width:
        address = target.address + row * target.pitch + column * size
        source = results + LINE * column
        count, place, pitch, plane_pitch = 1, tile, 16 * size, 256 * size
        if column < 16 * complete:
            count, place, pitch, plane_pitch = complete, address, target.pitch, target.plane_pitch
        _write_tiles(target, source, plane_size, count, place, pitch, plane_pitch)
        if place == tile:
            _copy_tile(target, tile, address, height, min(target.width - column, 16))
        column += 16 * count


@kernel
def _copy_tile(target: Target, tile: int, address: int, height: int, width: int) -> None:
    """The part of a tile that lies in the output."""
    size = pixel_size(target.kind)
    for plane in range(3 if _is_planes(target.kind) else 1):
        for line in range(height):
            copy_bytes(
                tile + (16 * plane + line) * 16 * size,
                width * size,
                address + plane * target.plane_pitch + line * target.pitch,
            )


@kernel
def _write_tiles(
    target: Target,
    luma: int,
    plane_size: int,
    count: int,
    address: int,
    pitch: int,
    plane_pitch: int,
) -> None:
    """Tiles side by side in the target's form.

    Each form has its own loop: with one loop around the choice, LLVM moves what the forms have in
    common before the choice, and runs out of registers.
    """
    blue = luma + plane_size
    red = blue + plane_size
    scales = target.normalization
    end = TILE * count
    if target.kind == UINT8_PIXELS:
        for at in range(0, end, TILE):
            write_byte_pixels(luma + at, blue + at, red + at, address, pitch)
            address += 48
    elif target.kind == FLOAT32_PIXELS:
        for at in range(0, end, TILE):
            write_float_pixels(luma + at, blue + at, red + at, address, pitch, scales)
            address += 192
    elif target.kind == FLOAT32_PLANES:
        for at in range(0, end, TILE):
            write_float_planes(luma + at, blue + at, red + at, address, pitch, plane_pitch, scales)
            address += 64
    elif target.kind == FLOAT16_PIXELS:
        for at in range(0, end, TILE):
            write_half_pixels(luma + at, blue + at, red + at, address, pitch, scales)
            address += 96
    else:
        for at in range(0, end, TILE):
            write_half_planes(luma + at, blue + at, red + at, address, pitch, plane_pitch, scales)
            address += 32
