"""Decode a batch and make its crops on a device; what an engine refuses goes to the CPU.

Two engines leave the resize to the device: ``planes`` decodes on the CPU and sends planes,
``nvimgcodec`` decodes there. With any other, images are cropped on the CPU and sent as bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_decoders.batch import EncodedBatch
from slipstream_decoders.context import BatchContext
from slipstream_decoders.decode import crop_views, screened
from slipstream_decoders.engines.base import Quality
from slipstream_decoders.engines.choose import CropEngineName, EngineName
from slipstream_decoders.pixel_form import UINT8
from slipstream_decoders.stages.device.nvimgcodec import nvimgcodec_of
from slipstream_decoders.stages.device.patches import Patches
from slipstream_decoders.stages.device.planes import planes_on_device
from slipstream_decoders.stages.device.resample import formed, new_images, resample
from slipstream_decoders.status import DecodeStatus
from slipstream_decoders.views import View


@dataclass(frozen=True)
class DeviceJob:
    """A batch that is to be cropped on a device."""

    batch: EncodedBatch
    views: Sequence[View]
    """At least one, each of one size; boxes on the images as displayed."""
    device: torch.device
    context: BatchContext
    quality: Quality = "fast"
    """For what is left to the CPU."""
    apply_orientation: bool = False


def crop_by(engine: CropEngineName, job: DeviceJob) -> list[torch.Tensor]:
    """Decode, crop and resize by one engine.

    Parameters
    ----------
    engine : CropEngineName
        Its refusals, damaged images and those that have to be turned go to the CPU's engines, one
        by one.
    job : DeviceJob

    Returns
    -------
    list of Tensor, shape (B, 3, height, width), channels_last
        One a view, in its form, on the device; made on the current CUDA stream.

    Raises
    ------
    CorruptImageError, UnsupportedImageError
        With the ids of all samples that failed, unless the context notes failures: then a failed
        sample is zeros in all views.
    BackendUnavailableError
        If the engine is not installed.
    """
    if engine != "planes" and engine != "nvimgcodec":
        images = _sent("auto" if engine == "cpu" else engine, job)
        return [image.permute(0, 3, 1, 2) for image in images]
    rows = _plain_rows(job)
    patches = _patches(engine, job, rows)
    images = [new_images(len(job.batch), view, job.device) for view in job.views]
    for view, image in zip(job.views, images, strict=True):
        resample(patches, view, image, job.context.buffers)
    rest = np.setdiff1d(np.arange(len(job.batch)), patches.rows)
    if rest.size:
        _crop_rest(job, rest, images)
    return [image.permute(0, 3, 1, 2) for image in images]


def _patches(engine: CropEngineName, job: DeviceJob, rows: NDArray[np.int64]) -> Patches:
    views = list(job.views)
    if engine == "planes":
        return planes_on_device(job.batch, views, rows, job.device, job.context)
    codec = nvimgcodec_of(job.device, job.context.num_threads)
    return codec.patches(job.batch, views, rows)


def _plain_rows(job: DeviceJob) -> NDArray[np.int64]:
    """Rows that are sound at first sight and upright."""
    bounds = np.stack([view.boxes.bounds for view in job.views])
    if not job.apply_orientation:
        return np.flatnonzero(screened(job.batch, bounds) == DecodeStatus.OK)
    is_upright = job.batch.orientations <= 1
    statuses = screened(job.batch, bounds)  # boxes of turned images may seem to be outside
    return np.flatnonzero(is_upright & (statuses == DecodeStatus.OK))


def _crop_rest(job: DeviceJob, rows: NDArray[np.int64], images: Sequence[torch.Tensor]) -> None:
    """Crop some rows on the CPU, and put them into the images of all views."""
    context = job.context
    failures: dict[int, str] | None = None if context.failures is None else {}
    cropped = crop_views(
        job.batch.take(rows),
        [view.take(rows) for view in job.views],
        replace(context.take(rows), failures=failures),
        quality=job.quality,
        apply_orientation=job.apply_orientation,
    )
    places = torch.from_numpy(rows).to(job.device)
    for image, found in zip(images, cropped, strict=True):
        image[places] = torch.from_numpy(cast("NDArray[np.generic]", found)).to(job.device)
    if context.failures is not None and failures:
        context.failures.update({int(rows[place]): why for place, why in failures.items()})


def _sent(engine: EngineName, job: DeviceJob) -> list[torch.Tensor]:
    """Images that are cropped on the CPU and sent as bytes: (B, height, width, 3)."""
    cropped = crop_views(
        job.batch,
        [replace(view, form=UINT8) for view in job.views],
        job.context,
        quality=job.quality,
        engine=engine,
        apply_orientation=job.apply_orientation,
    )
    images = []
    for view, pixels in zip(job.views, cropped, strict=True):
        sent = torch.from_numpy(cast("NDArray[np.uint8]", pixels))
        sent = sent.to(job.device, non_blocking=True)
        images.append(sent if view.form.dtype == np.uint8 else formed(sent, view.form))
    return images
