"""A published cache in place of a source: its samples are read from it, and nothing is built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from slipstream_cache import SampleCache
from slipstream_cache.layout import MANIFEST_NAME

_DIRECTORY_PREFIX: Final = "slipcache-"
_MANIFEST_KEYS: Final = frozenset({"version", "num_samples", "fields"})


def is_prebuilt(directory: Path) -> bool:
    """Tell whether a directory is a cache, of any version, whole or not."""
    if directory.name.startswith(_DIRECTORY_PREFIX):
        return True
    try:
        manifest = json.loads((directory / MANIFEST_NAME).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.keys() >= _MANIFEST_KEYS


def open_prebuilt(directory: Path) -> SampleCache:
    """Open the cache in a directory.

    Raises
    ------
    CacheError
        When it is damaged, unfinished or of another version; see ``slipstream_cache.errors``.
    """
    return SampleCache.open(directory)
