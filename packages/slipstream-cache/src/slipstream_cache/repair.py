"""Puts whole files in the place of damaged ones: parts are made again from the source."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from slipstream_cache.additions import remove_addition
from slipstream_cache.cache import SampleCache
from slipstream_cache.derived import DERIVED_DIRECTORY
from slipstream_cache.errors import CacheError, CacheWriteError, RepairError
from slipstream_cache.integrity import Report
from slipstream_cache.layout import MANIFEST_NAME
from slipstream_cache.manifest import PartInfo
from slipstream_cache.part_builder import (
    BuildJob,
    ReadFailures,
    SealedPart,
    find_sealed_part,
    write_parts,
)
from slipstream_cache.part_plan import PartRange
from slipstream_cache.publish import build_lock, discard, sync_directory, temporary_path
from slipstream_cache.source import Source, Transcode
from slipstream_cache.stats_files import STATS_DIRECTORY
from slipstream_cache.value_index import INDEX_DIRECTORY

_THREADS: Final = 4


def repair(
    report: Report,
    source: Source,
    *,
    transcode: Transcode | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Repair what ``verify`` found: damaged parts of the cache, and of what was added to it.

    The samples of each damaged part are read and stored again, and only bytes that are those of
    the manifest replace the damaged files. Damaged parts of derived fields, and indexes and
    statistics, are removed, so that the next ``derive``, ``write_index`` or ``write_stats`` makes
    them again.

    Parameters
    ----------
    report : Report
        What ``verify`` returned; with ``level="full"`` if changed bytes are to be repaired too.
    source : Source
        What the cache was built from.
    transcode : Transcode, optional
        As for ``build``: the same one, from libraries of the same version.
    progress : callable, optional
        Called as ``progress(samples done, samples in all)`` from this thread.

    Returns
    -------
    list of Path
        The directories and files that were repaired or removed.

    Raises
    ------
    RepairError
        The source is another one, fails to read, or does not give the bytes of the manifest any
        more; or the cache's own manifest is damaged. No part was changed.
    CacheWriteError
        A file could not be replaced.
    """
    damaged_parts = report.damaged_parts
    try:
        removed = _remove_additions(report)
        if not damaged_parts:
            return removed
        cache = SampleCache.open(report.cache_dir)
        _check_source(cache, source)
        parts = [part for part in cache.manifest.parts if part.name in damaged_parts]
        with build_lock(cache.cache_dir):  # a build removes what looks like a killed one's part
            return [*removed, *_rebuild(cache, source, transcode, parts, progress)]
    except CacheError:
        raise
    except OSError as error:
        raise CacheWriteError(f"cannot repair {report.cache_dir}: {error}") from error


def _remove_additions(report: Report) -> list[Path]:
    """Remove what is damaged of derived fields, indexes and statistics."""
    removed: set[Path] = set()
    for problem in report.problems:
        place = problem.path.relative_to(report.cache_dir).parts
        if place[0] == STATS_DIRECTORY:
            problem.path.unlink(missing_ok=True)
            removed.add(problem.path)
        elif place[0] == INDEX_DIRECTORY:
            removed.add(report.cache_dir / place[0] / place[1])
            remove_addition(report.cache_dir / place[0] / place[1])
        elif place[0] == DERIVED_DIRECTORY:
            (report.cache_dir / place[0] / place[1] / MANIFEST_NAME).unlink(missing_ok=True)
            removed.add(problem.path.parent)
            if problem.path.name != MANIFEST_NAME:
                discard(problem.path.parent)
    return sorted(removed)


def _check_source(cache: SampleCache, source: Source) -> None:
    stored, fingerprint = cache.manifest.source, source.fingerprint()
    if fingerprint != stored.fingerprint or len(source) != len(cache):
        raise RepairError(
            f"{source.uri} (fingerprint {fingerprint}, {len(source)} samples) is not what "
            f"{cache.cache_dir} was built from: {stored.uri} (fingerprint {stored.fingerprint}, "
            f"{len(cache)} samples)"
        )


def _rebuild(
    cache: SampleCache,
    source: Source,
    transcode: Transcode | None,
    parts: list[PartInfo],
    progress: Callable[[int, int], None] | None,
) -> list[Path]:
    """Write the parts beside the damaged ones, compare, and replace file by file."""
    total = sum(part.num_samples for part in parts)
    done = 0

    def report(num_samples: int) -> None:
        nonlocal done
        done += num_samples
        if progress is not None:
            progress(done, total)

    temporary = temporary_path(cache.cache_dir / parts[0].name)
    temporary.mkdir()
    try:
        manifest = cache.manifest
        job = BuildJob(source, temporary, manifest.fields, manifest.options, transcode, _THREADS)
        wanted = {
            PartRange(k, part.first_sample, part.num_samples): part for k, part in enumerate(parts)
        }
        for result in write_parts(job, wanted, report):
            if isinstance(result, ReadFailures):
                raise RepairError(f"{source.uri} cannot be read: {result.named}") from result.cause
        for new, part in wanted.items():
            _check_same(cache.cache_dir / part.name, find_sealed_part(job, new), part)
        for new, part in wanted.items():
            _replace_files(temporary / new.name, cache.cache_dir / part.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return [cache.cache_dir / part.name for part in parts]


def _check_same(directory: Path, made: SealedPart | None, part: PartInfo) -> None:
    files = made.info.files if made else {}
    changed = sorted(name for name, info in part.files.items() if files.get(name) != info)
    if changed:
        raise RepairError(
            f"{directory} cannot be repaired: the source gives other bytes than it did for "
            f"{', '.join(changed)} (changed images, or another version of the library that "
            "stores images again); build the cache again in another directory"
        )


def _replace_files(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for path in sorted(source.iterdir()):
        place = target / path.name
        if place.is_dir():
            discard(place)
        path.replace(place)
    sync_directory(target)
