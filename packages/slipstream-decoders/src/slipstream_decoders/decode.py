"""Decode a batch: every sample to its engine, every failure to its sample.

This is what the stages call; it is also the bare decoder that benchmarks compare a loader with.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders.batch import CODEC_JPEG, CODEC_RGB, EncodedBatch
from slipstream_decoders.boxes import Boxes
from slipstream_decoders.boxes.orientation import display, is_transposed, stored_boxes
from slipstream_decoders.context import BatchContext
from slipstream_decoders.engines.base import MAX_PIXELS, Colors, CropJob, Engine, Quality
from slipstream_decoders.engines.choose import EngineName, jpeg_engines, stored_engine
from slipstream_decoders.status import DecodeStatus, failed_rows, raise_for_status


def crop_images(
    batch: EncodedBatch,
    boxes: Boxes,
    size: tuple[int, int],
    context: BatchContext,
    *,
    quality: Quality = "fast",
    engine: EngineName = "auto",
    apply_orientation: bool = False,
    colors: Colors = "rgb",
) -> NDArray[np.uint8]:
    """Decode, crop and resize the images of a batch.

    Parameters
    ----------
    batch : EncodedBatch
    boxes : Boxes
        On the images as displayed: turned upright if ``apply_orientation``.
    size : (int, int)
        Height and width of the output, pixels.
    context : BatchContext
        Lends the output buffer and the threads, and names the samples.
    quality, engine
        See ``Quality`` and ``EngineName``.
    apply_orientation : bool
        Whether EXIF orientation is applied.
    colors : {"rgb", "yuv"}
        ``yuv`` takes a batch of planes, see ``as_yuv420``.

    Returns
    -------
    ndarray of uint8, shape (B, height, width, 3)
        In ``colors``; a buffer of the context's pool that belongs to the caller.

    Raises
    ------
    CorruptImageError, UnsupportedImageError
        With the ids of all samples that failed, unless the context notes failures.
    """
    engines = jpeg_engines(engine)
    if apply_orientation:
        boxes = stored_boxes(boxes, batch.heights, batch.widths, batch.orientations)
    out = context.buffers.lend((len(batch), *size, 3), np.uint8)
    job = CropJob(batch, boxes, out, quality, _screened(batch, boxes), colors=colors)
    is_turned = (batch.orientations > 1) & apply_orientation
    upright = np.flatnonzero((job.statuses == 0) & ~is_turned)
    turned = np.flatnonzero((job.statuses == 0) & is_turned)

    def crop_upright(begin: int, end: int) -> None:
        _crop_rows(job, engines, upright[begin:end])

    def crop_turned(begin: int, end: int) -> None:
        for row in turned[begin:end].tolist():
            _crop_turned(job, engines, row)

    context.threads.run(crop_upright, upright.size)
    context.threads.run(crop_turned, turned.size)
    for row in _settled(job.statuses, context, job.reasons):
        out[row] = 0
    return out


def decode_images(
    batch: EncodedBatch,
    context: BatchContext,
    *,
    engine: EngineName = "auto",
    apply_orientation: bool = False,
) -> list[NDArray[np.uint8]]:
    """Decode the images of a batch whole.

    Returns
    -------
    list of ndarray of uint8, shape (height, width, 3)
        RGB, one array a sample, new memory; equal to Pillow's pixels.

    Raises
    ------
    CorruptImageError, UnsupportedImageError
        With the ids of all samples that failed.
    """
    engines = jpeg_engines(engine)
    images: list[NDArray[np.uint8]] = [np.empty((0, 0, 3), np.uint8)] * len(batch)
    statuses = _screened(batch, None)
    reasons: dict[int, str] = {}

    def decode(begin: int, end: int) -> None:
        for row in range(begin, end):
            if statuses[row] == DecodeStatus.OK:
                pixels = np.empty((int(batch.heights[row]), int(batch.widths[row]), 3), np.uint8)
                for one in _engines_of(int(batch.codecs[row]), engines):
                    statuses[row], reasons[row] = one.whole(batch, row, pixels)
                    if statuses[row] == DecodeStatus.OK:
                        break
                orientation = int(batch.orientations[row]) if apply_orientation else 0
                images[row] = np.ascontiguousarray(display(pixels, orientation))

    context.threads.run(decode, len(batch))
    for row in _settled(statuses, context, reasons):
        is_sized = statuses[row] not in (DecodeStatus.UNREADABLE, DecodeStatus.UNSUPPORTED)
        height, width = int(batch.heights[row]), int(batch.widths[row])
        images[row] = np.zeros((height, width, 3) if is_sized else (1, 1, 3), np.uint8)
    return images


def _settled(
    statuses: NDArray[np.int32], context: BatchContext, reasons: dict[int, str]
) -> list[int]:
    """Raise for failed rows, or note and return them, as the context wants it."""
    if context.failures is None:
        raise_for_status(statuses, context.sample_ids, reasons)
        return []
    failed = failed_rows(statuses, reasons)
    for row, reason in failed.items():
        context.failures.setdefault(row, reason)
    return list(failed)


def _screened(batch: EncodedBatch, boxes: Boxes | None) -> NDArray[np.int32]:
    """Statuses before decoding: what no engine should see is marked already, shape (B,)."""
    heights, widths = batch.heights.astype(np.int64), batch.widths.astype(np.int64)
    statuses = np.zeros(len(batch), np.int32)
    statuses[heights * widths > MAX_PIXELS] = DecodeStatus.UNSUPPORTED
    if boxes is not None:
        x, y, w, h = boxes.bounds.astype(np.int64).T
        inside = (x >= 0) & (y >= 0) & (w > 0) & (h > 0) & (x + w <= widths) & (y + h <= heights)
        statuses[~inside] = DecodeStatus.BAD_BOX
    readable = (heights > 0) & (widths > 0) & (batch.codecs <= CODEC_RGB)
    statuses[~readable] = DecodeStatus.UNREADABLE
    return statuses


def _engines_of(codec: int, engines: Sequence[Engine]) -> Sequence[Engine]:
    return engines if codec == CODEC_JPEG else [stored_engine()]


def _crop_rows(job: CropJob, engines: Sequence[Engine], rows: NDArray[np.int64]) -> None:
    """Offer the rows to their engines; the next engine gets what the one before refused."""
    is_jpeg = job.batch.codecs[rows] == CODEC_JPEG
    if not is_jpeg.all():
        stored_engine().crop(job, rows[~is_jpeg])
    remaining = rows[is_jpeg]
    for engine in engines:
        if remaining.size:
            engine.crop(job, remaining)
            remaining = remaining[job.statuses[remaining] != DecodeStatus.OK]


def _crop_turned(job: CropJob, engines: Sequence[Engine], row: int) -> None:
    """One image whose EXIF orientation is applied: cropped as stored, then turned."""
    orientation = int(job.batch.orientations[row])
    height, width = job.out.shape[1:3]
    shape = (width, height) if is_transposed(orientation) else (height, width)
    one = slice(row, row + 1)
    part = CropJob(
        batch=job.batch.take(one),
        boxes=Boxes(job.boxes.window[one], job.boxes.bounds[one]),
        out=np.empty((1, *shape, 3), np.uint8),
        quality=job.quality,
        statuses=np.zeros(1, np.int32),
        colors=job.colors,
    )
    _crop_rows(part, engines, np.zeros(1, np.int64))
    job.out[row] = display(part.out[0], orientation)
    job.statuses[row] = part.statuses[0]
    if 0 in part.reasons:
        job.reasons[row] = part.reasons[0]
