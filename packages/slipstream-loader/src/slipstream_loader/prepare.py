"""Find, download or build the cache of a data set: the only place where a loader waits for that."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream_cache import CacheWriteError, SampleCache, SampleReader, build, cache_key
from slipstream_cache.layout import MANIFEST_NAME
from slipstream_cache.source import release
from slipstream_loader.errors import DatasetArgumentError, EmptyDatasetError
from slipstream_loader.growing_cache import GrowingCache, reads_alone
from slipstream_loader.presync import presynced
from slipstream_loader.progress import progress_bar
from slipstream_loader.remote_cache import (
    RemoteCache,
    fetch_additions,
    fetch_cache,
    is_remote_failure,
    send_additions,
    send_cache,
)
from slipstream_loader.sources.litdata import LitDataSource
from slipstream_loader.stored_source import StoredSource
from slipstream_loader.transcode import transcode

if TYPE_CHECKING:
    from slipstream_loader.dataset import SlipstreamDataset


_logger = logging.getLogger(__name__)


def open_samples(
    dataset: SlipstreamDataset | StoredSource,
    *,
    remote: RemoteCache | None = None,
    presync: bool = False,
    overlap: bool = False,
    verbose: bool = True,
) -> SampleReader:
    """What a loader reads: the view that the data set is given, or its cache; see below.

    With ``overlap``, a cache that has to be built from a remote source is returned before it is
    complete, as a `GrowingCache`.
    """
    source = dataset.source
    if isinstance(source, SampleReader):
        return source
    path = Path(dataset.cache_path)
    if not overlap or not reads_alone(source) or not len(source) or _is_published(path):
        return prepare_cache(dataset, remote=remote, presync=presync, verbose=verbose)
    if remote is not None and _fetched(remote, path, verbose):
        return SampleCache.open(path)

    def build_behind(progress: Callable[[int, int], None]) -> SampleCache:
        options = dataset.storage_options
        _begin(source, path)
        return build(source, path, options=options, transcode=transcode, progress=progress)

    key = cache_key(source.fingerprint(), dataset.storage_options)
    return GrowingCache(source, path, key, dataset.storage_options, build_behind)


def prepare_cache(
    dataset: SlipstreamDataset | StoredSource,
    *,
    remote: RemoteCache | None = None,
    presync: bool = False,
    num_workers: int | None = None,
    verbose: bool = True,
    executor: Executor | None = None,
) -> SampleCache:
    """Open the data set's cache; if there is none, download it or build it.

    Parameters
    ----------
    dataset : SlipstreamDataset or StoredSource
    remote : RemoteCache, optional
        Where to look for the cache before it is built. Nothing is uploaded.
    presync : bool
        Copy a remote data set as a whole before building from it.
    num_workers : int, optional
        Threads of a build; with an executor, of each of its tasks.
    verbose : bool
        Whether downloads and a build show their progress (on a terminal or in a notebook only).
    executor : concurrent.futures.Executor, optional
        Where a build is done; by default in this process. See `slipstream_cache.build`.

    Returns
    -------
    SampleCache

    Raises
    ------
    EmptyDatasetError
        If there are no samples.
    DatasetArgumentError
        If the data set is a view of several caches.
    CacheError
        If an existing cache is damaged, or the build fails; see ``slipstream_cache.errors``.
    S3Error
        If presyncing fails, or the remote cache cannot be used and is ``strict``.
    """
    source = dataset.source
    if isinstance(source, SampleCache):
        return source
    if isinstance(source, SampleReader):
        raise DatasetArgumentError(f"{dataset!r} is a view of caches that are built already")
    if len(source) == 0:
        raise EmptyDatasetError(f"{source.uri} has no samples")
    path = Path(dataset.cache_path)
    if not _is_published(path):
        if remote is not None and _fetched(remote, path, verbose):
            return SampleCache.open(path)
        if presync:
            given, source = source, presynced(source, path.parent, verbose=verbose)
            release(given)
        _begin(source, path)  # not if the cache is there: nothing would be read, nor released
    with _build_progress(len(source), verbose) as progress:
        return build(
            source,
            path,
            options=dataset.storage_options,
            transcode=transcode,
            num_workers=num_workers,
            progress=progress,
            executor=executor,
        )


def fetch_what_is_missing(remote: RemoteCache, cache: SampleReader, *, verbose: bool) -> None:
    """Download the additions that the remote has and the caches lack; failures are warnings."""
    for one in cache.caches:
        consequence = f"what was added to {one.cache_dir} elsewhere is not here"
        with _warned(remote, consequence, CacheWriteError):
            fetch_additions(remote, one, verbose=verbose)


def send_what_is_missing(remote: RemoteCache, cache: SampleReader, *, verbose: bool) -> None:
    """Upload caches, and their additions, that the remote lacks; failures are warnings."""
    for one in cache.caches:
        with _warned(remote, f"{one.cache_dir} is complete and used, but not shared"):
            send_cache(remote, one, verbose=verbose)
            send_additions(remote, one, verbose=verbose)


def _is_published(path: Path) -> bool:
    return (path / MANIFEST_NAME).exists()


def _fetched(remote: RemoteCache, path: Path, verbose: bool) -> bool:
    """Whether the cache was downloaded."""
    key = path.name.rpartition("-")[2]
    with _warned(remote, "the cache is built here"):
        return fetch_cache(remote, key, path, verbose=verbose)
    return False


@contextmanager
def _warned(remote: RemoteCache, consequence: str, *also: type[Exception]) -> Iterator[None]:
    """Turn failures of the remote, and others, into one warning each, unless it is strict."""
    try:
        yield
    except (OSError, ValueError) as error:
        if remote.strict or not (is_remote_failure(error) or isinstance(error, also)):
            raise
        _logger.warning("the remote cache %s fails: %s. So %s.", remote.url, error, consequence)


@contextmanager
def _build_progress(total: int, verbose: bool) -> Iterator[Callable[[int, int], None]]:
    with progress_bar(total, "building cache", verbose=verbose) as bar:
        first = True

        def progress(done: int, total: int) -> None:
            nonlocal first
            bar.total = total
            if first:  # what an interrupted build has done counts for no rate
                bar.initial = bar.n = done
                first = False
            bar.update(done - bar.n)

        yield progress


def _begin(source: object, cache_path: Path) -> None:
    """Begin downloads, unless the first parts of the cache may be there already."""
    if isinstance(source, LitDataSource) and not cache_path.exists():
        source.begin_downloads()
