"""Decode a batch: every sample to its engine, every failure to its sample.

This is what the stages call; it is also the bare decoder that benchmarks compare a loader with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders.batch import CODEC_JPEG, CODEC_RGB, EncodedBatch
from slipstream_decoders.boxes import Boxes
from slipstream_decoders.boxes.orientation import display, is_transposed, stored_boxes
from slipstream_decoders.context import BatchContext
from slipstream_decoders.engines.base import MAX_PIXELS, Colors, CropJob, Engine, Quality
from slipstream_decoders.engines.choose import EngineName, jpeg_engines, stored_engine
from slipstream_decoders.status import DecodeStatus, failed_rows, raise_for_status
from slipstream_decoders.views import Images, View, addresses_of, crops_of


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
    (out,) = crop_views(
        batch,
        [View(boxes, size)],
        context,
        quality=quality,
        engine=engine,
        apply_orientation=apply_orientation,
        colors=colors,
    )
    return cast("NDArray[np.uint8]", out)


def crop_views(
    batch: EncodedBatch,
    views: Sequence[View],
    context: BatchContext,
    *,
    quality: Quality = "fast",
    engine: EngineName = "auto",
    apply_orientation: bool = False,
    colors: Colors = "rgb",
) -> list[Images]:
    """Decode each image of a batch once and make one or more crops of it.

    Only what the crops touch is decoded, where the engine can.

    Parameters
    ----------
    batch, context, quality, engine, apply_orientation, colors
        See ``crop_images``.
    views : sequence of View
        At least one.

    Returns
    -------
    list of Images
        One a view: an array (B, height, width, 3), or a list of arrays (height, width, 3) if the
        view gives each image its own size. Buffers of the context's pool that belong to the caller.
        A pixel is the same to the bit as from a call for its view alone.

    Raises
    ------
    CorruptImageError, UnsupportedImageError
        With the ids of all samples that failed, unless the context notes failures: then a failed
        sample is zeros in all views, before what ``View.form`` adds.
    """
    engines = jpeg_engines(engine)
    turned = {}
    if apply_orientation:
        views = [replace(view, boxes=_on_stored(view.boxes, batch)) for view in views]
        turned = _turned_rows(batch, views)
    images = [view.lend(context.buffers) for view in views]
    crops = crops_of(views, np.stack([addresses_of(view) for view in images]))
    for row, temporary in turned.items():
        crops.flips[:, row] = False
        crops.outputs[:, row] = [image.ctypes.data for image in temporary]
        crops.sizes[:, row] = [image.shape[:2] for image in temporary]
    job = CropJob(batch, crops, quality, screened(batch, crops.bounds), colors=colors)
    rows = np.flatnonzero(job.statuses == DecodeStatus.OK)

    def crop(begin: int, end: int) -> None:
        _crop_rows(job, engines, rows[begin:end])
        for row in turned.keys() & set(rows[begin:end].tolist()):
            orientation = int(batch.orientations[row])
            for view, image, temporary in zip(views, images, turned[row], strict=True):
                upright = display(temporary, orientation)
                image[row][:] = upright[:, ::-1] if view.mirrored[row] else upright

    context.threads.run(crop, rows.size)
    for row in _settled(job.statuses, context, job.reasons):
        for view, image in zip(views, images, strict=True):
            image[row][:] = view.form.bias
    return images


def _on_stored(boxes: Boxes, batch: EncodedBatch) -> Boxes:
    return stored_boxes(boxes, batch.heights, batch.widths, batch.orientations)


def _turned_rows(batch: EncodedBatch, views: Sequence[View]) -> dict[int, list[NDArray[Any]]]:
    """Rows that are cropped as stored and turned upright after: memory for each of their views."""
    turned = {}
    for row in np.flatnonzero(batch.orientations > 1).tolist():
        step = -1 if is_transposed(int(batch.orientations[row])) else 1
        turned[row] = [
            np.empty((*view.sizes[row].tolist()[::step], 3), view.form.dtype) for view in views
        ]
    return turned


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
    statuses = screened(batch, None)
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
        zeros = np.zeros((height, width, 3) if is_sized else (1, 1, 3), np.uint8)
        orientation = int(batch.orientations[row]) if apply_orientation else 0
        images[row] = np.ascontiguousarray(display(zeros, orientation))
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


def screened(batch: EncodedBatch, bounds: NDArray[np.int32] | None) -> NDArray[np.int32]:
    """Statuses before decoding: what no engine should see is marked already, shape (B,).

    ``bounds``: shape (V, B, 4).
    """
    heights, widths = batch.heights.astype(np.int64), batch.widths.astype(np.int64)
    statuses = np.zeros(len(batch), np.int32)
    statuses[heights * widths > MAX_PIXELS] = DecodeStatus.UNSUPPORTED
    if bounds is not None:
        x, y, w, h = np.moveaxis(bounds.astype(np.int64), -1, 0)
        inside = (x >= 0) & (y >= 0) & (w > 0) & (h > 0) & (x + w <= widths) & (y + h <= heights)
        statuses[~inside.all(axis=0)] = DecodeStatus.BAD_BOX
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
