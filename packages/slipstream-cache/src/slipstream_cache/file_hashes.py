"""Hashes of large source files, computed once per node and remembered beside the caches.

They are 128 bits of XXH3, ten times as fast as a cryptographic hash: they tell contents apart, and
guard against nobody.

A hash is remembered for a path together with the size, modification time and inode that the file
had; nothing but the hash of the content ever goes into a fingerprint.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import xxhash

from slipstream_cache.errors import SourceReadError
from slipstream_cache.locations import default_cache_root
from slipstream_cache.publish import build_lock, temporary_path

_logger = logging.getLogger(__name__)

_FOLDER: Final = "file-hashes"
_RECIPE: Final = "xxh3_128"
_HASH_CHARACTERS: Final = 32
_BLOCK_BYTES: Final = 1 << 18
_SETTLED_NS: Final = 2_000_000_000
"""A younger file may still change without a new time: file systems count in steps of up to 2 s."""


def hash_of_file(path: str | os.PathLike[str], *, cache_root: Path | None = None) -> str:
    """Return the XXH3 of a file's bytes, of 128 bits.

    It is read only if it has changed since it was hashed last. Processes that ask at the same time
    wait for the first one.

    Parameters
    ----------
    path : path
        The file.
    cache_root : Path, optional
        Directory of the caches, in whose folder ``file-hashes`` hashes are remembered; by default
        ``default_cache_root()``. Where it cannot be written nothing is remembered.

    Returns
    -------
    str
        32 hexadecimal characters.

    Raises
    ------
    SourceReadError
        The file changed while it was read.
    OSError
        It cannot be read.
    """
    file = Path(path).resolve()
    name = hashlib.sha256(os.fsencode(file)).hexdigest()[:32]
    memo = (cache_root or default_cache_root()) / _FOLDER / f"{name}.json"
    state = _state(file)
    known = _recall(memo, state)
    if known is not None:
        return known
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _logger.debug("hashes are not remembered: %s", error)
    with build_lock(memo):
        known = _recall(memo, state)
        if known is not None:
            return known
        digest = _hash(file)
        if _state(file) != state:
            raise SourceReadError(f"{file} was changed while it was read: try again")
        if time.time_ns() - state["mtime_ns"] > _SETTLED_NS:
            _remember(memo, {**state, _RECIPE: digest})
    return digest


def _state(file: Path) -> dict[str, Any]:
    status = file.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}


def _recall(memo: Path, state: dict[str, Any]) -> str | None:
    try:
        found = json.loads(memo.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or {**found, **state} != found:
        return None
    digest = found.get(_RECIPE)
    return digest if isinstance(digest, str) and len(digest) == _HASH_CHARACTERS else None


def _remember(memo: Path, document: dict[str, Any]) -> None:
    temporary = temporary_path(memo)
    try:
        temporary.write_text(json.dumps(document), encoding="utf-8")
        temporary.replace(memo)
    except OSError as error:
        _logger.debug("the hash in %s is not remembered: %s", memo, error)
        with suppress(OSError):
            temporary.unlink()


def content_hash() -> xxhash.xxh3_128:
    """A new hash of content, to be given bytes by ``update``."""
    return xxhash.xxh3_128()


def _hash(file: Path) -> str:
    digest = content_hash()
    block = memoryview(bytearray(_BLOCK_BYTES))
    with file.open("rb", buffering=0) as data:
        while count := data.readinto(block):
            digest.update(block[:count])
    return digest.hexdigest()
