"""Crops of a batch: the MCUs that a crop touches -> planes -> pixels of the output's size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
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
from slipstream_decoders._kernels.jpeg.workspace import BAD_BOX, OK, SIZE_MISMATCH
from slipstream_decoders._kernels.jpeg.workspace import WORKSPACE as TOO_SMALL
from slipstream_decoders._kernels.planar_output import UINT8_PIXELS
from slipstream_decoders._kernels.resize_planar import resize_planar


class Image(NamedTuple):
    """One encoded image and its crop."""

    payload: int
    size: int
    points: int
    """Address of its seek points, 0 without."""
    points_bytes: int
    height: int
    width: int
    window_x: float
    window_y: float
    window_width: float
    window_height: float
    bounds_x: int
    bounds_y: int
    bounds_width: int
    bounds_height: int


class Scratch(NamedTuple):
    """One thread's memory: addresses, and sizes in bytes."""

    decoder: Memory
    pixels: int
    """For planes: ``plane_bytes_for`` the bounds."""
    pixel_bytes: int
    work: int
    """For the resize."""
    work_bytes: int


@kernel
def plane_bytes_for(bounds_height: int, bounds_width: int) -> int:
    """Bytes of the planes of any crop with such bounds, in whole MCUs of up to 32 pixels."""
    return 3 * (bounds_height + 62) * (bounds_width + 62)


@kernel
def window_of(
    header: NDArray[np.int64], x: int, y: int, width: int, height: int
) -> tuple[int, int, int, int]:
    """The MCUs that pixels touch: x_begin, y_begin, x_end, y_end. The box lies in the image."""
    mcu_width, mcu_height = header[MCU_WIDTH], header[MCU_HEIGHT]
    return (
        x // mcu_width,
        y // mcu_height,
        (x + width + mcu_width - 1) // mcu_width,
        (y + height + mcu_height - 1) // mcu_height,
    )


@kernel
def layout_planes(header: NDArray[np.int64], window: Window, pixels: int) -> tuple[Planes, int]:
    """Planes of a window one after another from address ``pixels`` on, and the bytes they take."""
    across, down = window.x_end - window.x_begin, window.y_end - window.y_begin
    luma_pitch = across * header[MCU_WIDTH]
    luma_bytes = luma_pitch * down * header[MCU_HEIGHT]
    if header[NUM_COMPONENTS] == 1:
        return Planes(pixels, pixels, pixels, luma_pitch, luma_pitch), luma_bytes
    chroma_pitch = luma_pitch // header[RATIO_X]
    chroma_bytes = luma_bytes // (header[RATIO_X] * header[RATIO_Y])
    blue = pixels + luma_bytes
    planes = Planes(pixels, blue, blue + chroma_bytes, luma_pitch, chroma_pitch)
    return planes, luma_bytes + 2 * chroma_bytes


@kernel
def crop_by_planes(
    image: Image,
    header: NDArray[np.int64],
    output: int,
    output_height: int,
    output_width: int,
    scratch: Scratch,
) -> int:
    """Decode what the crop touches, resize the planes, convert colours at the output size."""
    status = parse_header(image.payload, image.size, header)
    if status != OK:
        return status
    if header[HEIGHT] != image.height or header[WIDTH] != image.width:
        return SIZE_MISMATCH
    x, y, width, height = (
        image.bounds_x,
        image.bounds_y,
        image.bounds_width,
        image.bounds_height,
    )
    if not (x >= 0 and y >= 0 and 0 < width <= image.width - x and 0 < height <= image.height - y):
        return BAD_BOX
    x_begin, y_begin, x_end, y_end = window_of(header, x, y, width, height)
    window = Window(x_begin, y_begin, x_end, y_end)
    planes, plane_bytes = layout_planes(header, window, scratch.pixels)
    if plane_bytes > scratch.pixel_bytes:
        return TOO_SMALL
    status = decode_planes(
        image.payload,
        image.size,
        header,
        window,
        planes,
        image.points,
        image.points_bytes,
        scratch.decoder,
    )
    if status != OK:
        return status
    left, top = x_begin * header[MCU_WIDTH], y_begin * header[MCU_HEIGHT]
    return resize_planar(
        planes.luma,
        planes.luma_pitch,
        planes.blue,
        planes.red,
        planes.chroma_pitch,
        header[RATIO_Y],
        header[RATIO_X],
        min(image.height - top, (y_end - y_begin) * header[MCU_HEIGHT]),
        min(image.width - left, planes.luma_pitch),
        image.window_x - left,
        image.window_y - top,
        image.window_width,
        image.window_height,
        x - left,
        y - top,
        width,
        height,
        False,
        UINT8_PIXELS,
        output,
        3 * output_width,
        0,
        output_height,
        output_width,
        0,
        scratch.work,
        scratch.work_bytes,
    )


@kernel
def crop_run(
    rows: NDArray[np.int64],
    addresses: NDArray[np.int64],
    sizes: NDArray[np.int64],
    points_addresses: NDArray[np.int64],
    points_sizes: NDArray[np.int64],
    heights: NDArray[np.int32],
    widths: NDArray[np.int32],
    windows: NDArray[np.float64],
    bounds: NDArray[np.int32],
    header: NDArray[np.int64],
    output: int,
    output_height: int,
    output_width: int,
    scratch: Scratch,
    statuses: NDArray[np.int32],
) -> None:
    """Decode, crop and resize the images of ``rows`` in turn.

    ``output`` is the address of (B, output_height, output_width, 3) bytes.
    """
    for row in rows:
        image = Image(
            addresses[row],
            sizes[row],
            points_addresses[row],
            points_sizes[row],
            np.int64(heights[row]),
            np.int64(widths[row]),
            windows[row, 0],
            windows[row, 1],
            windows[row, 2],
            windows[row, 3],
            np.int64(bounds[row, 0]),
            np.int64(bounds[row, 1]),
            np.int64(bounds[row, 2]),
            np.int64(bounds[row, 3]),
        )
        target = output + row * (3 * output_height * output_width)
        statuses[row] = crop_by_planes(image, header, target, output_height, output_width, scratch)
