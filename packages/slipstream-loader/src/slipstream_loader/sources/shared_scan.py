"""One scan of a folder for all ranks of a node, and never an old one.

A rank takes another one's listing only if that scan began after the rank itself asked for one: then
whatever was in the folder when it asked is in the listing. Ranks that start together so need two
scans, however many they are: the first rank's, and one that began when all others were waiting.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from slipstream_cache.publish import build_lock, temporary_path
from slipstream_loader.sources.file_listing import (
    FileListing,
    keep_listing,
    listing_root,
    load_listing,
)

_logger = logging.getLogger(__name__)

_CLOCKS: Final = ("wall_ns", "since_start_ns")
"""Two clocks: one may be set back, the other begins again with the machine."""


def scan_once_per_node(
    root: Path, scan: Callable[[], FileListing], cache_root: Path | None = None
) -> FileListing:
    """List a folder, or take a listing that another rank has begun after this call.

    Parameters
    ----------
    root : Path
        The folder.
    scan : callable
        Lists it.
    cache_root : Path, optional
        Where listings are kept; default: the caches' root. Where it cannot be written, or cannot be
        locked, each rank scans for itself.
    """
    if _local_ranks() < 2:
        return scan()
    asked = _now()
    place = os.fsencode(root) + b"\0" + platform.node().encode()  # clocks are those of a node
    digest = hashlib.sha256(place).hexdigest()[:32]
    memo = listing_root(cache_root) / f"folder-{digest}.json"
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _logger.debug("the listing of %s is not shared: %s", root, error)
        return scan()
    with build_lock(memo):
        known = _recall(memo)
        if known is not None and all(known.get(clock, 0) >= asked[clock] for clock in _CLOCKS):
            listing = load_listing(memo.parent / str(known.get("directory")))
            if listing is not None:
                return listing
        began = _now()
        directory = memo.with_name(f"folder-{digest}-{secrets.token_hex(6)}")
        listing = keep_listing(directory, scan())
        _remember(memo, {**began, "directory": directory.name})
        if known is not None:
            _remove_listing(memo, str(known.get("directory")))
        return listing


def _local_ranks() -> int:
    """Ranks of this job on this node, as torchrun or srun say; else 1."""
    names = ["LOCAL_WORLD_SIZE"]
    if "SLURM_STEP_ID" in os.environ:
        names.append("SLURM_NTASKS_PER_NODE")
    found = [os.environ[name] for name in names if name in os.environ]
    return int(found[0]) if found and found[0].isdigit() else 1


def _now() -> dict[str, int]:
    return dict(zip(_CLOCKS, (time.time_ns(), time.monotonic_ns()), strict=True))


def _recall(memo: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(memo.read_bytes())
    except (OSError, ValueError):
        return None
    is_whole = isinstance(found, dict) and all(isinstance(found.get(c), int) for c in _CLOCKS)
    return found if is_whole else None


def _remember(memo: Path, facts: Mapping[str, Any]) -> None:
    temporary = temporary_path(memo)
    try:
        temporary.write_text(json.dumps(facts), encoding="utf-8")
        temporary.replace(memo)
    except OSError as error:
        _logger.debug("%s is not kept: %s", memo, error)
        with suppress(OSError):
            temporary.unlink()


def _remove_listing(memo: Path, name: str) -> None:
    """Remove the listing that was shared before; whoever has opened it keeps it."""
    if name.startswith(f"{memo.stem}-") and "/" not in name:
        shutil.rmtree(memo.parent / name, ignore_errors=True)
