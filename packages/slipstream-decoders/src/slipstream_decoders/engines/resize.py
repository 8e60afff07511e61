"""What engines share around the resize kernels: workspaces, and the resize of one decoded image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._kernels.resize_planar import planar_workspace_size
from slipstream_decoders._kernels.resize_rgb import resize_rgb, rgb_workspace_size
from slipstream_decoders.boxes import Boxes
from slipstream_decoders.engines.base import CropJob, Scratch


def workspace_bytes(boxes: Boxes, rows: NDArray[np.int64], height: int, width: int) -> int:
    """Bytes of workspace with which either kernel can resize the crops of ``rows``."""
    largest = boxes.bounds[rows, 2:].max(axis=0)
    bounds_width, bounds_height = largest.tolist()
    return max(
        int(rgb_workspace_size(bounds_height, bounds_width, height, width)),
        int(planar_workspace_size(bounds_height, bounds_width, height, width)),
    )


def resize_exact(pixels: NDArray[np.uint8], job: CropJob, row: int, scratch: Scratch) -> int:
    """Crop and resize one decoded image into ``job.out[row]``; its ``DecodeStatus``.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        RGB, C-contiguous.
    job : CropJob
    row : int
    scratch : Scratch
        Of the calling thread.
    """
    height, width = job.out.shape[1:3]
    one = np.array([row], np.int64)
    work = scratch.get("work", workspace_bytes(job.boxes, one, height, width))
    source = np.ascontiguousarray(pixels)
    window_x, window_y, window_width, window_height = job.boxes.window[row].tolist()
    x, y, bounds_width, bounds_height = job.boxes.bounds[row].tolist()
    return int(
        resize_rgb(
            source.ctypes.data,
            source.strides[0],
            source.shape[0],
            source.shape[1],
            window_x,
            window_y,
            window_width,
            window_height,
            x,
            y,
            bounds_width,
            bounds_height,
            False,
            job.out[row].ctypes.data,
            3 * width,
            height,
            width,
            work.ctypes.data,
            work.nbytes,
        )
    )
