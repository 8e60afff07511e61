"""Calls of the TurboJPEG C API and the resize of what it decodes.

Constants are those of turbojpeg.h, which 2.x and 3.x share.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.c_call import call_c
from slipstream_decoders._kernels.resize_rgb import resize_rgb
from slipstream_decoders._kernels.simd.memory import read_i32

_OK: Final = 0
_CORRUPT: Final = 1
_SIZE_MISMATCH: Final = 3
_UNSUPPORTED: Final = 4
_WORKSPACE: Final = 6

_HEADER: Final = 0  # positions in the table of functions
_TO_RGB: Final = 1

_TJPF_RGB: Final = 0
_TJCS_CMYK: Final = 3


@kernel
def read_header(
    functions: NDArray[np.int64], handle: int, payload: int, size: int, header: int
) -> int:
    """Write width, height, subsampling, colour space (int32) at address ``header``; a status."""
    code = call_c(
        functions[_HEADER], (handle, payload, size, header, header + 4, header + 8, header + 12)
    )
    if code != 0:
        return _CORRUPT
    if read_i32(header + 12) >= _TJCS_CMYK:
        return _UNSUPPORTED
    return _OK


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
    if status != _OK:
        return status
    if read_i32(header) != width or read_i32(header + 4) != height:
        return _SIZE_MISMATCH
    code = call_c(
        functions[_TO_RGB], (handle, payload, size, out, width, 3 * width, height, _TJPF_RGB, 0)
    )
    return _OK if code == 0 else _CORRUPT


@kernel
def crop_rgb_run(
    functions: NDArray[np.int64],
    handle: int,
    rows: NDArray[np.int64],
    addresses: NDArray[np.int64],
    sizes: NDArray[np.int64],
    heights: NDArray[np.int32],
    widths: NDArray[np.int32],
    windows: NDArray[np.float64],
    bounds: NDArray[np.int32],
    out: int,
    out_height: int,
    out_width: int,
    scratch: tuple[int, int, int, int, int],
    statuses: NDArray[np.int32],
) -> None:
    """Decode, crop and resize the images of ``rows`` in turn, by way of RGB.

    ``out`` is the address of (B, out_height, out_width, 3) bytes. ``scratch``: address of 64
    bytes; address and bytes of pixels; address and bytes of a workspace.
    """
    header, pixels, pixel_bytes, work, work_bytes = scratch
    for row in rows:
        height = np.int64(heights[row])
        width = np.int64(widths[row])
        if 3 * height * width > pixel_bytes:
            statuses[row] = _WORKSPACE
            continue
        status = decode_rgb(
            functions, handle, addresses[row], sizes[row], height, width, header, pixels
        )
        if status == _OK:
            status = resize_rgb(
                pixels,
                3 * width,
                height,
                width,
                windows[row, 0],
                windows[row, 1],
                windows[row, 2],
                windows[row, 3],
                np.int64(bounds[row, 0]),
                np.int64(bounds[row, 1]),
                np.int64(bounds[row, 2]),
                np.int64(bounds[row, 3]),
                False,
                out + row * (3 * out_width * out_height),
                3 * out_width,
                out_height,
                out_width,
                work,
                work_bytes,
            )
        statuses[row] = status
