"""Builds a cache from a source: the parts are planned, written where they are missing, published.

The journal fixes the samples of each part before any is written, so anybody may write any part,
and the bytes depend on the source and the options only. An interrupted build goes on with the parts
that are missing. How parts are written is in ``part_builder``, how things become visible in
``publish``.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Final

from slipstream_cache.cache import SampleCache
from slipstream_cache.errors import (
    CacheError,
    CacheExistsError,
    CacheNotFoundError,
    CacheWriteError,
    ManifestError,
    SourceReadError,
)
from slipstream_cache.executor_build import write_parts_on
from slipstream_cache.field_types import select_fields, validate_fields
from slipstream_cache.layout import MANIFEST_NAME
from slipstream_cache.locations import cache_key
from slipstream_cache.manifest import Manifest, SourceInfo, fields_to_json, read_manifest
from slipstream_cache.part_builder import (
    NAMED_SAMPLES,
    BuildJob,
    PartResult,
    ReadFailures,
    SealedPart,
    find_read_failures,
    find_sealed_part,
    measure_samples,
    write_parts,
)
from slipstream_cache.part_plan import PartRange, split_samples
from slipstream_cache.processors import usable_processors
from slipstream_cache.publish import (
    build_lock,
    claim_directory,
    has_leftovers,
    publish_file,
    remove_leftovers,
)
from slipstream_cache.source import Source, StorageOptions, Transcode, release

_logger = logging.getLogger(__name__)

_MAX_THREADS: Final = 32
_TASK_THREADS: Final = 4
_PLAN: Final = "samples_per_part"


def build(
    source: Source,
    cache_dir: str | os.PathLike[str],
    *,
    options: StorageOptions = StorageOptions(),  # noqa: B008  (frozen)
    transcode: Transcode | None = None,
    num_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    executor: Executor | None = None,
) -> SampleCache:
    """Store all samples of a source in a cache, or open it if that was done before.

    Parameters
    ----------
    source : Source
        The samples.
    cache_dir : path
        Directory of the cache, by custom ``<root>/slipcache-<key>``; its parents are made.
    options : StorageOptions
        How samples are stored; with the source's fingerprint they make the cache's key.
    transcode : Transcode, optional
        Stores images that are not plain JPEGs. It is called from several threads.
    num_workers : int, optional
        Threads that read; by default two for each processor that this process may use. With an
        executor, the threads of each of its tasks; by default 4.
    progress : callable, optional
        Called as ``progress(samples done, samples in all)`` from this thread.
    executor : concurrent.futures.Executor, optional
        Where the parts are written, one task each: processes
        (``concurrent.futures.ProcessPoolExecutor``), or several machines that share the directory
        (``dask.distributed.Client(...).get_executor()``, ``mpi4py.futures.MPIPoolExecutor``). The
        source and the transcode must be picklable. By default threads of this process.

    Returns
    -------
    SampleCache
        The published cache.

    Raises
    ------
    SourceReadError
        The source failed to read samples, and all others were tried; or its fingerprint is another
        one after it was read. The cache is not published.
    UnsupportedImageError
        An image needs a transcode and none was given.
    FieldNameError, FieldTypeError, FieldNotFoundError
        The source's fields cannot be stored, or a value does not fit its field.
    CacheExistsError
        The directory holds something else; nothing in it was changed.
    CacheWriteError
        No space, no permission, or a read-only file system. Sealed parts are kept.
    BuildWorkerError
        A worker of the executor died, or cannot get the source. Sealed parts are kept.

    Notes
    -----
    Images that are damaged or unreadable are stored as they are, flagged (``Condition``), and
    reported in one warning of this module's logger. Several processes on several machines may build
    one cache at the same time: they share the work where they see one another's files. An
    interrupted build goes on with the parts that are not sealed. To plan the parts, the samples
    whose sizes are measured (at most 64) are read once more.
    """
    key = cache_key(source.fingerprint(), options)
    directory = Path(cache_dir).absolute()
    cache = _open_published(directory, key)
    if cache is not None and not has_leftovers(directory):
        return cache
    if num_workers is not None and num_workers < 1:
        raise ValueError(f"num_workers is {num_workers}; expected at least 1")
    default = min(_MAX_THREADS, 2 * usable_processors()) if executor is None else _TASK_THREADS
    fields = select_fields(source.field_types, options.fields)
    validate_fields(fields)
    job = BuildJob(source, directory, fields, options, transcode, num_workers or default)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with build_lock(directory):
            try:
                return _Build(job, key, progress).run(executor)
            finally:
                release(source)
    except CacheError:
        raise
    except OSError as error:
        raise CacheWriteError(
            f"cannot write the cache {directory}: {error}; parts that are complete stay and the "
            "next build goes on after them"
        ) from error


class _Build:
    """One run of a build."""

    def __init__(
        self, job: BuildJob, key: str, progress: Callable[[int, int], None] | None
    ) -> None:
        self._job, self._key, self._progress = job, key, progress
        self._num_samples, self._num_done = len(job.source), 0

    def run(self, executor: Executor | None) -> SampleCache:
        """Write what is missing, publish, and open."""
        cache_dir = self._job.cache_dir
        cache = _open_published(cache_dir, self._key)
        if cache is not None:
            remove_leftovers(cache_dir)
            return cache
        try:
            parts = self._plan()
            self._publish(self._sealed(parts, executor))
        except OSError:
            # Another builder that shares no lock with us may have published, and cleaned up.
            cache = _open_published(cache_dir, self._key)
            if cache is None:
                raise
            return cache
        return SampleCache.open(cache_dir)

    def _plan(self) -> list[PartRange]:
        """The parts, as whoever began the build has fixed them."""
        identity = {
            "key": self._key,
            "num_samples": self._num_samples,
            "fields": fields_to_json(self._job.fields),
        }
        journal = claim_directory(self._job.cache_dir, identity, self._new_plan)
        samples_per_part = journal.get(_PLAN)
        if type(samples_per_part) is not int or samples_per_part < 1:
            raise ManifestError(
                f"the journal in {self._job.cache_dir} has {_PLAN} {samples_per_part!r}; delete "
                "the directory and build again"
            )
        return split_samples(self._num_samples, samples_per_part)

    def _new_plan(self) -> dict[str, int]:
        samples_per_part = measure_samples(self._job)
        if samples_per_part is None:
            self._raise_unless_readable([find_read_failures(self._job, self._report)])
            raise SourceReadError(
                f"samples of {self._job.source.uri} could not be read the first time, but now they "
                "can: build again"
            )
        return {_PLAN: samples_per_part}

    def _sealed(self, parts: list[PartRange], executor: Executor | None) -> list[SealedPart]:
        """All parts in their order, after writing those that are missing."""
        sealed = {part: find_sealed_part(self._job, part) for part in parts}
        missing = [part for part, found in sealed.items() if found is None]
        self._report(self._num_samples - sum(part.num_samples for part in missing))
        results: list[PartResult]
        if not missing:
            results = []
        elif executor is None:
            results = write_parts(self._job, missing, self._report)
        else:
            results = write_parts_on(executor, self._job, missing, self._report)
        self._raise_unless_readable(results)
        found = [*sealed.values(), *results]
        records = [part for part in found if isinstance(part, SealedPart)]
        return sorted(records, key=lambda part: part.info.first_sample)

    def _raise_unless_readable(self, results: list[PartResult]) -> None:
        """Raise one error for all samples that could not be read."""
        failures = [found for found in results if isinstance(found, ReadFailures) and found.named]
        if not failures:
            return
        source = self._job.source
        num_failed = sum(failure.num_failed for failure in failures)
        named = sorted(entry for failure in failures for entry in failure.named)[:NAMED_SAMPLES]
        lines = [f"  {i}: {_with_name(source.describe(i), error)}" for i, error in named]
        if num_failed > len(named):
            lines.append(f"  ... and {num_failed - len(named)} more")
        text = "\n".join(lines)
        raise SourceReadError(
            f"{num_failed} of {self._num_samples} samples of {source.uri} cannot be read; "
            f"repair or remove them and build again:\n{text}",
            [i for i, _ in named],
        ) from failures[0].cause

    def _publish(self, parts: list[SealedPart]) -> None:
        source = self._job.source
        fingerprint = source.fingerprint()
        if cache_key(fingerprint, self._job.options) != self._key:
            for part in parts:  # or a later build of what was there before would take them
                shutil.rmtree(self._job.cache_dir / part.info.name, ignore_errors=True)
            raise SourceReadError(f"{source.uri} was changed while it was read: build again")
        manifest = Manifest(
            key=self._key,
            num_samples=self._num_samples,
            source=SourceInfo(source.uri, source.kind, fingerprint),
            options=self._job.options,
            fields=self._job.fields,
            parts=tuple(part.info for part in parts),
        )
        publish_file(self._job.cache_dir / MANIFEST_NAME, manifest.to_json())
        remove_leftovers(self._job.cache_dir)
        problems = [problem for part in parts for problem in part.problems]
        if problems:
            named = problems[:NAMED_SAMPLES]
            lines = [
                f"  {p['sample']}: {source.describe(p['sample'])}: {p['field']} "
                f"{p['condition'].lower()}: {p['problem']}"
                for p in named
            ]
            if len(problems) > len(named):
                lines.append(f"  ... and {len(problems) - len(named)} more")
            _logger.warning(
                "%d images of %s are damaged or unreadable; they are stored as they are:\n%s",
                len(problems),
                source.uri,
                "\n".join(lines),
            )

    def _report(self, num_new: int) -> None:
        self._num_done += num_new
        if self._progress is not None:
            self._progress(self._num_done, self._num_samples)


def _with_name(name: str, error: str) -> str:
    """A message that begins with the name of its sample; many do already."""
    return error if error.startswith(name) else f"{name}: {error}"


def _open_published(cache_dir: Path, key: str) -> SampleCache | None:
    try:
        manifest = read_manifest(cache_dir)
    except CacheNotFoundError:
        return None
    if manifest.key != key:
        raise CacheExistsError(
            f"{cache_dir} holds the cache {manifest.key} of {manifest.source.uri}, not {key}; "
            "nothing was changed: choose another directory"
        )
    return SampleCache.open(cache_dir)
