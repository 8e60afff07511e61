"""``slipstream build``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Annotated, Literal

import typer

from slipstream_cache import BuildWorkerError, SampleCache, StorageOptions
from slipstream_cache.layout import MANIFEST_NAME
from slipstream_loader.cli.arguments import CacheDirOption, SourceArgument
from slipstream_loader.cli.tables import count, print_line, size
from slipstream_loader.damage import find_damage, judge_images
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.seek_points import write_seek_points
from slipstream_loader.stored_source import StoredSource
from slipstream_loader.yuv420 import write_yuv420


def build(
    source: SourceArgument,
    cache_dir: CacheDirOption = None,
    max_size: Annotated[
        int | None, typer.Option(min=1, help="Shrink images whose longer side is larger, pixels.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Threads that read. Default: two for each CPU of this process; with --dask, 4 "
            "for each part that is being written.",
        ),
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Build on the workers of a dask scheduler, such as tcp://node01:8786. They must "
            "see the source and the cache under the same paths.",
        ),
    ] = None,
    seek: Annotated[
        bool,
        typer.Option(
            "--seek/--no-seek",
            help="Make seek points and judge damage: every image is decoded once.",
        ),
    ] = True,
    derive: Annotated[
        Literal["yuv420"] | None,
        typer.Option(help="Keep the images' planes beside them: crops without decoding."),
    ] = None,
) -> None:
    """Build the cache of a source, or find that it is there already."""
    dataset = StoredSource.open(source, cache_dir, StorageOptions(max_size=max_size))
    was_there = (dataset.cache_path / MANIFEST_NAME).exists()
    started = time.perf_counter()
    with _executor(dask) as executor:
        cache = prepare_cache(dataset, num_workers=workers, executor=executor)
    seconds = time.perf_counter() - started
    rate = f"{size(cache.manifest.num_bytes / seconds)}/s"
    timing = "found, built before" if was_there else f"{seconds:.1f} s, {rate}"
    if seek and cache.image_fields:
        timing += f"; {_prepare_decoding(cache)}"
    if derive == "yuv420":
        timing += f"; {_derive_yuv420(cache)}"
    for line in (_contents(cache), timing, str(cache.cache_dir)):
        print_line(line)


def _prepare_decoding(cache: SampleCache) -> str:
    """Make the seek points and judge the images, unless it was done before; what it took."""
    started = time.perf_counter()
    points = [write_seek_points(cache, field) for field in cache.image_fields]
    judge_images(cache)
    num_bytes = sum(found.num_bytes for found in points)
    return f"seek points {size(num_bytes)}, {time.perf_counter() - started:.1f} s"


def _derive_yuv420(cache: SampleCache) -> str:
    """Make the planes of all image fields, unless they are there; what it took."""
    started = time.perf_counter()
    num_bytes = sum(write_yuv420(cache, field).num_bytes for field in cache.image_fields)
    return f"yuv420 planes {size(num_bytes)}, {time.perf_counter() - started:.1f} s"


def _contents(cache: SampleCache) -> str:
    """Samples, bytes, parts, and the images that are not sound."""
    parts = cache.manifest.parts
    counts = [counts for part in parts for counts in part.images.values()]
    words = [count(len(cache), "sample"), size(cache.manifest.num_bytes), count(len(parts), "part")]
    if counts:
        unreadable = sum(found.unreadable for found in counts)
        damaged = sum(found.damaged for found in counts)
        judged = find_damage(cache)
        if judged is not None:
            damaged = sum(map(len, judged.values())) - unreadable
        words += [f"{damaged:,} damaged", f"{unreadable:,} unreadable"]
    return ", ".join(words)


@contextmanager
def _executor(address: str | None) -> Iterator[Executor | None]:
    """The workers of a dask scheduler; None without an address: this process."""
    if address is None:
        yield None
        return
    try:
        from distributed import Client, KilledWorker
    except ImportError as error:
        raise typer.BadParameter(
            "--dask needs dask: pip install 'visionlab-slipstream-loader[dask]'"
        ) from error
    with Client(address) as client:  # type: ignore[no-untyped-call]
        try:
            yield client.get_executor()
        except KilledWorker as error:
            raise BuildWorkerError(
                f"{error} Parts that are complete stay, and the next build goes on after them."
            ) from error
