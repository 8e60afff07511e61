"""Seek points of a cache: where the native engine can start in the middle of its JPEGs.

They are the derived field ``<field>.seek``, a few percent of the images' size. A loader whose
stages decode crops makes them once, before its first epoch, and uses them from then on. They refer
to what is decoded: to the stored payload, or to its conversion where there is one (`baseline`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstream_cache import (
    CacheWriteError,
    DerivedField,
    DerivedReader,
    FieldSpec,
    Payloads,
    Recipe,
    SampleCache,
    SampleReader,
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
from slipstream_loader.baseline import decodable_payloads, find_baseline
from slipstream_loader.encoded import encoded
from slipstream_loader.found_fields import find_derived
from slipstream_loader.progress import advance_to, progress_bar

_logger = logging.getLogger(__name__)

NAME = "seek"


def _recipe(baseline: DerivedReader | None) -> Recipe:
    """How seek points are made: of the payloads that are decoded, stored or converted."""
    options: dict[str, Any] = {"pixels_per_point": PIXELS_PER_POINT}
    if baseline is not None:
        options["of"] = baseline.recipe.name
    return Recipe("jpeg-seek-points", 1, FieldSpec("ragged", content="bytes"), options)


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

    baseline = find_baseline(cache, field)
    with progress_bar(len(cache), "seek points", verbose=verbose) as bar:
        return derive(
            cache,
            field,
            NAME,
            _recipe(baseline),
            points,
            payloads=partial(decodable_payloads, cache, field, baseline),
            num_workers=num_workers,
            progress=advance_to(bar),
        )


def ensure_seek_points(
    cache: SampleReader,
    pipelines: Mapping[str, StageLike | Sequence[StageLike]],
    *,
    verbose: bool = True,
) -> None:
    """Make the seek points that pipelines can use, where the cache has none.

    One process of a node makes them, and the others wait for it. What an interrupted one has made
    is kept. A cache that cannot be written to gets none, with a warning.

    Parameters
    ----------
    cache : SampleReader
        A view gets them in each of its caches.
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
                for one in cache.caches:
                    write_seek_points(one, field, verbose=verbose)
            except CacheWriteError as error:
                _logger.warning("decoding crops without seek points, more slowly: %s", error)


def find_seek_points(cache: SampleReader, field: str) -> DerivedReader | None:
    """The seek points of an image field, or None."""
    return _find(cache, field, find_baseline(cache, field))


def _find(cache: SampleReader, field: str, baseline: DerivedReader | None) -> DerivedReader | None:
    return find_derived(cache, field, NAME, _recipe(baseline))


class EncodedImages:
    """An image field as decoders take it, with all that makes them faster.

    Parameters
    ----------
    cache : SampleReader
    field : str
    """

    def __init__(self, cache: SampleReader, field: str) -> None:
        self._cache, self._field = cache, field
        self._baseline = find_baseline(cache, field)
        self._points = _find(cache, field, self._baseline)

    def batch(self, ids: NDArray[np.int64]) -> EncodedBatch:
        """The images of some samples; nothing is copied."""
        payloads = decodable_payloads(self._cache, self._field, self._baseline, ids)
        return encoded(payloads, None if self._points is None else self._points.blobs(ids))
