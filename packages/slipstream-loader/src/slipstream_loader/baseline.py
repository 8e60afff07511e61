"""Progressive JPEGs of a cache, losslessly converted so that the native engine takes them.

They are the derived field ``<field>.baseline``, made on request: baseline JPEGs with the same
coefficients, and so the same pixels, where the stored payload is one that the native engine
refuses, and nothing elsewhere. Loaders decode them in place of the stored payloads where they are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from slipstream_cache import (
    Condition,
    DerivedReader,
    FieldSpec,
    Payloads,
    Recipe,
    SampleCache,
    SampleReader,
    delete_derived,
    derive,
)
from slipstream_cache.layout import IMAGE_SAMPLE_DTYPE
from slipstream_decoders import convert_to_baseline
from slipstream_loader.encoded import encoded
from slipstream_loader.found_fields import find_derived
from slipstream_loader.progress import advance_to, progress_bar

NAME = "baseline"

RECIPE = Recipe("jpeg-to-baseline", 1, FieldSpec("image"))


def write_baseline(
    cache: SampleCache,
    field: str = "image",
    *,
    num_workers: int | None = None,
    verbose: bool = True,
) -> int:
    """Convert the JPEGs of an image field that the native engine does not take.

    Seek points of the field are removed if anything is made: the next ones refer to what is
    decoded then.

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
    int
        Images that have a conversion now.

    Raises
    ------
    BackendUnavailableError
        There is no TurboJPEG library.
    CacheWriteError
        The cache cannot be written to.
    """
    found = find_baseline(cache, field)
    if found is None:
        with progress_bar(len(cache), "baseline JPEGs", verbose=verbose) as bar:
            found = derive(
                cache,
                field,
                NAME,
                RECIPE,
                _convert,
                num_workers=num_workers,
                progress=advance_to(bar),
            )
        from slipstream_loader import seek_points  # late: it imports this module

        delete_derived(cache, field, seek_points.NAME)
    return int((found.payloads(np.arange(len(cache))).sizes > 0).sum())


def _convert(payloads: Payloads) -> tuple[NDArray[np.uint8], NDArray[np.void]]:
    made = convert_to_baseline(encoded(payloads))
    rows = np.zeros(len(payloads), IMAGE_SAMPLE_DTYPE)
    rows["size"], rows["condition"] = made.sizes, Condition.SOUND
    for name in ("height", "width", "codec", "orientation"):
        rows[name] = getattr(payloads, f"{name}s")
    return made.data, rows


def find_baseline(cache: SampleReader, field: str) -> DerivedReader | None:
    """The converted JPEGs of an image field, or None."""
    return find_derived(cache, field, NAME, RECIPE)


def decodable_payloads(
    cache: SampleReader, field: str, baseline: DerivedReader | None, ids: NDArray[np.int64]
) -> Payloads:
    """The payloads of samples, conversions in place of what was converted; nothing is copied."""
    stored = cache.payloads(field, ids)
    if baseline is None:
        return stored
    made = baseline.payloads(ids)
    is_made = made.sizes > 0
    return replace(
        stored,
        addresses=np.where(is_made, made.addresses, stored.addresses),
        sizes=np.where(is_made, made.sizes, stored.sizes),
        checksums=np.where(is_made, made.checksums, stored.checksums),
        owner=(stored, made),
    )
