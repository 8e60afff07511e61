"""Checks a published cache against its own manifest: quickly by sizes, or fully by hashes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from slipstream_cache.errors import CacheNotFoundError, ManifestError, UnsupportedVersionError
from slipstream_cache.layout import MANIFEST_NAME
from slipstream_cache.manifest import FileInfo, read_manifest
from slipstream_cache.writers import hash_file


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a cache."""

    path: Path
    """The file."""
    message: str
    """What was expected of it and what was found."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def check_integrity(cache_dir: str | os.PathLike[str], *, full: bool = False) -> list[Problem]:
    """Check that a cache is whole.

    Parameters
    ----------
    cache_dir : path
        The cache's directory.
    full : bool
        Also read and hash all files; otherwise only their presence and sizes are checked.

    Returns
    -------
    list of Problem
        Empty when nothing is wrong. A missing or unreadable manifest is a problem, not an error.
    """
    directory = Path(cache_dir).absolute()
    try:
        manifest = read_manifest(directory)
    except (CacheNotFoundError, ManifestError, UnsupportedVersionError) as error:
        return [Problem(directory / MANIFEST_NAME, str(error))]
    found = [
        _check_file(directory / part.name / name, info, full)
        for part in manifest.parts
        for name, info in part.files.items()
    ]
    return [problem for problem in found if problem is not None]


def _check_file(path: Path, info: FileInfo, full: bool) -> Problem | None:
    try:
        size = path.stat().st_size
        if not path.is_file():
            return Problem(path, "not a file")
        if size != info.bytes:
            return Problem(path, f"expected {info.bytes} bytes, found {size}")
        if full and (digest := hash_file(path)) != info.xxh3:
            return Problem(path, f"expected xxh3 {info.xxh3}, found {digest}: its bytes changed")
    except FileNotFoundError:
        return Problem(path, f"missing, expected {info.bytes} bytes")
    except OSError as error:
        return Problem(path, f"cannot be read: {error}")
    return None
