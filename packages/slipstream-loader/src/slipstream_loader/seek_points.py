"""Seek points of a cache: where the native engine can start in the middle of its JPEGs.

They are the derived field ``<field>.seek``, a few percent of the images' size. A loader whose
stages decode crops makes them once, before its first epoch, and uses them from then on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from slipstream_cache import (
    CacheWriteError,
    DerivedField,
    DerivedNotFoundError,
    FieldSpec,
    Payloads,
    Recipe,
    SampleCache,
    derive,
)
from slipstream_decoders import (
    PIXELS_PER_POINT,
    EncodedBatch,
    Stage,
    StageLike,
    build_seek_points,
    named_stages,
)
from slipstream_loader.progress import progress_bar

_logger = logging.getLogger(__name__)

NAME = "seek"

RECIPE = Recipe(
    "jpeg-seek-points",
    1,
    FieldSpec("ragged", content="bytes"),
    {"pixels_per_point": PIXELS_PER_POINT},
)


def write_seek_points(
    cache: SampleCache,
    field: str = "image",
    *,
    num_workers: int | None = None,
    verbose: bool = True,
) -> DerivedField:
    """Make the seek points of an image field, or find that they are there.

    Parameters
    ----------
    cache : SampleCache
    field : str
    num_workers : int, optional
        Threads.
    verbose : bool
        Whether progress is shown (on a terminal or in a notebook only).

    Returns
    -------
    DerivedField
        One blob a sample; empty where the native engine does not take the image.
    """

    def points(payloads: Payloads) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        found = build_seek_points(encoded(payloads), num_threads=1)
        return found.data, found.sizes

    with progress_bar(len(cache), "seek points", verbose=verbose) as bar:

        def progress(done: int, total: int) -> None:
            del total
            bar.update(done - bar.n)

        return derive(
            cache, field, NAME, RECIPE, points, num_workers=num_workers, progress=progress
        )


def ensure_seek_points(
    cache: SampleCache,
    pipelines: Mapping[str, StageLike | Sequence[StageLike]],
    *,
    verbose: bool = True,
) -> None:
    """Make the seek points that pipelines can use, where the cache has none.

    One process of a node makes them, and the others wait for it. What an interrupted one has made
    is kept. A cache that cannot be written to gets none, with a warning.

    Parameters
    ----------
    cache : SampleCache
    pipelines : mapping
        Field -> stages, of which the first decodes.
    verbose : bool
        Whether progress is shown.
    """
    for field in cache.image_fields:
        stages = named_stages(pipelines.get(field, ()))
        decoder = stages[0][1] if stages else None
        if not (isinstance(decoder, Stage) and decoder.uses_seek_points):
            continue
        if find_seek_points(cache, field) is None:
            try:
                write_seek_points(cache, field, verbose=verbose)
            except CacheWriteError as error:
                _logger.warning("decoding crops without seek points, more slowly: %s", error)


def find_seek_points(cache: SampleCache, field: str) -> DerivedField | None:
    """The seek points of an image field, or None."""
    try:
        return cache.derived(field, NAME, RECIPE)
    except DerivedNotFoundError:
        return None


def encoded(
    payloads: Payloads, points: DerivedField | None = None, ids: NDArray[np.int64] | None = None
) -> EncodedBatch:
    """The cache's payloads as decoders take them; nothing is copied.

    Parameters
    ----------
    payloads : Payloads
    points : DerivedField, optional
        Seek points of the field.
    ids : array of int64, shape (B,)
        The samples that the payloads are of; needed with ``points``.
    """
    blobs = None if points is None or ids is None else points.blobs(ids)
    return EncodedBatch(
        addresses=payloads.addresses,
        sizes=payloads.sizes,
        heights=payloads.heights,
        widths=payloads.widths,
        codecs=payloads.codecs,
        orientations=payloads.orientations,
        owner=(payloads, blobs),
        seek_addresses=None if blobs is None else blobs.addresses,
        seek_sizes=None if blobs is None else blobs.sizes,
    )
