"""``slipstream build``."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console

from slipstream_cache import StorageOptions
from slipstream_loader.cli.arguments import CacheDirOption, SourceArgument
from slipstream_loader.cli.report import count, size
from slipstream_loader.dataset import SlipstreamDataset
from slipstream_loader.prepare import prepare_cache


def build(
    source: SourceArgument,
    cache_dir: CacheDirOption = None,
    max_size: Annotated[
        int | None, typer.Option(min=1, help="Shrink images whose longer side is larger, pixels.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads. Default: the CPUs of this process.")
    ] = None,
) -> None:
    """Build the cache of a source, or find that it is there already."""
    console = Console()
    dataset = SlipstreamDataset(
        source, cache_dir=cache_dir, storage_options=StorageOptions(max_size=max_size)
    )
    started = time.perf_counter()
    cache = prepare_cache(dataset, num_workers=workers)
    seconds = time.perf_counter() - started
    total = sum(path.stat().st_size for path in cache.cache_dir.rglob("*") if path.is_file())
    console.print(f"{count(len(cache), 'sample')}, {size(total)}, {seconds:.1f} s")
    console.print(str(cache.cache_dir), soft_wrap=True, highlight=False)
