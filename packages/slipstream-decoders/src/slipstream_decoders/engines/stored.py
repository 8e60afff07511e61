"""The engine of payloads that are pixels already: planar YUV420 and interleaved RGB."""

from __future__ import annotations

import queue

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders.batch import CODEC_RGB, EncodedBatch
from slipstream_decoders.engines.base import CropJob, Scratch
from slipstream_decoders.engines.resize import resize_exact
from slipstream_decoders.status import DecodeStatus


class StoredPixelsEngine:
    """Takes the codecs ``rgb`` and ``yuv420``."""

    name = "stored"

    def __init__(self) -> None:
        self._scratches: queue.SimpleQueue[Scratch] = queue.SimpleQueue()

    def crop(self, job: CropJob, rows: NDArray[np.int64]) -> None:
        """See ``Engine``."""
        try:
            scratch = self._scratches.get_nowait()
        except queue.Empty:
            scratch = Scratch()
        for row in rows.tolist():
            pixels = _pixels(job.batch, row)
            job.statuses[row] = (
                DecodeStatus.CORRUPT if pixels is None else resize_exact(pixels, job, row, scratch)
            )
            if pixels is None:
                job.reasons[row] = _wrong_size(job.batch, row)
        scratch.shrink()
        self._scratches.put(scratch)

    def whole(self, batch: EncodedBatch, row: int, out: NDArray[np.uint8]) -> tuple[int, str]:
        """See ``Engine``."""
        pixels = _pixels(batch, row)
        if pixels is None:
            return DecodeStatus.CORRUPT, _wrong_size(batch, row)
        out[:] = pixels
        return DecodeStatus.OK, ""


def _expected_bytes(batch: EncodedBatch, row: int) -> int:
    height, width = int(batch.heights[row]), int(batch.widths[row])
    if batch.codecs[row] == CODEC_RGB:
        return 3 * height * width
    return height * width + 2 * ((height + 1) // 2) * ((width + 1) // 2)


def _wrong_size(batch: EncodedBatch, row: int) -> str:
    return f"the payload has {int(batch.sizes[row])} bytes, expected {_expected_bytes(batch, row)}"


def _pixels(batch: EncodedBatch, row: int) -> NDArray[np.uint8] | None:
    """RGB pixels (height, width, 3): a view or new memory; None if the payload's size is wrong."""
    height, width = int(batch.heights[row]), int(batch.widths[row])
    if int(batch.sizes[row]) != _expected_bytes(batch, row):
        return None
    payload = np.frombuffer(batch.payload(row), np.uint8)
    if batch.codecs[row] == CODEC_RGB:
        return payload.reshape(height, width, 3)
    return yuv420_to_rgb(payload, height, width)


def yuv420_to_rgb(payload: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Planar YUV420 to RGB: BT.601 full range (JFIF), chroma repeated.

    Parameters
    ----------
    payload : ndarray of uint8
        Y (height x width), then U and V (ceil(height / 2) x ceil(width / 2)).
    height, width : int

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
    """
    chroma_height, chroma_width = (height + 1) // 2, (width + 1) // 2
    luma = payload[: height * width].reshape(height, width).astype(np.float32)
    chroma = payload[height * width :].reshape(2, chroma_height, chroma_width)
    full = chroma.repeat(2, axis=1).repeat(2, axis=2)[:, :height, :width].astype(np.float32) - 128
    u, v = full
    rgb = np.stack(
        [luma + 1.402 * v, luma - 0.344136 * u - 0.714136 * v, luma + 1.772 * u], axis=-1
    )
    out: NDArray[np.uint8] = np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
    return out
