"""Planar YUV420 at its own size: from planes of any sampling, from RGB, and back to pixels.

A payload is Y (height x width), then U and V (ceil(height / 2) x ceil(width / 2)), one row after
another. Colours are BT.601 full range (JFIF). Addresses and sizes are checked by the callers.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.simd.interleave import write_16_rgb, write_16_yuv
from slipstream_decoders._kernels.simd.memory import copy_memory, read_u8, write_u8

_GRAY: Final = 128

# In units of 2**-16; those to RGB are libjpeg's.
_HALF = 1 << 15
_R_OF_V, _G_OF_U, _G_OF_V, _B_OF_U = 91_881, -22_554, -46_802, 116_130
_LUMA_OF_R, _LUMA_OF_G, _LUMA_OF_B = 19_595, 38_470, 7_471
_U_OF_R, _U_OF_G, _U_OF_B = -11_059, -21_709, 32_768
_V_OF_R, _V_OF_G, _V_OF_B = 32_768, -27_439, -5_329
# Of sums of four pixels. One below one half, as in libjpeg: pure blue and red give 255, not 256.
_CHROMA_OFFSET = (128 << 18) + (1 << 17) - 1


@kernel
def payload_bytes(height: int, width: int) -> int:
    """Bytes of an image's payload."""
    return height * width + 2 * ((height + 1) // 2) * ((width + 1) // 2)


@kernel
def pack_planes(
    luma: int,
    luma_pitch: int,
    blue: int,
    red: int,
    chroma_pitch: int,
    ratio_y: int,
    ratio_x: int,
    height: int,
    width: int,
    target: int,
) -> None:
    """Write the payload of an image in planes.

    Parameters
    ----------
    luma, luma_pitch, blue, red, chroma_pitch : int
        Addresses of uint8 planes, bytes from one row to the next.
    ratio_y, ratio_x : int
        Luma pixels for one chroma pixel, 1, 2 or 4; both 0 for a gray image.
    height, width : int
        Of the luma plane; chroma planes have ceil(size / ratio) rows and columns.
    target : int
        Address of ``payload_bytes``.

    Notes
    -----
    4:2:0 is copied. Otherwise a chroma sample is the mean of those of its 2 x 2 pixels (at an odd
    edge the last row or column counts twice), rounded up and down in turns: rounding halves up
    would shift the mean by an eighth of a level.
    """
    for row in range(height):
        copy_memory(luma + row * luma_pitch, width, target + row * width)
    target += height * width
    num_chroma = ((height + 1) // 2) * ((width + 1) // 2)
    if ratio_x == 0:
        for at in range(2 * num_chroma):
            write_u8(target + at, _GRAY)
        return
    _halve(blue, chroma_pitch, ratio_y, ratio_x, height, width, target)
    _halve(red, chroma_pitch, ratio_y, ratio_x, height, width, target + num_chroma)


@kernel
def _halve(
    source: int, pitch: int, ratio_y: int, ratio_x: int, height: int, width: int, target: int
) -> None:
    """A chroma plane of any ratio -> one with a sample for 2 x 2 luma pixels."""
    rows, columns = (height + 1) // 2, (width + 1) // 2
    last_row = (height + ratio_y - 1) // ratio_y - 1
    last_column = (width + ratio_x - 1) // ratio_x - 1
    for row in range(rows):
        top = source + (2 * row // ratio_y) * pitch
        bottom = source + min((2 * row + 1) // ratio_y, last_row) * pitch
        out = target + row * columns
        if ratio_x == 2 and top == bottom:
            copy_memory(top, columns, out)
            continue
        for column in range(columns):
            left = 2 * column // ratio_x
            right = min((2 * column + 1) // ratio_x, last_column)
            total = (
                np.int64(read_u8(top + left))
                + np.int64(read_u8(top + right))
                + np.int64(read_u8(bottom + left))
                + np.int64(read_u8(bottom + right))
            )
            write_u8(out + column, (total + 1 + (column & 1)) >> 2)


@kernel
def pack_rgb(source: int, height: int, width: int, target: int) -> None:
    """Write the payload of interleaved uint8 RGB pixels, height x width x 3, rounded to nearest.

    A chroma sample is that of the mean of its 2 x 2 pixels; at an odd edge the last row or column
    counts twice.
    """
    pitch = 3 * width
    for at in range(height * width):
        pixel = source + 3 * at
        luma = (
            _LUMA_OF_R * np.int64(read_u8(pixel))
            + _LUMA_OF_G * np.int64(read_u8(pixel + 1))
            + _LUMA_OF_B * np.int64(read_u8(pixel + 2))
        )
        write_u8(target + at, (luma + _HALF) >> 16)
    blue = target + height * width
    columns = (width + 1) // 2
    red = blue + columns * ((height + 1) // 2)
    for row in range(0, height, 2):
        top = source + row * pitch
        bottom = source + min(row + 1, height - 1) * pitch
        for column in range(0, width, 2):
            left, right = 3 * column, 3 * min(column + 1, width - 1)
            r = _sum_of_four(top + left, top + right, bottom + left, bottom + right)
            g = _sum_of_four(top + left + 1, top + right + 1, bottom + left + 1, bottom + right + 1)
            b = _sum_of_four(top + left + 2, top + right + 2, bottom + left + 2, bottom + right + 2)
            u = (_U_OF_R * r + _U_OF_G * g + _U_OF_B * b + _CHROMA_OFFSET) >> 18
            v = (_V_OF_R * r + _V_OF_G * g + _V_OF_B * b + _CHROMA_OFFSET) >> 18
            place = (row // 2) * columns + column // 2
            write_u8(blue + place, u)
            write_u8(red + place, v)


@kernel
def _sum_of_four(a: int, b: int, c: int, d: int) -> int:
    total: int = np.int64(read_u8(a)) + np.int64(read_u8(b))
    total += np.int64(read_u8(c)) + np.int64(read_u8(d))
    return total


@kernel
def interleave(
    payload: int,
    height: int,
    width: int,
    x: int,
    y: int,
    columns: int,
    rows: int,
    to_rgb: bool,
    target: int,
) -> None:
    """Write a window of a payload as interleaved pixels; each chroma sample serves its 2 x 2.

    Parameters
    ----------
    payload, height, width : int
        Address of the payload, and the image's size.
    x, y, columns, rows : int
        The window; ``x`` is even.
    to_rgb : bool
        Whether the pixels are R, G, B; else Y, U, V.
    target : int
        Address of rows x columns x 3 bytes.
    """
    pitch = (width + 1) // 2
    blue = payload + height * width + x // 2
    red = blue + pitch * ((height + 1) // 2)
    for row in range(y, y + rows):
        luma = payload + row * width + x
        chroma = (row // 2) * pitch
        if to_rgb:
            _write_rgb_row(luma, blue + chroma, red + chroma, columns, target)
        else:
            _write_yuv_row(luma, blue + chroma, red + chroma, columns, target)
        target += 3 * columns


@kernel
def _write_rgb_row(luma: int, blue: int, red: int, columns: int, target: int) -> None:
    whole = columns - columns % 16
    for column in range(0, whole, 16):
        half = column // 2
        write_16_rgb(luma + column, blue + half, red + half, target + 3 * column)
    for column in range(whole, columns):
        y = np.int64(read_u8(luma + column))
        u = np.int64(read_u8(blue + column // 2)) - 128
        v = np.int64(read_u8(red + column // 2)) - 128
        pixel = target + 3 * column
        green = _G_OF_U * u + _G_OF_V * v
        write_u8(pixel, _clamped(y + ((_R_OF_V * v + _HALF) >> 16)))
        write_u8(pixel + 1, _clamped(y + ((green + _HALF) >> 16)))
        write_u8(pixel + 2, _clamped(y + ((_B_OF_U * u + _HALF) >> 16)))


@kernel
def _clamped(value: int) -> int:
    return min(max(value, 0), 255)


@kernel
def _write_yuv_row(luma: int, blue: int, red: int, columns: int, target: int) -> None:
    whole = columns - columns % 16
    for column in range(0, whole, 16):
        half = column // 2
        write_16_yuv(luma + column, blue + half, red + half, target + 3 * column)
    for column in range(whole, columns):
        pixel = target + 3 * column
        write_u8(pixel, read_u8(luma + column))
        write_u8(pixel + 1, read_u8(blue + column // 2))
        write_u8(pixel + 2, read_u8(red + column // 2))
