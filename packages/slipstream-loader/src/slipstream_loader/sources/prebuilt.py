"""A cache in place of a source: its samples are read from it, or built again from an old one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from slipstream_cache import LegacySource, SampleCache, import_v1
from slipstream_cache.layout import MANIFEST_NAME
from slipstream_cache.legacy import is_v1

_DIRECTORY_PREFIX: Final = "slipcache-"
_MANIFEST_KEYS: Final = frozenset({"version", "num_samples", "fields"})


def is_prebuilt(directory: Path) -> bool:
    """Tell whether a directory is a cache, of any version, whole or not."""
    if directory.name.startswith(_DIRECTORY_PREFIX):
        return True
    manifest = _read_manifest(directory)
    return manifest is not None and manifest.keys() >= _MANIFEST_KEYS


def open_prebuilt(directory: Path) -> SampleCache | LegacySource:
    """Open the cache in a directory; one of the original slipstream is a source to build from.

    Raises
    ------
    CacheError
        When it is damaged, unfinished or of another version; see ``slipstream_cache.errors``.
    """
    manifest = _read_manifest(directory)
    if manifest is not None and is_v1(manifest):
        return import_v1(directory)
    return SampleCache.open(directory)


def _read_manifest(directory: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((directory / MANIFEST_NAME).read_bytes())
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None
