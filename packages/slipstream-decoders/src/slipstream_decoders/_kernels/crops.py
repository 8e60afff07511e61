"""The crops of a batch: from the planes or pixels of one decoded image to all of its views."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.filters import is_window_inside, round_up
from slipstream_decoders._kernels.planar_output import UINT8_PIXELS, pixel_size
from slipstream_decoders._kernels.resize_planar import planar_workspace_size, resize_planar
from slipstream_decoders._kernels.resize_rgb import resize_rgb, rgb_workspace_size
from slipstream_decoders._kernels.simd.memory import read_i32, read_u8, write_i32
from slipstream_decoders._kernels.simd.words import read_i16, write_i16
from slipstream_decoders._kernels.status import OK, WORKSPACE

TABLE: Final = 24
"""Bytes before the table of results in ``PixelForm.constants``."""


class Crops(NamedTuple):
    """V crops of each of B images, in source pixels."""

    windows: NDArray[np.float64]
    """Shape (V, B, 4): x, y, width, height."""
    bounds: NDArray[np.int32]
    """Shape (V, B, 4)."""
    flips: NDArray[np.bool_]
    """Shape (V, B): whether to mirror the output left to right."""
    outputs: NDArray[np.int64]
    """Shape (V, B): address of the output, rows of RGB without gaps."""
    sizes: NDArray[np.int64]
    """Shape (V, B, 2): height and width of the output."""
    kinds: NDArray[np.int64]
    """Shape (V,): output kinds of pixels."""
    constants: NDArray[np.int64]
    """Shape (V,): address of ``PixelForm.constants``."""


class Region(NamedTuple):
    """The part of an image that has been decoded, in source pixels."""

    left: int
    top: int
    width: int
    height: int


class DecodedPlanes(NamedTuple):
    """Addresses of uint8 planes, bytes between their rows, luma pixels for one of chroma."""

    luma: int
    luma_pitch: int
    blue: int
    red: int
    chroma_pitch: int
    ratio_y: int
    ratio_x: int


@kernel
def are_crops_inside(crops: Crops, row: int, height: int, width: int) -> bool:
    """Whether all crops of an image lie in it."""
    for view in range(crops.outputs.shape[0]):
        window, bounds = crops.windows[view, row], crops.bounds[view, row]
        if not (
            is_window_inside(window[0], window[2], np.int64(bounds[0]), np.int64(bounds[2]), width)
            and is_window_inside(
                window[1], window[3], np.int64(bounds[1]), np.int64(bounds[3]), height
            )
        ):
            return False
    return True


@kernel
def touched(
    start: float, length: float, first: int, size: int, outputs: int, ratio: int
) -> tuple[int, int]:
    """First and last + 1 source pixel of one axis that a resize may touch, within the bounds.

    With chroma, ``ratio`` is its luma pixels for one chroma pixel. Filters over this part are those
    over the whole bounds.
    """
    margin = max(length / outputs, 1.0 * ratio) + 2.0 * max(ratio, 1)
    begin = max(first, math.floor(start - margin))
    end = min(first + size, math.ceil(start + length + margin))
    return begin, end


@kernel
def touched_region(crops: Crops, view: int, row: int, ratio_y: int, ratio_x: int) -> Region:
    """The part of an image that a crop's resize may touch; the crop lies in the image."""
    window, bounds, size = crops.windows[view, row], crops.bounds[view, row], crops.sizes[view, row]
    left, right = touched(
        window[0], window[2], np.int64(bounds[0]), np.int64(bounds[2]), size[1], ratio_x
    )
    top, bottom = touched(
        window[1], window[3], np.int64(bounds[1]), np.int64(bounds[3]), size[0], ratio_y
    )
    return Region(left, top, right - left, bottom - top)


@kernel
def work_bytes_for(crops: Crops, rows: NDArray[np.int64]) -> int:
    """Bytes of scratch memory with which all crops of ``rows`` can be made."""
    most: int = np.int64(0)
    for view in range(crops.outputs.shape[0]):
        for row in rows:
            width = np.int64(crops.bounds[view, row, 2])
            height = np.int64(crops.bounds[view, row, 3])
            out_height, out_width = crops.sizes[view, row, 0], crops.sizes[view, row, 1]
            most = max(
                most,
                planar_workspace_size(height, width, out_height, out_width),
                rgb_workspace_size(height, width, out_height, out_width)
                + round_up(3 * out_height * out_width, 64),
            )
    return most


@kernel
def region_of_bounds(crops: Crops, row: int) -> Region:
    """The smallest region that holds the bounds of all crops of an image."""
    left, top = np.int64(crops.bounds[0, row, 0]), np.int64(crops.bounds[0, row, 1])
    right, bottom = left, top
    for view in range(crops.outputs.shape[0]):
        x, y = np.int64(crops.bounds[view, row, 0]), np.int64(crops.bounds[view, row, 1])
        left, top = min(left, x), min(top, y)
        right = max(right, x + crops.bounds[view, row, 2])
        bottom = max(bottom, y + crops.bounds[view, row, 3])
    return Region(left, top, right - left, bottom - top)


@kernel
def most_sides(crops: Crops, rows: NDArray[np.int64]) -> tuple[int, int]:
    """Largest height and width of ``region_of_bounds`` in the rows."""
    height, width = np.int64(0), np.int64(0)
    for row in rows:
        region = region_of_bounds(crops, row)
        height, width = max(height, region.height), max(width, region.width)
    return height, width


@kernel
def crops_from_planes(
    planes: DecodedPlanes, region: Region, crops: Crops, row: int, work: int, work_bytes: int
) -> int:
    """Resize planes to all crops of an image, colours converted at the output size; a status.

    Parameters
    ----------
    planes : DecodedPlanes
        They begin at the region's corner, which is a multiple of the ratios.
    region : Region
        It holds all that the crops touch.
    crops : Crops
    row : int
    work, work_bytes : int
        Scratch memory: ``work_bytes_for`` the row.
    """
    for view in range(crops.outputs.shape[0]):
        window, size = crops.windows[view, row], crops.sizes[view, row]
        reach = touched_region(crops, view, row, planes.ratio_y, planes.ratio_x)
        kind = crops.kinds[view]
        status = resize_planar(
            planes.luma,
            planes.luma_pitch,
            planes.blue,
            planes.red,
            planes.chroma_pitch,
            planes.ratio_y,
            planes.ratio_x,
            region.height,
            region.width,
            window[0] - region.left,
            window[1] - region.top,
            window[2],
            window[3],
            reach.left - region.left,
            reach.top - region.top,
            reach.width,
            reach.height,
            crops.flips[view, row],
            kind,
            crops.outputs[view, row],
            size[1] * pixel_size(kind),
            size[0],
            size[1],
            crops.constants[view],
            work,
            work_bytes,
        )
        if status != OK:
            return status
    return OK


@kernel
def crops_from_pixels(
    pixels: int, pitch: int, region: Region, crops: Crops, row: int, work: int, work_bytes: int
) -> int:
    """Resize RGB to all crops of an image, as Pillow would; a status.

    Parameters
    ----------
    pixels, pitch : int
        Address of uint8 RGB that begins at the region's corner, bytes between its rows.
    region : Region
        It holds the bounds of all crops.
    crops, row, work, work_bytes
        As in ``crops_from_planes``.
    """
    for view in range(crops.outputs.shape[0]):
        status = crop_from_pixels(pixels, pitch, region, crops, view, row, work, work_bytes)
        if status != OK:
            return status
    return OK


@kernel
def crop_from_pixels(
    pixels: int,
    pitch: int,
    region: Region,
    crops: Crops,
    view: int,
    row: int,
    work: int,
    work_bytes: int,
) -> int:
    """One crop of ``crops_from_pixels``."""
    window, bounds = crops.windows[view, row], crops.bounds[view, row]
    height, width = crops.sizes[view, row, 0], crops.sizes[view, row, 1]
    kind, target = crops.kinds[view], crops.outputs[view, row]
    num_bytes = 3 * height * width
    room = np.int64(0)
    if kind != UINT8_PIXELS:
        room = round_up(num_bytes, 64)
        if work_bytes < room:
            return WORKSPACE
        target = work
    status = resize_rgb(
        pixels,
        pitch,
        region.height,
        region.width,
        window[0] - region.left,
        window[1] - region.top,
        window[2],
        window[3],
        bounds[0] - region.left,
        bounds[1] - region.top,
        np.int64(bounds[2]),
        np.int64(bounds[3]),
        crops.flips[view, row],
        target,
        3 * width,
        height,
        width,
        work + room,
        work_bytes - room,
    )
    if status == OK and kind != UINT8_PIXELS:
        _look_up(work, num_bytes, kind, crops.constants[view] + TABLE, crops.outputs[view, row])
    return status


@kernel
def _look_up(source: int, num_bytes: int, kind: int, table: int, target: int) -> None:
    """Bytes of RGB -> what the form's table makes of them."""
    if pixel_size(kind) == 12:
        for offset in range(0, num_bytes, 3):
            for channel in range(3):
                value = np.int64(read_u8(source + offset + channel))
                word = read_i32(table + 4 * (256 * channel + value))
                write_i32(target + 4 * (offset + channel), word)
    else:
        for offset in range(0, num_bytes, 3):
            for channel in range(3):
                value = np.int64(read_u8(source + offset + channel))
                word = read_i16(table + 2 * (256 * channel + value))
                write_i16(target + 2 * (offset + channel), word)
