"""A part of an image -> RGB at its full size, equal to libjpeg's to the bit; crops of it.

Around the part one more chroma sample is decoded, so that the filter finds what it would find in
the whole image.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.crops import (
    Crops,
    Region,
    are_crops_inside,
    crop_from_pixels,
    crops_from_pixels,
    region_of_bounds,
)
from slipstream_decoders._kernels.filters import copy_bytes, round_up
from slipstream_decoders._kernels.jpeg.parse import (
    HEIGHT,
    MCU_HEIGHT,
    MCU_WIDTH,
    NUM_COMPONENTS,
    RATIO_X,
    RATIO_Y,
    WIDTH,
    parse_header,
)
from slipstream_decoders._kernels.jpeg.planes import Memory, Planes, Window, decode_planes
from slipstream_decoders._kernels.jpeg.upsample import (
    GUARD,
    ROW_SLACK,
    chroma_of,
    guard_rows,
    is_smooth,
    upsample_row,
)
from slipstream_decoders._kernels.simd.chroma import write_gray_pixels, write_rgb_pixels
from slipstream_decoders._kernels.status import BAD_BOX, OK, SIZE_MISMATCH
from slipstream_decoders._kernels.status import WORKSPACE as TOO_SMALL

_PIXELS: Final = 16  # that one call converts
_MARGIN: Final = 66  # pixels by which whole MCUs around a part and its neighbours may be larger


class Part(NamedTuple):
    """An encoded image, and the pixels of it that are wanted."""

    payload: int
    size: int
    points: int
    """Address of its seek points, 0 without."""
    points_bytes: int
    height: int
    """Of the whole image, as recorded."""
    width: int
    x: int
    y: int
    part_height: int
    part_width: int


class PartScratch(NamedTuple):
    """One thread's memory: addresses, and sizes in bytes."""

    decoder: Memory
    planes: int
    """``part_bytes_for`` the part."""
    plane_bytes: int


class CropScratch(NamedTuple):
    """One thread's memory: addresses, and sizes in bytes."""

    part: PartScratch
    pixels: int
    """For the RGB pixels of ``most_sides`` of the rows."""
    pixel_bytes: int
    work: int
    """For the resize."""
    work_bytes: int


@kernel
def part_bytes_for(part_height: int, part_width: int) -> int:
    """Bytes of scratch memory with which any part of this size can be decoded."""
    row = part_width + _MARGIN
    return 3 * (part_height + _MARGIN) * (row + 2 * GUARD) + 2 * (row + ROW_SLACK) + 512


@kernel
def decode_part(
    part: Part, header: NDArray[np.int64], target: int, pitch: int, scratch: PartScratch
) -> int:
    """Decode a part of an image.

    Parameters
    ----------
    part : Part
    header : ndarray of int64, shape (HEADER_WORDS,)
        Scratch.
    target, pitch : int
        Address of the part's first RGB pixel; bytes from one row to the next. Exactly the part is
        written, and nothing unless the status is ``OK``.
    scratch : PartScratch

    Returns
    -------
    int
        ``OK``, ``CORRUPT``, ``UNSUPPORTED``, ``SIZE_MISMATCH``, ``BAD_BOX`` or ``WORKSPACE``.
    """
    status = parse_header(part.payload, part.size, header)
    if status != OK:
        return status
    if header[HEIGHT] != part.height or header[WIDTH] != part.width:
        return SIZE_MISMATCH
    if not (
        part.x >= 0
        and part.y >= 0
        and 0 < part.part_width <= part.width - part.x
        and 0 < part.part_height <= part.height - part.y
    ):
        return BAD_BOX
    if part_bytes_for(part.part_height, part.part_width) > scratch.plane_bytes:
        return TOO_SMALL
    window = _window_of(header, part)
    planes, row = _layout(header, window, scratch.planes)
    status = decode_planes(
        part.payload,
        part.size,
        header,
        window,
        planes,
        part.points,
        part.points_bytes,
        scratch.decoder,
    )
    if status != OK:
        return status
    _write_rows(header, part, window, planes, row, target, pitch)
    return OK


@kernel
def _window_of(header: NDArray[np.int64], part: Part) -> Window:
    """The MCUs with the part's samples and those that the filter needs beside them."""
    beside_x = header[RATIO_X] if is_smooth(header) else 0
    beside_y = header[RATIO_Y] if is_smooth(header) else 0
    mcu_width, mcu_height = header[MCU_WIDTH], header[MCU_HEIGHT]
    x_end = min(part.x + part.part_width + beside_x, part.width)
    y_end = min(part.y + part.part_height + beside_y, part.height)
    return Window(
        max(part.x - beside_x, 0) // mcu_width,
        max(part.y - beside_y, 0) // mcu_height,
        (x_end + mcu_width - 1) // mcu_width,
        (y_end + mcu_height - 1) // mcu_height,
    )


@kernel
def _layout(header: NDArray[np.int64], window: Window, memory: int) -> tuple[Planes, int]:
    """Planes of a window, chroma with room beside its rows; the address after them."""
    luma = round_up(memory, 64)
    luma_pitch = (window.x_end - window.x_begin) * header[MCU_WIDTH]
    rows = (window.y_end - window.y_begin) * header[MCU_HEIGHT]
    after = luma + luma_pitch * rows
    if header[NUM_COMPONENTS] == 1:
        return Planes(luma, luma, luma, luma_pitch, luma_pitch), after
    pitch = luma_pitch // header[RATIO_X] + 2 * GUARD
    blue = after + GUARD
    red = blue + pitch * (rows // header[RATIO_Y])
    after = red + pitch * (rows // header[RATIO_Y])
    return Planes(luma, blue, red, luma_pitch, pitch), after + ROW_SLACK


@kernel
def _write_rows(
    header: NDArray[np.int64],
    part: Part,
    window: Window,
    planes: Planes,
    row_memory: int,
    target: int,
    pitch: int,
) -> None:
    """Planes to pixels."""
    left, top = window.x_begin * header[MCU_WIDTH], window.y_begin * header[MCU_HEIGHT]
    luma = planes.luma + (part.y - top) * planes.luma_pitch + part.x - left
    if header[NUM_COMPONENTS] == 1:
        for row in range(part.part_height):
            source = luma + row * planes.luma_pitch
            _write_gray_row(source, part.part_width, row_memory, target + row * pitch)
        return
    columns = planes.luma_pitch // header[RATIO_X]
    chroma = chroma_of(header, top, left, columns, planes.chroma_pitch)
    rows = (window.y_end - window.y_begin) * header[MCU_HEIGHT] // header[RATIO_Y]
    guard_rows(chroma, planes.blue, rows)
    guard_rows(chroma, planes.red, rows)
    tile = row_memory
    first = tile + 64
    second = first + part.part_width + ROW_SLACK + 4
    for row in range(part.part_height):
        y = part.y + row
        blue = upsample_row(chroma, planes.blue, part.x, y, part.part_width, first)
        red = upsample_row(chroma, planes.red, part.x, y, part.part_width, second)
        source = luma + row * planes.luma_pitch
        _write_rgb_row(source, blue, red, part.part_width, tile, target + row * pitch)


@kernel
def _write_rgb_row(luma: int, blue: int, red: int, width: int, tile: int, target: int) -> None:
    if width < _PIXELS:
        write_rgb_pixels(luma, blue, red, tile)
        copy_bytes(tile, 3 * width, target)
        return
    for step in range(0, width, _PIXELS):
        at = min(step, width - _PIXELS)
        write_rgb_pixels(luma + at, blue + at, red + at, target + 3 * at)


@kernel
def _write_gray_row(luma: int, width: int, tile: int, target: int) -> None:
    if width < _PIXELS:
        write_gray_pixels(luma, tile)
        copy_bytes(tile, 3 * width, target)
        return
    for step in range(0, width, _PIXELS):
        at = min(step, width - _PIXELS)
        write_gray_pixels(luma + at, target + 3 * at)


@kernel
def exact_crops(
    part: Part, header: NDArray[np.int64], crops: Crops, row: int, scratch: CropScratch
) -> int:
    """Decode what the crops of an image need and resize their windows as Pillow does.

    The part is of no size yet. One part holds all bounds, unless the bounds are smaller and seek
    points let each be decoded alone.
    """
    if not are_crops_inside(crops, row, part.height, part.width):
        return BAD_BOX
    region = region_of_bounds(crops, row)
    num_views = crops.outputs.shape[0]
    pixels = np.int64(0)
    for view in range(num_views):
        pixels += np.int64(crops.bounds[view, row, 2]) * crops.bounds[view, row, 3]
    if part.points == 0 or pixels >= region.width * region.height:
        status = _decode_region(part, header, region, scratch)
        if status != OK:
            return status
        return crops_from_pixels(
            scratch.pixels,
            3 * region.width,
            region,
            crops,
            row,
            scratch.work,
            scratch.work_bytes,
        )
    for view in range(num_views):
        bounds = crops.bounds[view, row]
        region = Region(
            np.int64(bounds[0]), np.int64(bounds[1]), np.int64(bounds[2]), np.int64(bounds[3])
        )
        status = _decode_region(part, header, region, scratch)
        if status == OK:
            status = crop_from_pixels(
                scratch.pixels,
                3 * region.width,
                region,
                crops,
                view,
                row,
                scratch.work,
                scratch.work_bytes,
            )
        if status != OK:
            return status
    return OK


@kernel
def _decode_region(
    part: Part, header: NDArray[np.int64], region: Region, scratch: CropScratch
) -> int:
    """Decode a region of the part's image into the scratch memory."""
    pitch = 3 * region.width
    if pitch * region.height > scratch.pixel_bytes:
        return TOO_SMALL
    wanted = Part(
        part.payload,
        part.size,
        part.points,
        part.points_bytes,
        part.height,
        part.width,
        region.left,
        region.top,
        region.height,
        region.width,
    )
    return decode_part(wanted, header, scratch.pixels, pitch, scratch.part)


@kernel
def exact_crop_run(
    rows: NDArray[np.int64],
    addresses: NDArray[np.int64],
    sizes: NDArray[np.int64],
    points_addresses: NDArray[np.int64],
    points_sizes: NDArray[np.int64],
    heights: NDArray[np.int32],
    widths: NDArray[np.int32],
    crops: Crops,
    header: NDArray[np.int64],
    scratch: CropScratch,
    statuses: NDArray[np.int32],
) -> None:
    """Decode the images of ``rows`` in turn and make all their crops."""
    nothing = np.int64(0)
    for row in rows:
        part = Part(
            addresses[row],
            sizes[row],
            points_addresses[row],
            points_sizes[row],
            np.int64(heights[row]),
            np.int64(widths[row]),
            nothing,
            nothing,
            nothing,
            nothing,
        )
        statuses[row] = exact_crops(part, header, crops, row, scratch)
