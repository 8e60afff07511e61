"""The image files of a folder or archive with their classes, and the same kept on disk.

A kept listing is a folder of ``.npy`` files that all processes of a node map into memory.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slipstream_cache import default_cache_root
from slipstream_cache.publish import discard, temporary_path
from slipstream_loader.sources.file_names import PackedNames
from slipstream_loader.sources.npy_headers import PARSING

_logger = logging.getLogger(__name__)

FOLDER: Final = "listings"
"""Under the caches' root."""
_FACTS: Final = "listing.json"
_VERSION: Final = 1


@dataclass(frozen=True)
class FileListing:
    """Image files in their order."""

    names: PackedNames
    """Paths relative to the root, with forward slashes."""
    sizes: NDArray[np.int64]
    """Shape (N,): bytes."""
    labels: NDArray[np.int64]
    """Shape (N,): positions in ``classes``; zeros where there are no classes."""
    starts: NDArray[np.int64]
    """Shape (N,): where each one begins in the archive; shape (0,) in a folder."""
    classes: list[str]
    """Names of the class folders, sorted; empty where there are none."""
    fingerprint: str = ""
    """Of a folder: hash of names and sizes; an archive has another one."""

    def __len__(self) -> int:
        return len(self.names)


def listing_root(cache_root: Path | None) -> Path:
    """The folder that kept listings lie in."""
    return (cache_root or default_cache_root()) / FOLDER


def load_listing(directory: Path) -> FileListing | None:
    """Open a kept listing; None if there is none, or it is not whole."""
    try:
        facts = json.loads((directory / _FACTS).read_bytes())
        with PARSING:
            arrays = {
                name: np.load(directory / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                for name in ("data", "ends", "sizes", "labels", "starts")
            }
        classes = [str(name) for name in facts["classes"]]
        fingerprint = str(facts["fingerprint"])
        shapes = {name: list(array.shape) for name, array in arrays.items()}
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        return None
    if facts.get("version") != _VERSION or facts.get("shapes") != shapes:
        return None
    names = PackedNames(arrays.pop("data"), arrays.pop("ends"))
    return FileListing(names, classes=classes, fingerprint=fingerprint, **arrays)


def keep_listing(directory: Path, listing: FileListing) -> FileListing:
    """Keep a listing, if that is possible; returns it as the other processes have it."""
    temporary = temporary_path(directory)
    arrays: dict[str, NDArray[Any]] = {
        field.name: getattr(listing, field.name)
        for field in fields(listing)
        if field.name not in ("names", "classes", "fingerprint")
    }
    arrays |= {"data": listing.names.data, "ends": listing.names.ends}
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    facts = {
        "version": _VERSION,
        "shapes": shapes,
        "classes": listing.classes,
        "fingerprint": listing.fingerprint,
    }
    try:
        temporary.mkdir(parents=True)
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array, allow_pickle=False)
        (temporary / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
        discard(directory)  # one that is not whole, or was made at the same time
        temporary.rename(directory)
    except OSError as error:
        _logger.debug("the listing is not kept in %s: %s", directory, error)
        shutil.rmtree(temporary, ignore_errors=True)
    return load_listing(directory) or listing
