"""Make one batch: read its fields from the cache and run each field's pipeline.

This is everything that happens to a batch before the consumer gets it. It runs on the loader's own
threads, without gradients, and keeps no state between batches but the pool of buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_cache import Blobs, Payloads, SampleReader, gather, prefetch, tells_residency, unmap
from slipstream_decoders import (
    BatchContext,
    DecodeError,
    StageLike,
    apply_stage,
    fused_stages,
)
from slipstream_loader.errors import LoaderError, StageError
from slipstream_loader.seek_points import EncodedImages
from slipstream_loader.telemetry import Telemetry
from slipstream_loader.yuv420 import PlanarImages

Batch = dict[str, Any]
"""Field name -> tensor (images: (B, C, H, W)), list, or what the field's pipeline made;
``_indices`` -> int64 tensor of sample ids, shape (B,)."""

INDICES = "_indices"


class BatchMaker:
    """Turns sample ids into batches.

    Parameters
    ----------
    cache : SampleReader
    fields : sequence of str
        The fields to read, in order.
    pipelines : mapping
        Field -> stages; fields without one are given as they are stored.
    after_batch : sequence of callables
        Batch -> batch, applied last.
    telemetry : Telemetry
    planes : PlanarImages, optional
        Take the images of its field from there.
    """

    def __init__(
        self,
        cache: SampleReader,
        fields: Sequence[str],
        pipelines: Mapping[str, StageLike | Sequence[StageLike]],
        after_batch: Sequence[Callable[[Batch], Batch]],
        telemetry: Telemetry,
        planes: PlanarImages | None = None,
    ) -> None:
        self._cache = cache
        self._planes = planes
        self._fields = list(fields)
        self._pipelines = {name: fused_stages(stages) for name, stages in pipelines.items()}
        self._after_batch = list(after_batch)
        self._images: dict[str, EncodedImages | PlanarImages] = {
            name: EncodedImages(cache, name) for name in cache.image_fields if name in pipelines
        }
        if planes is not None and planes.field in pipelines:
            self._images[planes.field] = planes
        self._telemetry = telemetry

    @property
    def decoded_fields(self) -> list[str]:
        """The image fields that a pipeline decodes."""
        return [name for name in self._cache.image_fields if name in self._pipelines]

    def prefetch(self, sample_ids: NDArray[np.int64]) -> int:
        """Ask the system to read the images of a coming batch, and their seek points.

        Returns how many of them were not in memory, or all where the system does not tell.
        """
        return sum(
            prefetch(located, only_missing=self._tells_residency)
            for located in self._located(sample_ids)
        )

    @cached_property
    def _tells_residency(self) -> bool:
        return all(tells_residency(one.cache_dir) for one in self._cache.caches)

    def unmap(self, sample_ids: NDArray[np.int64]) -> None:
        """Take the images of a batch that was made out of the page tables."""
        for located in self._located(sample_ids):
            unmap(located)

    def _located(self, sample_ids: NDArray[np.int64]) -> Iterator[Payloads | Blobs]:
        """Where the images of a batch are, and their seek points."""
        for name in self._fields:
            if name in self._images:
                images = self._images[name].batch(sample_ids)
                yield Blobs(images.addresses, images.sizes, images)
                if images.seek_addresses is not None and images.seek_sizes is not None:
                    yield Blobs(images.seek_addresses, images.seek_sizes, images)
            elif self._cache.fields[name].kind == "image":
                yield self._payloads(name, sample_ids)

    def make(self, context: BatchContext) -> Batch:
        """One batch of the context's samples.

        Raises
        ------
        DecodeError, CacheError
            From the layers below, naming sample ids.
        StageError
            If a stage raised anything else.
        LoaderError
            If two fields give the batch something of the same name.
        """
        batch: Batch = {}
        origins = {INDICES: "the loader"}
        if self._pipelines.keys() - self._images.keys():
            context = replace(context, image_sizes=self._image_sizes(context.sample_ids))
        with torch.no_grad():
            for name in self._fields:
                own = replace(context, labels={})
                value = self._read(name, own)
                for stage_name, stage in self._pipelines.get(name, ()):
                    with self._telemetry.timed(f"{name}: {stage_name}"):
                        value = _guarded(stage_name, stage, value, own, name)
                is_merged = isinstance(value, dict) and name in self._pipelines
                for items in (value if is_merged else {name: value}, own.labels):
                    _add(batch, items, f"field {name!r}", origins)
            batch[INDICES] = torch.from_numpy(context.sample_ids.copy())
            for transform in self._after_batch:
                transform_name = getattr(transform, "__name__", type(transform).__name__)
                with self._telemetry.timed(transform_name):
                    batch = _guarded(transform_name, transform, batch, context, None)
        self._telemetry.made(context.sample_ids)
        return batch

    def _image_sizes(self, sample_ids: NDArray[np.int64]) -> dict[str, NDArray[np.int32]]:
        """Heights and widths of the images that pipelines decode."""
        found = {name: images.batch(sample_ids) for name, images in self._images.items()}
        return {name: np.stack([one.heights, one.widths], 1) for name, one in found.items()}

    def _read(self, name: str, context: BatchContext) -> Any:
        with self._telemetry.timed(f"{name}: read"):
            if self._cache.fields[name].kind == "image":
                if name in self._images:
                    return self._images[name].batch(context.sample_ids)
                return gathered(self._payloads(name, context.sample_ids), context)
            return _as_tensor(self._cache.load_batch(context.sample_ids, [name])[name])

    def _payloads(self, name: str, ids: NDArray[np.int64]) -> Payloads:
        if self._planes is not None and name == self._planes.field:
            return self._planes.payloads(ids)
        return self._cache.payloads(name, ids)


def checked_pipelines(pipelines: Any) -> dict[str, Any]:
    """A copy of what a loader was given, or none.

    Raises
    ------
    TypeError
        If it does not say which field is meant.
    """
    if pipelines is not None and not isinstance(pipelines, Mapping):
        example = "{'image': [DecodeRandomResizedCrop(224), Normalize()]}"
        raise TypeError(
            f"pipelines takes the stages of each field, such as {example}; "
            f"got a {type(pipelines).__name__}"
        )
    return dict(pipelines or {})


def _add(batch: Batch, items: Mapping[str, Any], origin: str, origins: dict[str, str]) -> None:
    """Add what a field gives to the batch; nothing is overwritten."""
    for name, value in items.items():
        if name in origins:
            raise LoaderError(
                f"batch[{name!r}] is given by {origins[name]} and by {origin}: give the views or "
                "labels of one of them another name, or exclude a field with exclude_fields"
            )
        batch[name], origins[name] = value, origin


def _guarded(name: str, stage: Any, value: Any, context: BatchContext, field: str | None) -> Any:
    """Run a stage; whatever it raises names the stage, the field and the samples."""
    try:
        return apply_stage(name, stage, value, context)
    except (DecodeError, LoaderError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise StageError(name, field, context.sample_ids.tolist(), reason) from error


def gathered(payloads: Payloads, context: BatchContext) -> dict[str, torch.Tensor]:
    """The payloads of a batch as stored, copied one after another into one buffer.

    Returns
    -------
    dict
        ``data``: uint8, all payloads; ``offsets``, ``sizes``: int64, ``heights``, ``widths``:
        int32, ``codecs``, ``orientations``: uint8, each of shape (B,).
    """
    ends = np.cumsum(payloads.sizes)
    offsets = ends - payloads.sizes
    data = context.buffers.lend((int(ends[-1]) if ends.size else 0,), np.uint8)
    gather(payloads, data, offsets)
    columns: dict[str, NDArray[Any]] = {
        "data": data,
        "offsets": offsets,
        "sizes": payloads.sizes,
        "heights": payloads.heights,
        "widths": payloads.widths,
        "codecs": payloads.codecs,
        "orientations": payloads.orientations,
    }
    return {name: torch.from_numpy(column) for name, column in columns.items()}


def _as_tensor(value: Any) -> Any:
    """Arrays of a type that torch has become tensors without a copy; all else stays."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return torch.from_numpy(value)
    return value
