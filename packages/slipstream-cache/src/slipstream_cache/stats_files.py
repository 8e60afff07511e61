"""Small results about a cache, kept beside it as ``stats/<name>.json`` until it changes."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from slipstream_cache.additions import content_key, parent_hashes, read_document, replace_file
from slipstream_cache.cache import SampleCache
from slipstream_cache.errors import CacheWriteError, FieldNameError, ManifestError
from slipstream_cache.manifest import json_text

_logger = logging.getLogger(__name__)

STATS_DIRECTORY: Final = "stats"
STATS_FORMAT: Final = "slipcache-stats"
STATS_VERSION: Final = 1

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,80}")


def write_stats(
    cache: SampleCache | str | os.PathLike[str],
    name: str,
    fields: Iterable[str],
    payload: Mapping[str, Any],
) -> None:
    """Keep what was computed from some fields; an older result of this name is replaced.

    Parameters
    ----------
    cache : SampleCache or path
        The cache, or its directory.
    name : str
        Lower-case letters, digits, ``_``, ``-`` and ``.``; the file is ``stats/<name>.json``.
    fields : iterable of str
        What it was computed from: it is out of date as soon as one of these has other bytes.
    payload : Mapping
        JSON values.

    Raises
    ------
    FieldNameError, FieldNotFoundError
        The name cannot be a file's, or there is no such field.
    CacheWriteError
        It cannot be written.
    """
    opened = cache if isinstance(cache, SampleCache) else SampleCache.open(cache)
    path = stats_path(opened, name)
    names = sorted(set(fields))
    opened.load_batch([], names)
    kept = json.loads(json.dumps(dict(payload)))
    document = {
        "format": STATS_FORMAT,
        "version": STATS_VERSION,
        "fields": names,
        "parent": parent_hashes(opened.manifest, names),
        "payload": kept,
        "digest": content_key(kept),
    }
    try:
        path.parent.mkdir(exist_ok=True)
        replace_file(path, json_text(document))
    except OSError as error:
        raise CacheWriteError(f"cannot write {path}: {error}") from error


def read_stats(cache: SampleCache, name: str) -> dict[str, Any] | None:
    """Return what ``write_stats`` kept.

    Parameters
    ----------
    cache : SampleCache
        The cache.
    name : str
        As it was written.

    Returns
    -------
    dict or None
        None if there is nothing of that name, or, after a warning, if the fields changed since.

    Raises
    ------
    ManifestError, UnsupportedVersionError
        The file is damaged, or of another version.
    """
    path = stats_path(cache, name)
    document = read_document(path, STATS_FORMAT, STATS_VERSION)
    if document is None:
        return None
    try:
        payload = dict(document["payload"])
        digest = content_key(payload)
        fresh = document["parent"] == parent_hashes(cache.manifest, document["fields"])
    except (TypeError, ValueError) as error:
        raise ManifestError(f"{path} does not hold statistics: {error!r}") from error
    except KeyError:  # a field that this cache does not have
        fresh = False
    if not fresh:
        _logger.warning("%s was made from another state of the cache: ignored", path)
        return None
    if document.get("digest", digest) != digest:  # the first files had none
        raise ManifestError(
            f"{path}: expected a payload of digest {document['digest']!r}, found {digest!r}: its "
            "bytes changed; `repair` removes it, so that it is made again"
        )
    return payload


def stats_path(cache: SampleCache, name: str) -> Path:
    """Return the file of statistics, after a check of their name."""
    if not _NAME.fullmatch(name):
        raise FieldNameError(
            f"{name!r} cannot name statistics: expected lower-case letters, digits, '_', '-', '.'"
        )
    return cache.cache_dir / STATS_DIRECTORY / f"{name}.json"
