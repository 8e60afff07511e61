"""Find or build the cache of a data set: the only place where a loader waits for that."""

from __future__ import annotations

import sys
from pathlib import Path

from tqdm.auto import tqdm
from tqdm.notebook import tqdm_notebook

from slipstream_cache import SampleCache, build
from slipstream_loader.dataset import SlipstreamDataset
from slipstream_loader.errors import EmptyDatasetError
from slipstream_loader.transcode import transcode


def prepare_cache(
    dataset: SlipstreamDataset, *, num_workers: int | None = None, verbose: bool = True
) -> SampleCache:
    """Open the data set's cache, building it first if there is none.

    Parameters
    ----------
    dataset : SlipstreamDataset
    num_workers : int, optional
        Threads of a build.
    verbose : bool
        Whether a build shows its progress (on a terminal or in a notebook only).

    Returns
    -------
    SampleCache

    Raises
    ------
    EmptyDatasetError
        If there are no samples.
    CacheError
        If an existing cache is damaged, or the build fails; see ``slipstream_cache.errors``.
    """
    source = dataset.source
    if isinstance(source, SampleCache):
        return source
    if len(source) == 0:
        raise EmptyDatasetError(f"{source.uri} has no samples")
    path = Path(dataset.cache_path)
    disable = not verbose or not _shows_progress()
    with tqdm(total=len(source), unit="samples", desc="building cache", disable=disable) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return build(
            source,
            path,
            options=dataset.storage_options,
            transcode=transcode,
            num_workers=num_workers,
            progress=progress,
        )


def _shows_progress() -> bool:
    """Whether somebody watches: a terminal or a notebook."""
    return sys.stderr.isatty() or issubclass(tqdm, tqdm_notebook)
