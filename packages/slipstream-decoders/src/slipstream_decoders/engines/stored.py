"""The engine of payloads that are pixels already: planar YUV420 and interleaved RGB."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._kernels.crops import work_bytes_for
from slipstream_decoders._kernels.stored import (
    PIXELS_TO_RGB,
    PIXELS_TO_YUV,
    PLANES_TO_RGB,
    crop_run,
    most_window_bytes,
)
from slipstream_decoders._kernels.stored import Scratch as ScratchMemory
from slipstream_decoders._kernels.yuv420 import interleave
from slipstream_decoders.batch import CODEC_RGB, EncodedBatch
from slipstream_decoders.engines.base import CropJob, Scratch
from slipstream_decoders.engines.idle import IdlePool
from slipstream_decoders.status import DecodeStatus
from slipstream_decoders.yuv420 import yuv420_size


class StoredPixelsEngine:
    """Takes the codecs ``rgb`` and ``yuv420``.

    ``fast`` resizes planes and converts colours at the output size. ``exact`` equals Pillow's crop
    and resize of the whole image's pixels, in which each chroma sample serves its 2 x 2 pixels.
    """

    name = "stored"

    def __init__(self) -> None:
        self._idle = IdlePool(Scratch)

    def crop(self, job: CropJob, rows: NDArray[np.int64]) -> None:
        """See ``Engine``."""
        scratch = self._idle.take()
        batch = job.batch
        mode = PLANES_TO_RGB if job.quality == "fast" else PIXELS_TO_RGB
        if job.colors == "yuv":
            mode = PIXELS_TO_YUV
        pixel_bytes = 0 if mode == PLANES_TO_RGB else int(most_window_bytes(job.crops, rows))
        pixels = scratch.get("pixels", pixel_bytes)
        work = scratch.get("work", int(work_bytes_for(job.crops, rows)))
        crop_run(
            rows,
            batch.addresses,
            batch.sizes,
            batch.heights,
            batch.widths,
            batch.codecs,
            mode,
            job.crops,
            ScratchMemory(pixels.ctypes.data, pixels.nbytes, work.ctypes.data, work.nbytes),
            job.statuses,
        )
        for row in rows[job.statuses[rows] == DecodeStatus.CORRUPT].tolist():
            job.reasons[row] = wrong_size(batch, row)
        scratch.shrink()
        self._idle.put(scratch)

    def whole(self, batch: EncodedBatch, row: int, out: NDArray[np.uint8]) -> tuple[int, str]:
        """See ``Engine``."""
        if int(batch.sizes[row]) != expected_bytes(batch, row):
            return DecodeStatus.CORRUPT, wrong_size(batch, row)
        height, width = out.shape[:2]
        if batch.codecs[row] == CODEC_RGB:
            out[:] = np.frombuffer(batch.payload(row), np.uint8).reshape(out.shape)
        else:
            payload, target = int(batch.addresses[row]), out.ctypes.data
            interleave(payload, height, width, 0, 0, width, height, True, target)
        return DecodeStatus.OK, ""


def expected_bytes(batch: EncodedBatch, row: int) -> int:
    """Bytes of a payload that holds pixels or planes, by the size of its image."""
    height, width = int(batch.heights[row]), int(batch.widths[row])
    return 3 * height * width if batch.codecs[row] == CODEC_RGB else yuv420_size(height, width)


def wrong_size(batch: EncodedBatch, row: int) -> str:
    """Why a payload that has not as many is refused."""
    return f"the payload has {int(batch.sizes[row])} bytes, expected {expected_bytes(batch, row)}"
