"""The Pillow engine: decodes with Pillow, resizes with our kernel."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile

from slipstream_decoders.batch import EncodedBatch
from slipstream_decoders.engines.base import CropJob, Scratch
from slipstream_decoders.engines.idle import IdlePool
from slipstream_decoders.engines.resize import resize_exact
from slipstream_decoders.status import DecodeStatus


class PillowEngine:
    """Always there. Its verdict on a payload is final: damaged is what Pillow calls damaged."""

    name = "pillow"

    def __init__(self) -> None:
        self._idle = IdlePool(Scratch)

    def crop(self, job: CropJob, rows: NDArray[np.int64]) -> None:
        """See ``Engine``. Both qualities are exact here."""
        scratch = self._idle.take()
        for row in rows.tolist():
            status, reason, pixels = _decode(job.batch, row)
            if pixels is not None:
                status = resize_exact(pixels, job, row, scratch)
            job.statuses[row] = status
            if status:
                job.reasons[row] = reason
        scratch.shrink()
        self._idle.put(scratch)

    def whole(self, batch: EncodedBatch, row: int, out: NDArray[np.uint8]) -> tuple[int, str]:
        """See ``Engine``."""
        status, reason, pixels = _decode(batch, row)
        if pixels is not None:
            out[:] = pixels
        return status, reason


def _decode(batch: EncodedBatch, row: int) -> tuple[int, str, NDArray[np.uint8] | None]:
    """(status, reason, RGB pixels or None)."""
    # Not Image.open: it would warn about, or refuse, large images that the cache has admitted.
    try:
        with JpegImageFile(io.BytesIO(batch.payload(row))) as image:
            expected = (int(batch.widths[row]), int(batch.heights[row]))
            if image.size != expected:
                reason = f"header says {image.size} (width, height), the cache {expected}"
                return DecodeStatus.SIZE_MISMATCH, reason, None
            return DecodeStatus.OK, "", np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, IndexError) as error:
        return DecodeStatus.CORRUPT, str(error), None
