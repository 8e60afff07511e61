"""Find or build the cache of a data set: the only place where a loader waits for that."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream_cache import SampleCache, SampleReader, build
from slipstream_loader.errors import DatasetArgumentError, EmptyDatasetError
from slipstream_loader.progress import progress_bar
from slipstream_loader.sources.litdata import LitDataSource
from slipstream_loader.stored_source import StoredSource
from slipstream_loader.transcode import transcode

if TYPE_CHECKING:
    from slipstream_loader.dataset import SlipstreamDataset


def open_samples(
    dataset: SlipstreamDataset | StoredSource, *, verbose: bool = True
) -> SampleReader:
    """What a loader reads: the view that the data set is given, or its cache; see below."""
    if isinstance(dataset.source, SampleReader):
        return dataset.source
    return prepare_cache(dataset, verbose=verbose)


def prepare_cache(
    dataset: SlipstreamDataset | StoredSource,
    *,
    num_workers: int | None = None,
    verbose: bool = True,
    executor: Executor | None = None,
) -> SampleCache:
    """Open the data set's cache, building it first if there is none.

    Parameters
    ----------
    dataset : SlipstreamDataset or StoredSource
    num_workers : int, optional
        Threads of a build; with an executor, of each of its tasks.
    verbose : bool
        Whether a build shows its progress (on a terminal or in a notebook only).
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
    """
    source = dataset.source
    if isinstance(source, SampleCache):
        return source
    if isinstance(source, SampleReader):
        raise DatasetArgumentError(f"{dataset!r} is a view of caches that are built already")
    if len(source) == 0:
        raise EmptyDatasetError(f"{source.uri} has no samples")
    path = Path(dataset.cache_path)
    with progress_bar(len(source), "building cache", verbose=verbose) as bar:
        first = True

        def progress(done: int, total: int) -> None:
            nonlocal first
            bar.total = total
            if first:  # what an interrupted build has done counts for no rate
                bar.initial = bar.n = done
                first = False
            bar.update(done - bar.n)

        try:
            return build(
                source,
                path,
                options=dataset.storage_options,
                transcode=transcode,
                num_workers=num_workers,
                progress=progress,
                executor=executor,
            )
        finally:
            if isinstance(source, LitDataSource):  # its downloads are of no use any more
                source.close()
