"""What batches are made from: an open cache, and all that makes reading it fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from slipstream_cache import SampleReader
from slipstream_decoders import StageLike
from slipstream_loader.batches import Batch, BatchMaker
from slipstream_loader.failures import FailurePolicy, OnError
from slipstream_loader.growing_cache import GrowingCache, RequestAhead
from slipstream_loader.prepare import fetch_what_is_missing, send_what_is_missing
from slipstream_loader.read_ahead import ReadAhead
from slipstream_loader.remote_cache import RemoteCache
from slipstream_loader.seek_points import ensure_seek_points
from slipstream_loader.telemetry import Telemetry
from slipstream_loader.yuv420 import ImageFormat, PlanarImages, planar_field, write_yuv420


@dataclass(frozen=True)
class ReadingOptions:
    """A loader's options that are about reading."""

    fields: Sequence[str]
    pipelines: Mapping[str, StageLike | Sequence[StageLike]]
    after_batch: Sequence[Callable[[Batch], Batch]]
    batch_size: int
    indices: NDArray[np.int64] | None
    on_error: OnError
    image_format: ImageFormat
    image_field: str | None
    seek_points: bool
    remote: RemoteCache | None
    is_first_rank: bool
    verbose: bool


def reading_options(
    arguments: Mapping[str, Any],
    fields: Sequence[str],
    indices: NDArray[np.int64] | None,
    remote: RemoteCache | None,
    is_first_rank: bool,
) -> ReadingOptions:
    """The options of a loader, whose arguments these are by name."""
    return ReadingOptions(
        fields=fields,
        pipelines=dict(arguments["pipelines"] or {}),
        after_batch=arguments["after_batch_transforms"],
        batch_size=arguments["batch_size"],
        indices=indices,
        on_error=arguments["on_error"],
        image_format=arguments["image_format"],
        image_field=arguments["image_field"],
        seek_points=arguments["seek_points"],
        remote=remote,
        is_first_rank=is_first_rank,
        verbose=arguments["verbose"] and is_first_rank,
    )


@dataclass(frozen=True)
class Reading:
    """How a loader gets its batches."""

    policy: FailurePolicy
    read_ahead: ReadAhead | RequestAhead


def open_reading(cache: SampleReader, options: ReadingOptions, telemetry: Telemetry) -> Reading:
    """Make what is missing in a cache, share it, and return how it is read.

    A cache that is being built is read as it is; call this again when it is complete.
    """
    if isinstance(cache, GrowingCache) and not cache.is_complete:
        maker = _maker(cache, options, telemetry, None)
        ahead = RequestAhead(cache, options.batch_size)
        return Reading(_policy(maker, cache, options, telemetry), ahead)
    if options.remote is not None:
        fetch_what_is_missing(options.remote, cache, verbose=options.verbose)
    planes = _planes(cache, options)
    if options.seek_points:
        of_jpegs = {
            name: stages
            for name, stages in options.pipelines.items()
            if planes is None or name != planes.field
        }
        ensure_seek_points(cache, of_jpegs, verbose=options.verbose)
    if options.remote is not None and options.is_first_rank:
        send_what_is_missing(options.remote, cache, verbose=options.verbose)
    maker = _maker(cache, options, telemetry, planes)
    return Reading(
        _policy(maker, cache, options, telemetry),
        ReadAhead(maker.prefetch, maker.unmap, options.batch_size),
    )


def check_image_format(image_format: str) -> None:
    """Raise ValueError unless it is one that loaders know."""
    if image_format not in get_args(ImageFormat):
        raise ValueError(
            f"image_format must be one of {get_args(ImageFormat)}, got {image_format!r}"
        )


def _planes(cache: SampleReader, options: ReadingOptions) -> PlanarImages | None:
    """The planes of the image field, made if need be; None where images are as stored."""
    if options.image_format != "yuv420":
        return None
    images = [name for name in cache.image_fields if name in options.fields]
    field = planar_field(images, options.image_field)
    return write_yuv420(cache, field, verbose=options.verbose)


def _maker(
    cache: SampleReader,
    options: ReadingOptions,
    telemetry: Telemetry,
    planes: PlanarImages | None,
) -> BatchMaker:
    return BatchMaker(
        cache,
        options.fields,
        options.pipelines,
        options.after_batch,
        telemetry,
        planes,
    )


def _policy(
    maker: BatchMaker, cache: SampleReader, options: ReadingOptions, telemetry: Telemetry
) -> FailurePolicy:
    return FailurePolicy(options.on_error, maker, cache, options.indices, telemetry)
