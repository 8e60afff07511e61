"""Steps that make files visible: each happens wholly or not at all, and never replaces anything.

All of them are correct without locks, on several hosts at once; ``build_lock`` only keeps a
second builder from doing the same work.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from slipstream_cache.errors import CacheExistsError, ManifestError
from slipstream_cache.layout import (
    FORMAT_NAME,
    FORMAT_VERSION,
    JOURNAL_NAME,
    MANIFEST_NAME,
    PART_MANIFEST_NAME,
)
from slipstream_cache.manifest import (
    FileInfo,
    PartInfo,
    check_part,
    json_text,
    parse_json_object,
    part_from_json,
    part_to_json,
)
from slipstream_cache.source import FieldSpec

_logger = logging.getLogger(__name__)

JOB_NAME: Final = "build.job"
_LEFTOVER: Final = re.compile(r"(part-\d{5,}|manifest\.json|build\.json|build\.job)\.[0-9a-f]{12}")


@contextmanager
def build_lock(cache_dir: Path) -> Iterator[None]:
    """Hold ``<cache_dir>.lock`` if the file system can lock; wait while another builder has it."""
    lock = FileLock(f"{cache_dir}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _logger.info("another process builds %s: waiting for it", cache_dir)
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        _logger.debug("building %s without a lock: %s", cache_dir, error)
    try:
        yield
    finally:
        lock.release()


def temporary_path(path: Path) -> Path:
    """Return an unused name beside ``path`` that ``remove_leftovers`` knows."""
    return path.with_name(f"{path.name}.{secrets.token_hex(6)}")


def claim_directory(
    cache_dir: Path, identity: Mapping[str, Any], plan: Callable[[], Mapping[str, Any]]
) -> dict[str, Any]:
    """Make the directory and mark it as ours by a journal, or find that journal in it.

    Parameters
    ----------
    cache_dir : Path
        The cache's directory. Missing parents are made.
    identity : Mapping
        What is built, as JSON values.
    plan : callable
        Returns how it is built, as JSON values; called only where there is no journal yet.

    Returns
    -------
    dict
        The journal, with the plan of whoever was first.

    Raises
    ------
    CacheExistsError
        It holds the journal of another build, or other files and no journal.
    FileNotFoundError
        Another builder has published the cache and removed its journal.
    """
    cache_dir.mkdir(parents=True, exist_ok=True)
    path = cache_dir / JOURNAL_NAME
    identity = {"format": FORMAT_NAME, "version": FORMAT_VERSION, **identity}
    if not path.exists():
        foreign = foreign_entries(cache_dir)
        if foreign and not path.exists() and not (cache_dir / MANIFEST_NAME).exists():
            raise CacheExistsError(
                f"{cache_dir} holds other files ({', '.join(sorted(foreign)[:3])}...) and no "
                "journal of a build; nothing was changed: choose an empty or new directory"
            )
        publish_file(path, json_text({**identity, **plan()}))
    found = parse_json_object(path.read_text(encoding="utf-8"), path)
    expected = json.loads(json.dumps(identity))
    changed = sorted(name for name in expected if found.get(name) != expected[name])
    if changed:
        raise CacheExistsError(
            f"{cache_dir} holds an unfinished build of something else ({', '.join(changed)} "
            "differ); nothing was changed: choose another directory, or delete this one"
        )
    return found


def foreign_entries(cache_dir: Path) -> list[str]:
    """Names in a directory without a journal that no builder of caches has left there."""
    return [entry for entry in os.listdir(cache_dir) if not _LEFTOVER.fullmatch(entry)]


def publish_file(path: Path, text: str) -> None:
    """Write a synced text file under a temporary name and link it; an existing one stays."""
    temporary = temporary_path(path)
    try:
        with temporary.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        name_file(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def name_file(temporary: Path, path: Path) -> bool:
    """Give a synced file its name unless it is taken; returns whether it was free.

    The temporary name may stay.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if path.exists():
            return False
        temporary.rename(path)
    finally:
        sync_directory(path.parent)
    return True


def seal_part(temporary: Path, part: PartInfo, problems: list[dict[str, Any]]) -> PartInfo | None:
    """Turn a complete temporary part directory into ``part``; the first one to do so wins.

    Parameters
    ----------
    temporary : Path
        Directory that holds all files of the part, synced.
    part : PartInfo
        What it holds.
    problems : list of dict
        Its images that are not sound, for ``part.json``.

    Returns
    -------
    PartInfo or None
        None if a part of that name exists already; the temporary directory is left as it is.
    """
    document = {**part_to_json(part), "problems": problems}
    publish_file(temporary / PART_MANIFEST_NAME, json_text(document))
    sealed = temporary.with_name(part.name)
    try:
        temporary.rename(sealed)
    except OSError:
        if sealed.is_dir():
            return None
        raise
    sync_directory(sealed.parent)
    return part


def read_sealed_part(
    directory: Path, fields: Mapping[str, FieldSpec]
) -> tuple[PartInfo, list[dict[str, Any]]] | None:
    """Return a sealed part and its problems; None if there is none, or its files are not whole."""
    path = directory / PART_MANIFEST_NAME
    try:
        document = parse_json_object(path.read_text(encoding="utf-8"), path)
        part = part_from_json(directory.name, document)
        check_part(part, fields)
        problems = list(document["problems"])
        if all(_has_size(directory / name, info) for name, info in part.files.items()):
            return part, problems
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ManifestError, KeyError, TypeError, ValueError, AttributeError) as error:
        _logger.warning("%s: %s", path, error)
    return None


def discard(directory: Path) -> None:
    """Remove a directory of ours, out of the way first, so that nobody sees half of it."""
    doomed = temporary_path(directory)
    with suppress(FileNotFoundError):
        directory.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def discard_broken_part(directory: Path, fields: Mapping[str, FieldSpec]) -> None:
    """Remove a part that is not whole, unless somebody has just put a whole one there."""
    doomed = temporary_path(directory)
    try:
        directory.rename(doomed)
    except FileNotFoundError:
        return
    if read_sealed_part(doomed, fields) is not None:
        with suppress(OSError):  # a third builder has sealed the part once more
            doomed.rename(directory)
    shutil.rmtree(doomed, ignore_errors=True)


def names_in_progress(cache_dir: Path) -> set[str]:
    """Names of the parts that somebody is writing, or was when he was killed."""
    found = map(_LEFTOVER.fullmatch, os.listdir(cache_dir))
    return {match[1] for match in found if match}


def has_leftovers(cache_dir: Path) -> bool:
    """Tell whether a published cache holds something that ``remove_leftovers`` would remove."""
    return any(map(_is_leftover, os.listdir(cache_dir)))


def remove_leftovers(cache_dir: Path) -> None:
    """Remove the journal, and what killed builders left, from a published cache."""
    for path in [cache_dir / name for name in os.listdir(cache_dir) if _is_leftover(name)]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def _is_leftover(name: str) -> bool:
    return name == JOURNAL_NAME or _LEFTOVER.fullmatch(name) is not None


def sync_directory(directory: Path) -> None:
    """Make the entries of a directory durable (nothing to do on Windows)."""
    if os.name == "nt":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _has_size(path: Path, info: FileInfo) -> bool:
    return path.is_file() and path.stat().st_size == info.bytes
