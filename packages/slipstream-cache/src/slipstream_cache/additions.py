"""What is added to a published cache later: indexes and derived fields, each on its own.

An addition is a directory such as ``index/label`` with a manifest, which names the directory
beside it that holds the files. Renewing one writes another directory and then replaces the
manifest in one step, so that a reader finds the old files or the new ones and never a mixture.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from slipstream_cache.errors import ManifestError, UnsupportedVersionError
from slipstream_cache.field_types import field_files
from slipstream_cache.layout import MANIFEST_NAME
from slipstream_cache.manifest import Manifest, json_text, parse_json_object
from slipstream_cache.publish import discard, sync_directory, temporary_path

OPENING_ATTEMPTS: Final = 10
"""An addition may be renewed between the reading of its manifest and the opening of its files."""

_OURS: Final = re.compile(r"([0-9a-f]{16}|manifest\.json)(\.[0-9a-f]{12}(\.incoming)?)?")
_LEFTOVER_AGE_S: Final = 24 * 3600
"""A directory that no manifest names, and where nothing has happened for so long, is deleted."""


def parent_hashes(manifest: Manifest, fields: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return part -> file -> hash of everything that a thing made from these fields depends on."""
    files = [file for name in fields for file in field_files(name, manifest.fields[name])]
    return {part.name: {file: part.files[file].xxh3 for file in files} for part in manifest.parts}


def content_key(document: Mapping[str, Any]) -> str:
    """Return the hash of a JSON object, 16 hexadecimal characters."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def read_document(path: Path, format_name: str, version: int) -> dict[str, Any] | None:
    """Read the manifest of an addition; None if there is none. Raises as ``parse_document``."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path} is not UTF-8: {error}") from error
    return parse_document(text, path, format_name, version)


def parse_document(text: str, path: Path | str, format_name: str, version: int) -> dict[str, Any]:
    """Parse the manifest of an addition; ``path`` is for messages.

    Raises
    ------
    ManifestError
        It is not JSON, or of another format.
    UnsupportedVersionError
        It has another version.
    """
    document = parse_json_object(text, path)
    if document.get("format") != format_name:
        raise ManifestError(
            f"{path}: expected format {format_name!r}, found {document.get('format')!r}"
        )
    if document.get("version") != version:
        raise UnsupportedVersionError(
            f"{path}: version {document.get('version')!r} of {format_name}; this package reads "
            f"version {version}: make it again, or use the release that wrote it"
        )
    return document


def replace_file(path: Path, text: str) -> None:
    """Write a synced text file in the place of an older one, in one step."""
    temporary = temporary_path(path)
    try:
        with temporary.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def publish_addition(directory: Path, document: Mapping[str, Any]) -> None:
    """Make ``document["directory"]``, whose files are synced, the state of an addition.

    What the old manifest named is removed, and so is what killed writers left a day ago. Maps of
    removed files stay valid, and who has just read the old manifest reads the new one.
    """
    path = directory / MANIFEST_NAME
    try:
        before = parse_json_object(path.read_text(encoding="utf-8"), path).get("directory")
    except (OSError, ValueError):
        before = None
    replace_file(path, json_text(document))
    sync_directory(directory.parent)
    for entry in directory.iterdir():
        if entry.name in (MANIFEST_NAME, document["directory"]) or not _OURS.fullmatch(entry.name):
            continue
        with suppress(OSError):
            if entry.name == before or time.time() - entry.stat().st_mtime > _LEFTOVER_AGE_S:
                _remove(entry)


def remove_addition(directory: Path) -> None:
    """Delete an addition: first its manifest, then its files."""
    (directory / MANIFEST_NAME).unlink(missing_ok=True)
    discard(directory)


def _remove(entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)
