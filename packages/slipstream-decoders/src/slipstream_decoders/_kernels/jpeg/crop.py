"""Crops of a batch: the MCUs that the crops touch -> planes -> pixels of the outputs' sizes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.crops import (
    Crops,
    DecodedPlanes,
    Region,
    are_crops_inside,
    crops_from_planes,
    region_of_bounds,
    touched_region,
)
from slipstream_decoders._kernels.jpeg.cover import cover_boxes
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
from slipstream_decoders._kernels.jpeg.seek import step_of_points
from slipstream_decoders._kernels.status import BAD_BOX, OK, SIZE_MISMATCH
from slipstream_decoders._kernels.status import WORKSPACE as TOO_SMALL


class Image(NamedTuple):
    """One encoded image."""

    payload: int
    size: int
    points: int
    """Address of its seek points, 0 without."""
    points_bytes: int
    height: int
    width: int


class Scratch(NamedTuple):
    """One thread's memory: addresses, and sizes in bytes."""

    decoder: Memory
    pixels: int
    """For planes: ``most_plane_bytes`` of the rows."""
    pixel_bytes: int
    work: int
    """For the resize: ``work_bytes_for`` the rows."""
    work_bytes: int
    boxes: NDArray[np.int64]
    """Shape (V, 4): MCUs of each crop."""
    rectangles: NDArray[np.int64]
    """Shape (most_rectangles(V), 4): MCUs to decode."""


@kernel
def plane_bytes_for(bounds_height: int, bounds_width: int) -> int:
    """Bytes of the planes of any crop with such bounds, in whole MCUs of up to 32 pixels."""
    return 3 * (bounds_height + 62) * (bounds_width + 62)


@kernel
def most_plane_bytes(crops: Crops, rows: NDArray[np.int64]) -> int:
    """Bytes of planes that hold all crops of any one of the rows."""
    most: int = np.int64(0)
    for row in rows:
        region = region_of_bounds(crops, row)
        most = max(most, plane_bytes_for(region.height, region.width))
    return most


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
def planes_at(header: NDArray[np.int64], planes: Planes, across: int, down: int) -> Planes:
    """The same planes from so many MCUs to the right and down on."""
    x, y = across * header[MCU_WIDTH], down * header[MCU_HEIGHT]
    chroma = np.int64(0)
    if header[NUM_COMPONENTS] > 1:
        chroma = (y // header[RATIO_Y]) * planes.chroma_pitch + x // header[RATIO_X]
    return Planes(
        planes.luma + y * planes.luma_pitch + x,
        planes.blue + chroma,
        planes.red + chroma,
        planes.luma_pitch,
        planes.chroma_pitch,
    )


@kernel
def rectangles_to_decode(
    image: Image, header: NDArray[np.int64], crops: Crops, row: int, scratch: Scratch
) -> tuple[Window, int]:
    """The window of all crops, and in how many rectangles it is decoded.

    From seek points, each MCU is decoded once, and only if a crop needs it; the few MCUs between
    two boxes cost less than to begin again. Without, decoding has to begin at the start of the
    scan: one rectangle for all.
    """
    boxes = scratch.boxes
    for view in range(boxes.shape[0]):
        region = touched_region(crops, view, row, header[RATIO_Y], header[RATIO_X])
        x_begin, y_begin, x_end, y_end = window_of(
            header, region.left, region.top, region.width, region.height
        )
        boxes[view, 0], boxes[view, 1], boxes[view, 2], boxes[view, 3] = (
            x_begin,
            y_begin,
            x_end,
            y_end,
        )
    window = Window(boxes[:, 0].min(), boxes[:, 1].min(), boxes[:, 2].max(), boxes[:, 3].max())
    step = np.int64(0)
    if image.points != 0 and boxes.shape[0] > 1:
        step = step_of_points(image.points, image.points_bytes, header, image.size)
    if step > 0:
        return window, cover_boxes(boxes, step // 2, scratch.rectangles)
    scratch.rectangles[0, 0], scratch.rectangles[0, 1] = window.x_begin, window.y_begin
    scratch.rectangles[0, 2], scratch.rectangles[0, 3] = window.x_end, window.y_end
    return window, np.int64(1)


@kernel
def crop_by_planes(
    image: Image, header: NDArray[np.int64], crops: Crops, row: int, scratch: Scratch
) -> int:
    """Decode what the crops touch, resize the planes, convert colours at the output size."""
    status = parse_header(image.payload, image.size, header)
    if status != OK:
        return status
    if header[HEIGHT] != image.height or header[WIDTH] != image.width:
        return SIZE_MISMATCH
    if not are_crops_inside(crops, row, image.height, image.width):
        return BAD_BOX
    window, num_rectangles = rectangles_to_decode(image, header, crops, row, scratch)
    planes, plane_bytes = layout_planes(header, window, scratch.pixels)
    if plane_bytes > scratch.pixel_bytes:
        return TOO_SMALL
    for index in range(num_rectangles):
        x_begin, y_begin, x_end, y_end = scratch.rectangles[index]
        across, down = x_begin - window.x_begin, y_begin - window.y_begin
        status = decode_planes(
            image.payload,
            image.size,
            header,
            Window(x_begin, y_begin, x_end, y_end),
            planes_at(header, planes, across, down),
            image.points,
            image.points_bytes,
            scratch.decoder,
        )
        if status != OK:
            return status
    left, top = window.x_begin * header[MCU_WIDTH], window.y_begin * header[MCU_HEIGHT]
    return crops_from_planes(
        DecodedPlanes(
            planes.luma,
            planes.luma_pitch,
            planes.blue,
            planes.red,
            planes.chroma_pitch,
            header[RATIO_Y],
            header[RATIO_X],
        ),
        Region(
            left,
            top,
            min(image.width - left, planes.luma_pitch),
            min(image.height - top, (window.y_end - window.y_begin) * header[MCU_HEIGHT]),
        ),
        crops,
        row,
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
    crops: Crops,
    header: NDArray[np.int64],
    scratch: Scratch,
    statuses: NDArray[np.int32],
) -> None:
    """Decode the images of ``rows`` in turn, each once, and make all their crops."""
    for row in rows:
        image = Image(
            addresses[row],
            sizes[row],
            points_addresses[row],
            points_sizes[row],
            np.int64(heights[row]),
            np.int64(widths[row]),
        )
        statuses[row] = crop_by_planes(image, header, crops, row, scratch)
