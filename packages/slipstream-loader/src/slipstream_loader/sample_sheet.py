"""A contact sheet of samples, as they are stored or as a pipeline makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from slipstream_cache import SampleCache
from slipstream_decoders import BatchContext, DecodeOnly, StageLike, run_stages
from slipstream_loader.contact_sheet import contact_sheet
from slipstream_loader.display import displayable
from slipstream_loader.encoded import encoded
from slipstream_loader.errors import SourceError

_COLUMNS = 8


def spread_ids(num_samples: int, count: int = 40) -> list[int]:
    """At most ``count`` sample ids, spread evenly."""
    return [int(i) for i in np.linspace(0, num_samples - 1, min(count, num_samples))]


def write_sheet(
    cache: SampleCache, sample_ids: Sequence[int], stages: Sequence[StageLike] | None, out: Path
) -> None:
    """Write the contact sheet of some samples, as stages make them; without any, whole images.

    The views of a sample stand side by side; ImageNet's normalisation is undone. An image that
    cannot be decoded is black, and its caption says so.

    Raises
    ------
    SourceError
        If the cache has no image field, or there are no samples to show.
    """
    if not cache.image_fields:
        raise SourceError(f"{cache.cache_dir} has no image field")
    if not sample_ids:
        raise SourceError(f"{cache.cache_dir} has no samples")
    field = cache.image_fields[0]
    ids = np.array(list(sample_ids), np.int64)
    failures: dict[int, str] = {}
    context = BatchContext(sample_ids=ids, seed=0, failures=failures)
    made = run_stages(stages or [DecodeOnly()], encoded(cache.payloads(field, ids)), context)
    views = made if isinstance(made, Mapping) else {"": made}
    shown = {name: displayable(list(images)) for name, images in views.items()}
    labels = [
        f"damaged: {label}" if row in failures else label
        for row, label in enumerate(captions(cache, sample_ids))
    ]
    pictures = [images[row] for row in range(len(ids)) for images in shown.values()]
    texts = [f"{name} of {label}" if name else label for label in labels for name in shown]
    columns = max(1, _COLUMNS // len(shown)) * len(shown)
    contact_sheet(pictures, texts, columns=columns).save(out)


def captions(cache: SampleCache, sample_ids: Sequence[int]) -> list[str]:
    """Sample id, and the file's name or the label where there is one."""
    for name in ("path", "label"):
        if name in cache.fields:
            values = cache.load_batch(sample_ids, [name])[name]
            texts = [str(value).rsplit("/", 1)[-1] for value in values]
            return [f"{i}: {text}" for i, text in zip(sample_ids, texts, strict=True)]
    return [str(sample_id) for sample_id in sample_ids]
