"""Copies of remote sources that are made before a build, as fast as the line allows."""

from __future__ import annotations

import logging
from pathlib import Path

from slipstream_cache import Source
from slipstream_loader.sources.litdata import LitDataSource

_logger = logging.getLogger(__name__)


def presynced(source: Source, cache_root: Path, *, verbose: bool = True) -> Source:
    """Copy a source's objects from S3 and return the same samples, read from the copy.

    Parameters
    ----------
    source : Source
        A LitData data set on S3 is copied; any other source is returned as it is, since a build
        reads it from its beginning to its end anyway.
    cache_root : Path
        The copy stays there, in the directory that ``sync_s3_dataset`` tells.
    verbose : bool
        Whether progress is shown.

    Raises
    ------
    S3Error
        The transfer failed. What has arrived is kept.
    ImportError
        s3sync is not installed.
    """
    store = source.store if isinstance(source, LitDataSource) else None
    if store is None or not isinstance(source, LitDataSource):
        _logger.info("presync_s3: %s is read where it is", source.uri)
        return source
    try:
        from slipstream_s3sync import sync_s3_dataset
    except ImportError as error:
        raise ImportError(
            "presync_s3 needs s3sync: pip install 'visionlab-slipstream-loader[s3]'"
        ) from error
    directory = sync_s3_dataset(
        store.url, cache_root, storage_options=store.options, verbose=verbose
    )
    return source.copied_to(directory)
