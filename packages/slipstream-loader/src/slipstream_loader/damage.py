"""Which images of a cache are damaged: judged once, by decoding them, and kept in the cache.

What has seek points was decoded to its end when they were made, and is sound. All else is decoded
here, and Pillow has the last word.
"""

from __future__ import annotations

from typing import Any, Final

from slipstream_cache import SampleCache, read_stats, write_stats
from slipstream_decoders import BatchContext, crop_images, whole_image_boxes
from slipstream_loader.encoded import encoded
from slipstream_loader.progress import progress_bar
from slipstream_loader.sample_runs import runs_of
from slipstream_loader.seek_points import find_seek_points

_NAME: Final = "damage"
_SAMPLES_AT_ONCE: Final = 256
_SIZE: Final = (8, 8)
"""Of the crops that are made and thrown away, pixels."""


def find_damage(cache: SampleCache) -> dict[str, dict[int, str]] | None:
    """What ``judge_images`` found, if it was run on this state of the cache."""
    kept = read_stats(cache, _NAME)
    if kept is None or set(kept) != set(cache.image_fields):
        return None
    return {
        field: {int(sample_id): str(reason) for sample_id, reason in found.items()}
        for field, found in kept.items()
    }


def judge_images(
    cache: SampleCache, *, num_threads: int | None = None, verbose: bool = True
) -> dict[str, dict[int, str]]:
    """Decode every image that nobody has decoded before, and keep what is wrong in the cache.

    Parameters
    ----------
    cache : SampleCache
    num_threads : int, optional
        Default: as many as the process may use.
    verbose : bool
        Whether progress is shown (on a terminal or in a notebook only).

    Returns
    -------
    dict
        Image field -> sample id -> why no engine decodes it.

    Raises
    ------
    CacheWriteError
        It cannot be kept.
    """
    known = find_damage(cache)
    if known is not None:
        return known
    found = {field: _judge(cache, field, num_threads, verbose) for field in cache.image_fields}
    write_stats(cache, _NAME, cache.image_fields, _as_json(found))
    return found


def _judge(
    cache: SampleCache, field: str, num_threads: int | None, verbose: bool
) -> dict[int, str]:
    points = find_seek_points(cache, field)
    found: dict[int, str] = {}
    with progress_bar(len(cache), f"checking {field}", verbose=verbose) as bar:
        for run in runs_of(len(cache), _SAMPLES_AT_ONCE):
            bar.update(run.size)
            ids = run if points is None else run[points.blobs(run).sizes == 0]
            batch = encoded(cache.payloads(field, ids))
            failures: dict[int, str] = {}
            context = BatchContext(ids, seed=0, failures=failures, num_threads=num_threads)
            crop_images(batch, whole_image_boxes(batch.heights, batch.widths), _SIZE, context)
            found.update({int(ids[row]): reason for row, reason in sorted(failures.items())})
    return found


def _as_json(found: dict[str, dict[int, str]]) -> dict[str, Any]:
    return {
        field: {str(sample_id): reason for sample_id, reason in failures.items()}
        for field, failures in found.items()
    }
