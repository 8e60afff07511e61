"""The parts of images that crops touch, as planes one image after another in one buffer.

Two passes: ``measure_run`` says where each image's planes will be relative to its own start, and
how many bytes they take; ``write_run`` decodes or copies them to their place.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.crops import Crops, Region, are_crops_inside, touched_region
from slipstream_decoders._kernels.jpeg.crop import (
    Image,
    Scratch,
    layout_planes,
    planes_at,
    rectangles_to_decode,
)
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
from slipstream_decoders._kernels.jpeg.planes import Window, decode_planes
from slipstream_decoders._kernels.simd.memory import copy_memory
from slipstream_decoders._kernels.status import BAD_BOX, CORRUPT, OK, SIZE_MISMATCH, UNSUPPORTED
from slipstream_decoders._kernels.yuv420 import payload_bytes

_JPEG: Final = 0
_YUV420: Final = 1


@kernel
def _image(words: NDArray[np.int64]) -> Image:
    return Image(words[0], words[1], words[2], words[3], words[4], words[5])


@kernel
def _measure_jpeg(
    image: Image,
    header: NDArray[np.int64],
    crops: Crops,
    row: int,
    scratch: Scratch,
    layout: NDArray[np.int64],
    region: NDArray[np.int64],
) -> tuple[int, int]:
    """A status, and bytes."""
    status = parse_header(image.payload, image.size, header)
    if status != OK:
        return status, 0
    if header[HEIGHT] != image.height or header[WIDTH] != image.width:
        return SIZE_MISMATCH, 0
    if not are_crops_inside(crops, row, image.height, image.width):
        return BAD_BOX, 0
    window, _ = rectangles_to_decode(image, header, crops, row, scratch)
    planes, num_bytes = layout_planes(header, window, np.int64(0))
    has_chroma = header[NUM_COMPONENTS] > 1
    layout[0], layout[1] = planes.luma, planes.luma_pitch
    layout[2], layout[3], layout[4] = planes.blue, planes.red, planes.chroma_pitch
    layout[5] = header[RATIO_Y] if has_chroma else 0
    layout[6] = header[RATIO_X] if has_chroma else 0
    left, top = window.x_begin * header[MCU_WIDTH], window.y_begin * header[MCU_HEIGHT]
    region[0], region[1] = left, top
    region[2] = min(image.width, window.x_end * header[MCU_WIDTH]) - left
    region[3] = min(image.height, window.y_end * header[MCU_HEIGHT]) - top
    return OK, num_bytes


@kernel
def _measure_yuv420(
    image: Image,
    crops: Crops,
    row: int,
    layout: NDArray[np.int64],
    region: NDArray[np.int64],
) -> tuple[int, int]:
    """A status, and bytes."""
    if image.size != payload_bytes(image.height, image.width):
        return CORRUPT, 0
    if not are_crops_inside(crops, row, image.height, image.width):
        return BAD_BOX, 0
    whole = touched_region(crops, 0, row, 2, 2)
    left, top = whole.left, whole.top
    right, bottom = left + whole.width, top + whole.height
    for view in range(1, crops.outputs.shape[0]):
        part = touched_region(crops, view, row, 2, 2)
        left, top = min(left, part.left), min(top, part.top)
        right, bottom = max(right, part.left + part.width), max(bottom, part.top + part.height)
    left, top = left - left % 2, top - top % 2
    width, height = right - left, bottom - top
    chroma_width, chroma_height = (width + 1) // 2, (height + 1) // 2
    luma_bytes, chroma_bytes = width * height, chroma_width * chroma_height
    layout[0], layout[1] = 0, width
    layout[2], layout[3], layout[4] = luma_bytes, luma_bytes + chroma_bytes, chroma_width
    layout[5], layout[6] = 2, 2
    region[0], region[1], region[2], region[3] = left, top, width, height
    return OK, luma_bytes + 2 * chroma_bytes


@kernel
def _copy_rows(source: int, source_pitch: int, target: int, width: int, height: int) -> None:
    for line in range(height):
        copy_memory(source + line * source_pitch, width, target + line * width)


@kernel
def _write_yuv420(image: Image, region: Region, target: int) -> None:
    """Copy the parts of the planes of an image."""
    pitch = (image.width + 1) // 2
    blue = image.payload + image.height * image.width
    red = blue + pitch * ((image.height + 1) // 2)
    width, height = (region.width + 1) // 2, (region.height + 1) // 2
    luma = image.payload + region.top * image.width + region.left
    _copy_rows(luma, image.width, target, region.width, region.height)
    target += region.width * region.height
    first = (region.top // 2) * pitch + region.left // 2
    _copy_rows(blue + first, pitch, target, width, height)
    _copy_rows(red + first, pitch, target + width * height, width, height)


@kernel
def _write_jpeg(
    image: Image,
    header: NDArray[np.int64],
    crops: Crops,
    row: int,
    scratch: Scratch,
    target: int,
) -> int:
    """Decode the part of an image that was measured; a status."""
    status = parse_header(image.payload, image.size, header)
    if status != OK:
        return status
    window, num_rectangles = rectangles_to_decode(image, header, crops, row, scratch)
    planes, _ = layout_planes(header, window, target)
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
    return OK


@kernel
def measure_run(
    rows: NDArray[np.int64],
    images: NDArray[np.int64],
    codecs: NDArray[np.uint8],
    crops: Crops,
    header: NDArray[np.int64],
    scratch: Scratch,
    layouts: NDArray[np.int64],
    regions: NDArray[np.int64],
    num_bytes: NDArray[np.int64],
    statuses: NDArray[np.int32],
) -> None:
    """Layout, region and bytes of the planes of ``rows``, and what cannot be brought to planes.

    Parameters
    ----------
    rows : ndarray of int64
    images : ndarray of int64, shape (B, 6)
        Address and bytes of the payload and of its seek points, height and width.
    codecs, crops, header, scratch
        As for crops; the scratch memory for pixels is not used.
    layouts, regions : ndarray of int64, shapes (B, 7) and (B, 4)
        See ``Patches``.
    num_bytes : ndarray of int64, shape (B,)
    statuses : ndarray of int32, shape (B,)
    """
    for row in rows:
        image = _image(images[row])
        status, size = np.int64(UNSUPPORTED), np.int64(0)
        if codecs[row] == _JPEG:
            status, size = _measure_jpeg(
                image, header, crops, row, scratch, layouts[row], regions[row]
            )
        elif codecs[row] == _YUV420:
            status, size = _measure_yuv420(image, crops, row, layouts[row], regions[row])
        statuses[row], num_bytes[row] = status, size


@kernel
def write_run(
    rows: NDArray[np.int64],
    images: NDArray[np.int64],
    codecs: NDArray[np.uint8],
    crops: Crops,
    header: NDArray[np.int64],
    scratch: Scratch,
    regions: NDArray[np.int64],
    targets: NDArray[np.int64],
    statuses: NDArray[np.int32],
) -> None:
    """Write the planes of ``rows``, which were measured, to their addresses."""
    for row in rows:
        image = _image(images[row])
        if codecs[row] == _JPEG:
            statuses[row] = _write_jpeg(image, header, crops, row, scratch, targets[row])
        else:
            left, top, width, height = regions[row]
            _write_yuv420(image, Region(left, top, width, height), targets[row])
