"""Whole JPEGs -> planar YUV420 payloads, by way of their own planes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.jpeg.crop import layout_planes
from slipstream_decoders._kernels.jpeg.parse import (
    HEIGHT,
    MCU_ROWS,
    MCUS_ACROSS,
    RATIO_X,
    RATIO_Y,
    WIDTH,
    parse_header,
)
from slipstream_decoders._kernels.jpeg.planes import Memory, Window, decode_planes
from slipstream_decoders._kernels.status import OK, SIZE_MISMATCH, WORKSPACE
from slipstream_decoders._kernels.yuv420 import pack_planes


@kernel
def write_yuv420(
    payload: int,
    size: int,
    height: int,
    width: int,
    header: NDArray[np.int64],
    pixels: int,
    pixel_bytes: int,
    memory: Memory,
    target: int,
) -> int:
    """Decode a whole image of the recorded size and write its payload; a status."""
    status = parse_header(payload, size, header)
    if status != OK:
        return status
    if header[HEIGHT] != height or header[WIDTH] != width:
        return SIZE_MISMATCH
    window = Window(np.int64(0), np.int64(0), header[MCUS_ACROSS], header[MCU_ROWS])
    planes, plane_bytes = layout_planes(header, window, pixels)
    if plane_bytes > pixel_bytes:
        return WORKSPACE
    none = np.int64(0)
    status = decode_planes(payload, size, header, window, planes, none, none, memory)
    if status == OK:
        pack_planes(
            planes.luma,
            planes.luma_pitch,
            planes.blue,
            planes.red,
            planes.chroma_pitch,
            header[RATIO_Y],
            header[RATIO_X],
            height,
            width,
            target,
        )
    return status


@kernel
def write_run(
    rows: NDArray[np.int64],
    addresses: NDArray[np.int64],
    sizes: NDArray[np.int64],
    heights: NDArray[np.int32],
    widths: NDArray[np.int32],
    targets: NDArray[np.int64],
    header: NDArray[np.int64],
    pixels: int,
    pixel_bytes: int,
    memory: Memory,
    statuses: NDArray[np.int32],
) -> None:
    """Decode the images of ``rows`` in turn.

    Parameters
    ----------
    rows, addresses, sizes, heights, widths
        Of a batch.
    targets : ndarray of int64, shape (rows,)
        Addresses of ``payload_bytes`` of each image.
    header : ndarray of int64, shape (HEADER_WORDS,)
        Scratch.
    pixels, pixel_bytes : int
        Address and bytes of memory for planes: ``plane_bytes_for`` the largest image.
    memory : Memory
        For the largest payload.
    statuses : ndarray of int32
        Of the batch; written for ``rows``.
    """
    for at, row in enumerate(rows):
        statuses[row] = write_yuv420(
            addresses[row],
            sizes[row],
            np.int64(heights[row]),
            np.int64(widths[row]),
            header,
            pixels,
            pixel_bytes,
            memory,
            targets[at],
        )
