"""``slipstream stats``: computed once, and kept in the cache."""

from __future__ import annotations

import json
import logging
from typing import Annotated, Any, Final

import typer

from slipstream_cache import CacheWriteError, SampleCache, read_stats, write_stats
from slipstream_loader.channel_stats import compute_normalization_stats
from slipstream_loader.cli.arguments import (
    CacheDirOption,
    JsonOption,
    SourceArgument,
    ThreadsOption,
)
from slipstream_loader.cli.tables import print_line
from slipstream_loader.errors import SourceError
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.stored_source import StoredSource

_NAME: Final = "normalization"
"""The file in the cache: statistics of all its images, by field."""

_logger = logging.getLogger(__name__)


def stats(
    source: SourceArgument,
    cache_dir: CacheDirOption = None,
    num_samples: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many samples. Default: all.")
    ] = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Mean and standard deviation of each colour channel, for Normalize."""
    cache = prepare_cache(StoredSource.open(source, cache_dir))
    if not cache.image_fields:
        raise SourceError(f"{cache.cache_dir} has no image field")
    field = cache.image_fields[0]
    if num_samples is None:
        found = _of_all(cache, field, threads)
    else:
        found = compute_normalization_stats(
            cache, field, num_samples=num_samples, num_threads=threads
        )
    if as_json:
        typer.echo(json.dumps(found))
        return
    for name, values in found.items():
        numbers = ", ".join(f"{value:.6f}" for value in values)
        print_line(f"{name:4} ({numbers})")


def _of_all(cache: SampleCache, field: str, threads: int | None) -> dict[str, Any]:
    """What the cache keeps, or else what is computed now and kept."""
    kept = read_stats(cache, _NAME)
    if kept is not None and field in kept:
        return dict(kept[field])
    found = compute_normalization_stats(cache, field, num_threads=threads)
    try:
        write_stats(cache, _NAME, [field], {field: found})
    except CacheWriteError as error:  # such as a shared cache that only its owner may write
        _logger.warning("the result is not kept: %s", error)
    return dict(found)
