"""``slipstream stats``."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console

from slipstream_loader.channel_stats import compute_normalization_stats
from slipstream_loader.cli.arguments import (
    CacheDirOption,
    JsonOption,
    SourceArgument,
    ThreadsOption,
)
from slipstream_loader.dataset import SlipstreamDataset
from slipstream_loader.errors import SourceError
from slipstream_loader.prepare import prepare_cache


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
    cache = prepare_cache(SlipstreamDataset(source, cache_dir=cache_dir))
    if not cache.image_fields:
        raise SourceError(f"{cache.cache_dir} has no image field")
    found = compute_normalization_stats(
        cache, cache.image_fields[0], num_samples=num_samples, num_threads=threads
    )
    if as_json:
        typer.echo(json.dumps(found))
        return
    console = Console()
    for name, values in found.items():
        numbers = ", ".join(f"{value:.6f}" for value in values)
        console.print(f"{name:4} ({numbers})", highlight=False)
