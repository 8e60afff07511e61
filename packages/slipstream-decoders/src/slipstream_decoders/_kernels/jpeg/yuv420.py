"""A whole JPEG -> a planar YUV420 payload, by way of its own planes."""

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
)
from slipstream_decoders._kernels.jpeg.planes import Memory, Window, decode_planes
from slipstream_decoders._kernels.jpeg.workspace import OK, WORKSPACE
from slipstream_decoders._kernels.yuv420 import pack_planes


@kernel
def write_yuv420(
    payload: int,
    size: int,
    header: NDArray[np.int64],
    pixels: int,
    pixel_bytes: int,
    memory: Memory,
    target: int,
) -> int:
    """Decode a whole image and write its payload.

    Parameters
    ----------
    payload, size, header, memory
        As in ``decode_planes``.
    pixels, pixel_bytes : int
        Address and bytes of memory for planes: ``plane_bytes_for`` the image.
    target : int
        Address of ``payload_bytes`` of the header's size.

    Returns
    -------
    int
        As ``decode_planes``; without ``OK`` nothing is written.
    """
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
            header[HEIGHT],
            header[WIDTH],
            target,
        )
    return status
