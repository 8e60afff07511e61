"""Crops of a batch whose payloads are pixels already: RGB, or planar YUV420."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.crops import (
    Crops,
    DecodedPlanes,
    Region,
    are_crops_inside,
    crop_from_pixels,
    crops_from_pixels,
    crops_from_planes,
)
from slipstream_decoders._kernels.status import BAD_BOX, CORRUPT, OK, WORKSPACE
from slipstream_decoders._kernels.yuv420 import interleave, payload_bytes

PLANES_TO_RGB: Final = 0
"""Mode: the planes are resized, colours are converted at the output size."""
PIXELS_TO_RGB: Final = 1
"""Mode: RGB pixels, resized as Pillow does."""
PIXELS_TO_YUV: Final = 2
"""Mode: pixels Y, U, V, resized in the same way."""

_CODEC_RGB: Final = 2


class Image(NamedTuple):
    """One image."""

    payload: int
    size: int
    height: int
    width: int


class Scratch(NamedTuple):
    """One thread's memory: addresses, and sizes in bytes."""

    pixels: int
    """For a window of interleaved pixels: ``most_window_bytes`` of the rows."""
    pixel_bytes: int
    work: int
    """For the resize: ``work_bytes_for`` the rows."""
    work_bytes: int


@kernel
def window_bytes(bounds_height: int, bounds_width: int) -> int:
    """Bytes of the interleaved pixels of any crop with such bounds, from an even column on."""
    return 3 * bounds_height * (bounds_width + 1)


@kernel
def most_window_bytes(crops: Crops, rows: NDArray[np.int64]) -> int:
    """``window_bytes`` for the largest crop of the rows."""
    most: int = np.int64(0)
    for view in range(crops.outputs.shape[0]):
        for row in rows:
            bounds = crops.bounds[view, row]
            most = max(most, window_bytes(np.int64(bounds[3]), np.int64(bounds[2])))
    return most


@kernel
def _crop_planes(image: Image, crops: Crops, row: int, scratch: Scratch) -> int:
    blue = image.payload + image.height * image.width
    pitch = (image.width + 1) // 2
    red = blue + pitch * ((image.height + 1) // 2)
    ratio = np.int64(2)
    return crops_from_planes(
        DecodedPlanes(image.payload, image.width, blue, red, pitch, ratio, ratio),
        Region(np.int64(0), np.int64(0), image.width, image.height),
        crops,
        row,
        scratch.work,
        scratch.work_bytes,
    )


@kernel
def _crop_pixels(image: Image, to_rgb: bool, crops: Crops, row: int, scratch: Scratch) -> int:
    """For each crop its window as interleaved pixels, then the resize of those."""
    for view in range(crops.outputs.shape[0]):
        bounds = crops.bounds[view, row]
        left, top = np.int64(bounds[0] - bounds[0] % 2), np.int64(bounds[1])
        columns, rows = np.int64(bounds[0] - left + bounds[2]), np.int64(bounds[3])
        if 3 * rows * columns > scratch.pixel_bytes:
            return WORKSPACE
        interleave(
            image.payload,
            image.height,
            image.width,
            left,
            top,
            columns,
            rows,
            to_rgb,
            scratch.pixels,
        )
        status = crop_from_pixels(
            scratch.pixels,
            3 * columns,
            Region(left, top, columns, rows),
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
def _crop(image: Image, is_rgb: bool, mode: int, crops: Crops, row: int, scratch: Scratch) -> int:
    expected = payload_bytes(image.height, image.width)
    if is_rgb:
        expected = 3 * image.height * image.width
    if image.size != expected:
        return CORRUPT
    if not are_crops_inside(crops, row, image.height, image.width):
        return BAD_BOX
    if is_rgb:
        return crops_from_pixels(
            image.payload,
            3 * image.width,
            Region(np.int64(0), np.int64(0), image.width, image.height),
            crops,
            row,
            scratch.work,
            scratch.work_bytes,
        )
    if mode == PLANES_TO_RGB:
        return _crop_planes(image, crops, row, scratch)
    return _crop_pixels(image, mode == PIXELS_TO_RGB, crops, row, scratch)


@kernel
def crop_run(
    rows: NDArray[np.int64],
    addresses: NDArray[np.int64],
    sizes: NDArray[np.int64],
    heights: NDArray[np.int32],
    widths: NDArray[np.int32],
    codecs: NDArray[np.uint8],
    mode: int,
    crops: Crops,
    scratch: Scratch,
    statuses: NDArray[np.int32],
) -> None:
    """Make all crops of the images of ``rows`` in turn.

    ``mode`` says what becomes of planes; interleaved payloads are resized as Pillow does in any.
    """
    for row in rows:
        image = Image(addresses[row], sizes[row], np.int64(heights[row]), np.int64(widths[row]))
        is_rgb = codecs[row] == _CODEC_RGB
        statuses[row] = _crop(image, is_rgb, mode, crops, row, scratch)
