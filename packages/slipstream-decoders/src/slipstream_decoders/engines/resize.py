"""What engines share that decode whole images with other libraries: the resize of one image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._kernels.crops import Region, crops_from_pixels, work_bytes_for
from slipstream_decoders.engines.base import CropJob, Scratch


def resize_exact(pixels: NDArray[np.uint8], job: CropJob, row: int, scratch: Scratch) -> int:
    """Make all crops of one decoded image; its ``DecodeStatus``.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        RGB, C-contiguous.
    job : CropJob
    row : int
    scratch : Scratch
        Of the calling thread.
    """
    work = scratch.get("work", int(work_bytes_for(job.crops, np.array([row], np.int64))))
    source = np.ascontiguousarray(pixels)
    height, width = source.shape[:2]
    return int(
        crops_from_pixels(
            source.ctypes.data,
            source.strides[0],
            Region(0, 0, width, height),
            job.crops,
            row,
            work.ctypes.data,
            work.nbytes,
        )
    )
