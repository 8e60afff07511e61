"""Crops of a batch whose payloads are pixels already: RGB, or planar YUV420."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.filters import BAD_BOX, WORKSPACE
from slipstream_decoders._kernels.planar_output import UINT8_PIXELS
from slipstream_decoders._kernels.resize_planar import resize_planar
from slipstream_decoders._kernels.resize_rgb import resize_rgb
from slipstream_decoders._kernels.yuv420 import interleave, payload_bytes

CORRUPT: Final = 1
"""A number of ``status.DecodeStatus``: the payload's size does not fit the image's."""

PLANES_TO_RGB: Final = 0
"""Mode: the planes are resized, colours are converted at the output size."""
PIXELS_TO_RGB: Final = 1
"""Mode: RGB pixels, resized as Pillow does."""
PIXELS_TO_YUV: Final = 2
"""Mode: pixels Y, U, V, resized in the same way."""

_CODEC_RGB: Final = 2


class Image(NamedTuple):
    """One image and its crop."""

    payload: int
    size: int
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

    pixels: int
    """For a window of interleaved pixels: ``window_bytes`` of the bounds."""
    pixel_bytes: int
    work: int
    """For the resize."""
    work_bytes: int


@kernel
def window_bytes(bounds_height: int, bounds_width: int) -> int:
    """Bytes of the interleaved pixels of any crop with such bounds, from an even column on."""
    return 3 * bounds_height * (bounds_width + 1)


@kernel
def _crop_planes(image: Image, output: int, height: int, width: int, scratch: Scratch) -> int:
    blue = image.payload + image.height * image.width
    chroma_pitch = (image.width + 1) // 2
    return resize_planar(
        image.payload,
        image.width,
        blue,
        blue + chroma_pitch * ((image.height + 1) // 2),
        chroma_pitch,
        2,
        2,
        image.height,
        image.width,
        image.window_x,
        image.window_y,
        image.window_width,
        image.window_height,
        image.bounds_x,
        image.bounds_y,
        image.bounds_width,
        image.bounds_height,
        False,
        UINT8_PIXELS,
        output,
        3 * width,
        0,
        height,
        width,
        0,
        scratch.work,
        scratch.work_bytes,
    )


@kernel
def _crop_pixels(
    image: Image, to_rgb: bool, output: int, height: int, width: int, scratch: Scratch
) -> int:
    """The window as interleaved pixels, then the resize of those."""
    x, y = image.bounds_x - image.bounds_x % 2, image.bounds_y
    columns, rows = image.bounds_x - x + image.bounds_width, image.bounds_height
    if not (
        x >= 0
        and y >= 0
        and 0 < image.bounds_width <= image.width - image.bounds_x
        and 0 < rows <= image.height - y
    ):
        return BAD_BOX
    if 3 * rows * columns > scratch.pixel_bytes:
        return WORKSPACE
    interleave(
        image.payload, image.height, image.width, x, y, columns, rows, to_rgb, scratch.pixels
    )
    window = Image(
        scratch.pixels,
        3 * rows * columns,
        rows,
        columns,
        image.window_x - x,
        image.window_y - y,
        image.window_width,
        image.window_height,
        image.bounds_x - x,
        np.int64(0),
        image.bounds_width,
        rows,
    )
    return _crop_rgb(window, output, height, width, scratch)


@kernel
def _crop_rgb(image: Image, output: int, height: int, width: int, scratch: Scratch) -> int:
    return resize_rgb(
        image.payload,
        3 * image.width,
        image.height,
        image.width,
        image.window_x,
        image.window_y,
        image.window_width,
        image.window_height,
        image.bounds_x,
        image.bounds_y,
        image.bounds_width,
        image.bounds_height,
        False,
        output,
        3 * width,
        height,
        width,
        scratch.work,
        scratch.work_bytes,
    )


@kernel
def _crop(
    image: Image, is_rgb: bool, mode: int, output: int, height: int, width: int, scratch: Scratch
) -> int:
    expected = payload_bytes(image.height, image.width)
    if is_rgb:
        expected = 3 * image.height * image.width
    if image.size != expected:
        return CORRUPT
    if is_rgb:
        return _crop_rgb(image, output, height, width, scratch)
    if mode == PLANES_TO_RGB:
        return _crop_planes(image, output, height, width, scratch)
    return _crop_pixels(image, mode == PIXELS_TO_RGB, output, height, width, scratch)


@kernel
def crop_run(
    rows: NDArray[np.int64],
    addresses: NDArray[np.int64],
    sizes: NDArray[np.int64],
    heights: NDArray[np.int32],
    widths: NDArray[np.int32],
    codecs: NDArray[np.uint8],
    windows: NDArray[np.float64],
    bounds: NDArray[np.int32],
    mode: int,
    output: int,
    height: int,
    width: int,
    scratch: Scratch,
    statuses: NDArray[np.int32],
) -> None:
    """Crop and resize the images of ``rows`` in turn.

    ``output`` is the address of (B, height, width, 3) bytes. ``mode`` says what becomes of planes;
    interleaved payloads are resized as Pillow does in any.
    """
    for row in rows:
        image = Image(
            addresses[row],
            sizes[row],
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
        is_rgb = codecs[row] == _CODEC_RGB
        target = output + row * (3 * height * width)
        statuses[row] = _crop(image, is_rgb, mode, target, height, width, scratch)
