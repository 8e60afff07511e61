"""Calls of the TurboJPEG C API and the resize of what it decodes.

Constants are those of turbojpeg.h, which 2.x and 3.x share.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.c_call import call_c, call_c_for_address
from slipstream_decoders._kernels.crops import (
    Crops,
    DecodedPlanes,
    Region,
    are_crops_inside,
    crops_from_pixels,
    crops_from_planes,
)
from slipstream_decoders._kernels.simd.memory import read_i32, write_i64
from slipstream_decoders._kernels.status import (
    BAD_BOX,
    CORRUPT,
    OK,
    SIZE_MISMATCH,
    UNSUPPORTED,
    WORKSPACE,
)
from slipstream_decoders._kernels.yuv420 import pack_planes

_HEADER: Final = 0  # positions in the table of functions
_TO_RGB: Final = 1

_TO_PLANES: Final = 2
_NEW_HANDLE: Final = 3
_FREE_HANDLE: Final = 4

_TJPF_RGB: Final = 0
_TJCS_YCBCR: Final = 1
_TJCS_GRAY: Final = 2
_TJCS_CMYK: Final = 3


class Image(NamedTuple):
    """One encoded image."""

    payload: int
    size: int
    height: int
    width: int


class Scratch(NamedTuple):
    """Addresses and sizes of one thread's scratch memory, in bytes."""

    header: int
    """64 bytes."""
    pixels: int
    pixel_bytes: int
    work: int
    work_bytes: int


@kernel
def read_header(
    functions: NDArray[np.int64], handle: int, payload: int, size: int, header: int
) -> int:
    """Write width, height, subsampling, colour space (int32) at address ``header``; a status."""
    code = call_c(
        functions[_HEADER], (handle, payload, size, header, header + 4, header + 8, header + 12)
    )
    if code != 0:
        return CORRUPT
    if read_i32(header + 12) >= _TJCS_CMYK:
        return UNSUPPORTED
    return OK


@kernel
def decode_rgb(
    functions: NDArray[np.int64],
    handle: int,
    payload: int,
    size: int,
    height: int,
    width: int,
    header: int,
    out: int,
) -> int:
    """Decode a whole image of the recorded size to RGB at address ``out``; a status.

    Flags are 0: the accurate IDCT and smooth chroma upsampling, as in Pillow. ``header`` is the
    address of 16 bytes of scratch.
    """
    status = read_header(functions, handle, payload, size, header)
    if status != OK:
        return status
    if read_i32(header) != width or read_i32(header + 4) != height:
        return SIZE_MISMATCH
    code = call_c(
        functions[_TO_RGB], (handle, payload, size, out, width, 3 * width, height, _TJPF_RGB, 0)
    )
    return OK if code == 0 else CORRUPT


@kernel
def crop_by_rgb(
    functions: NDArray[np.int64],
    handle: int,
    image: Image,
    crops: Crops,
    row: int,
    scratch: Scratch,
) -> int:
    """Decode to RGB, crop and resize: Pillow's pixels; a status."""
    if 3 * image.height * image.width > scratch.pixel_bytes:
        return WORKSPACE
    status = decode_rgb(
        functions,
        handle,
        image.payload,
        image.size,
        image.height,
        image.width,
        scratch.header,
        scratch.pixels,
    )
    if status != OK:
        return status
    return crops_from_pixels(
        scratch.pixels,
        3 * image.width,
        Region(np.int64(0), np.int64(0), image.width, image.height),
        crops,
        row,
        scratch.work,
        scratch.work_bytes,
    )


@kernel
def chroma_ratio(subsampling: int) -> tuple[int, int]:
    """Luma pixels for one chroma pixel, (down, across): (0, 0) for gray, (-1, -1) if unknown."""
    if subsampling == 0:
        return 1, 1
    if subsampling == 1:
        return 1, 2
    if subsampling == 2:
        return 2, 2
    if subsampling == 3:
        return 0, 0
    if subsampling == 4:
        return 2, 1
    if subsampling == 5:
        return 1, 4
    if subsampling == 6:
        return 4, 1
    return -1, -1


class Decoded(NamedTuple):
    """Planes of a whole image, and the status of their decoding."""

    status: int
    luma: int
    blue: int
    red: int
    luma_pitch: int
    chroma_pitch: int
    ratio_y: int
    ratio_x: int


@kernel
def _undecoded(status: int) -> Decoded:
    none = np.int64(0)
    return Decoded(np.int64(status), none, none, none, none, none, none, none)


@kernel
def decode_planes(
    functions: NDArray[np.int64],
    handle: int,
    payload: int,
    size: int,
    height: int,
    width: int,
    scratch: Scratch,
) -> Decoded:
    """Decode a whole image of the recorded size to planes in ``scratch.pixels``.

    JPEGs that are not YCbCr or gray, or sampled in an unusual way, are ``UNSUPPORTED``.
    """
    status = read_header(functions, handle, payload, size, scratch.header)
    if status != OK:
        return _undecoded(status)
    if read_i32(scratch.header) != width or read_i32(scratch.header + 4) != height:
        return _undecoded(SIZE_MISMATCH)
    ratio_y, ratio_x = chroma_ratio(read_i32(scratch.header + 8))
    color_space = read_i32(scratch.header + 12)
    if ratio_x < 0 or color_space not in (_TJCS_YCBCR, _TJCS_GRAY):
        return _undecoded(UNSUPPORTED)
    # turbojpeg pads the luma plane to whole chroma samples
    across, down = max(ratio_x, 1), max(ratio_y, 1)
    chroma_width = (width + across - 1) // across
    chroma_height = (height + down - 1) // down
    luma_pitch = chroma_width * across
    luma_bytes = luma_pitch * chroma_height * down
    chroma_bytes = chroma_width * chroma_height
    if luma_bytes + 2 * chroma_bytes > scratch.pixel_bytes:
        return _undecoded(WORKSPACE)
    blue = scratch.pixels + luma_bytes
    red = blue + chroma_bytes
    planes = scratch.header + 16
    write_i64(planes, scratch.pixels)
    write_i64(planes + 8, blue)
    write_i64(planes + 16, red)
    code = call_c(functions[_TO_PLANES], (handle, payload, size, planes, width, 0, height, 0))
    if code != 0:
        return _undecoded(CORRUPT)
    return Decoded(
        np.int64(OK),
        scratch.pixels,
        blue,
        red,
        luma_pitch,
        chroma_width,
        np.int64(ratio_y),
        np.int64(ratio_x),
    )


@kernel
def crop_by_planes(
    functions: NDArray[np.int64],
    handle: int,
    image: Image,
    crops: Crops,
    row: int,
    scratch: Scratch,
) -> int:
    """Decode to planes, crop and resize them, convert colours at the output size; a status.

    What does not come as planes goes by RGB.
    """
    decoded = decode_planes(
        functions, handle, image.payload, image.size, image.height, image.width, scratch
    )
    if decoded.status == UNSUPPORTED:
        return crop_by_rgb(functions, handle, image, crops, row, scratch)
    if decoded.status != OK:
        return decoded.status
    return crops_from_planes(
        DecodedPlanes(
            decoded.luma,
            decoded.luma_pitch,
            decoded.blue,
            decoded.red,
            decoded.chroma_pitch,
            decoded.ratio_y,
            decoded.ratio_x,
        ),
        Region(np.int64(0), np.int64(0), image.width, image.height),
        crops,
        row,
        scratch.work,
        scratch.work_bytes,
    )


@kernel
def crop_run(
    functions: NDArray[np.int64],
    rows: NDArray[np.int64],
    addresses: NDArray[np.int64],
    sizes: NDArray[np.int64],
    heights: NDArray[np.int32],
    widths: NDArray[np.int32],
    by_planes: bool,
    crops: Crops,
    scratch: Scratch,
    statuses: NDArray[np.int32],
) -> tuple[int, int]:
    """Decode the images of ``rows`` in turn, up to the first that is damaged; make their crops.

    The result is how many rows have a status now, and the handle of the damaged image, which can
    tell what is wrong; 0 if there is none.
    """
    for done, row in enumerate(rows):
        handle = call_c_for_address(functions[_NEW_HANDLE], ())
        if handle == 0:
            statuses[row] = WORKSPACE
            continue
        image = Image(addresses[row], sizes[row], np.int64(heights[row]), np.int64(widths[row]))
        if not are_crops_inside(crops, row, image.height, image.width):
            statuses[row] = BAD_BOX
        elif by_planes:
            statuses[row] = crop_by_planes(functions, handle, image, crops, row, scratch)
        else:
            statuses[row] = crop_by_rgb(functions, handle, image, crops, row, scratch)
        if statuses[row] == CORRUPT:
            return done + 1, handle
        call_c(functions[_FREE_HANDLE], (handle,))
    return rows.size, np.int64(0)


@kernel
def write_yuv420(
    functions: NDArray[np.int64],
    handle: int,
    payload: int,
    size: int,
    height: int,
    width: int,
    scratch: Scratch,
    target: int,
) -> int:
    """Decode a whole image to a planar YUV420 payload at address ``target``; a status."""
    planes = decode_planes(functions, handle, payload, size, height, width, scratch)
    if planes.status == OK:
        pack_planes(
            planes.luma,
            planes.luma_pitch,
            planes.blue,
            planes.red,
            planes.chroma_pitch,
            planes.ratio_y,
            planes.ratio_x,
            height,
            width,
            target,
        )
    return planes.status
