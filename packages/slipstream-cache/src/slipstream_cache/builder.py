"""Builds a cache from a source: samples are streamed into parts, and the manifest goes last.

The bytes depend on the source and the options only. A build that was interrupted goes on after
the last part that it sealed. How things become visible is in ``publish``.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from slipstream_cache import layout
from slipstream_cache.cache import SampleCache
from slipstream_cache.encoding import Encoded, EncodedImage, SampleEncoder
from slipstream_cache.errors import (
    CacheError,
    CacheExistsError,
    CacheNotFoundError,
    CacheWriteError,
    SourceReadError,
)
from slipstream_cache.field_types import select_fields, validate_fields
from slipstream_cache.layout import MANIFEST_NAME, Condition
from slipstream_cache.locations import cache_key
from slipstream_cache.manifest import (
    ImageCounts,
    Manifest,
    PartInfo,
    SourceInfo,
    fields_to_json,
    part_name,
    read_manifest,
)
from slipstream_cache.publish import (
    build_lock,
    claim_directory,
    discard,
    publish_file,
    read_sealed_part,
    remove_leftovers,
    seal_part,
    temporary_path,
)
from slipstream_cache.sample_stream import CHUNK_SAMPLES, ReadResult, stream_samples
from slipstream_cache.source import Source, StorageOptions, Transcode
from slipstream_cache.writers import PartWriter

_logger = logging.getLogger(__name__)

_CHUNKS_PER_WORKER: Final = 2
_MAX_WORKERS: Final = 32
_NAMED_SAMPLES: Final = 20

_Problems = list[dict[str, Any]]


def build(
    source: Source,
    cache_dir: str | os.PathLike[str],
    *,
    options: StorageOptions = StorageOptions(),  # noqa: B008  (frozen)
    transcode: Transcode | None = None,
    num_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
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
        Threads that read; by default two for each processor that this process may use.
    progress : callable, optional
        Called as ``progress(samples done, samples in all)`` from this thread.

    Returns
    -------
    SampleCache
        The published cache.

    Raises
    ------
    SourceReadError
        The source failed to read samples. All others were tried; the cache is not published.
    UnsupportedImageError
        An image needs a transcode and none was given.
    FieldNameError, FieldTypeError, FieldNotFoundError
        The source's fields cannot be stored, or a value does not fit its field.
    CacheExistsError
        The directory holds something else; nothing in it was changed.
    CacheWriteError
        No space, no permission, or a read-only file system. Sealed parts are kept.

    Notes
    -----
    Images that are damaged or unreadable are stored as they are, flagged (``Condition``), and
    reported in one warning of this module's logger. Several processes may build one cache at the
    same time, and an interrupted build goes on after its last sealed part.
    """
    key = cache_key(source.fingerprint(), options)
    directory = Path(cache_dir).absolute()
    cache = _open_published(directory, key)
    if cache is not None:
        return cache
    if num_workers is not None and num_workers < 1:
        raise ValueError(f"num_workers is {num_workers}; expected at least 1")
    run = _Build(source, directory, key, options, transcode, progress)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with build_lock(directory):
            return run.run(num_workers or min(_MAX_WORKERS, 2 * _usable_processors()))
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
        self,
        source: Source,
        cache_dir: Path,
        key: str,
        options: StorageOptions,
        transcode: Transcode | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._source, self._cache_dir, self._key = source, cache_dir, key
        self._options, self._progress = options, progress
        self._fields = select_fields(source.field_types, options.fields)
        validate_fields(self._fields)
        self._encoder = SampleEncoder(source, self._fields, options, transcode)
        self._num_samples = len(source)
        self._problems: _Problems = []

    def run(self, num_workers: int) -> SampleCache:
        """Write what is missing, publish, and open."""
        cache = _open_published(self._cache_dir, self._key)
        if cache is not None:
            remove_leftovers(self._cache_dir)
            return cache
        journal = {
            "key": self._key,
            "num_samples": self._num_samples,
            "fields": fields_to_json(self._fields),
        }
        claim_directory(self._cache_dir, journal)
        try:
            pool = ThreadPoolExecutor(num_workers, "slipstream-build")
            try:
                parts = self._write_parts(pool, _CHUNKS_PER_WORKER * num_workers)
            finally:
                pool.shutdown(cancel_futures=True)
            self._publish(parts)
        except OSError:
            # Another builder that shares no lock with us may have published, and cleaned up.
            cache = _open_published(self._cache_dir, self._key)
            if cache is None:
                raise
            return cache
        return SampleCache.open(self._cache_dir)

    def _write_parts(self, pool: ThreadPoolExecutor, chunks_ahead: int) -> list[PartInfo]:
        parts: list[PartInfo] = []
        first = 0
        position = -1
        samples: Iterator[tuple[int, ReadResult]] = iter(())
        while first < self._num_samples:
            directory = self._cache_dir / part_name(len(parts))
            part = self._sealed_part(directory, first)
            if part is None:
                if position != first:
                    samples = stream_samples(self._source, self._encoder, pool, first, chunks_ahead)
                part, position = self._write_part(directory, first, samples)
            parts.append(part)
            first += part.num_samples
            self._report(first)
        return parts

    def _sealed_part(self, directory: Path, first: int) -> PartInfo | None:
        """The part if somebody sealed it already; a broken one is removed."""
        sealed = read_sealed_part(directory, self._fields)
        if sealed is None or sealed[0].first_sample != first or sealed[0].num_samples == 0:
            if directory.exists():
                _logger.warning("%s is not whole: it is built again", directory)
                discard(directory)
            return None
        part, problems = sealed
        self._problems += problems
        return part

    def _write_part(
        self, directory: Path, first: int, samples: Iterator[tuple[int, ReadResult]]
    ) -> tuple[PartInfo, int]:
        """Write and seal the part that begins at ``first``; also the next sample to be read."""
        temporary = temporary_path(directory)
        temporary.mkdir()
        try:
            writer = PartWriter(temporary, self._fields)
            try:
                problems = self._fill(writer, first, samples)
                files = writer.finish()
            finally:
                writer.abandon()
            part = PartInfo(directory.name, first, writer.num_samples, files, self._count(problems))
            sealed = seal_part(temporary, part, problems)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        position = first + writer.num_samples
        if sealed is None:
            shutil.rmtree(temporary, ignore_errors=True)
            theirs = self._sealed_part(directory, first)
            if theirs is None:
                raise CacheExistsError(f"{directory} appeared during the build and is not ours")
            return theirs, position
        self._problems += problems
        return sealed, position

    def _fill(
        self, writer: PartWriter, first: int, samples: Iterator[tuple[int, ReadResult]]
    ) -> _Problems:
        problems: _Problems = []
        for sample_id, result in samples:
            if isinstance(result, OSError):
                raise self._read_failure(sample_id, result, samples) from result
            writer.add(result)
            problems += self._problems_of(sample_id, result)
            if (
                writer.num_samples >= layout.MAX_PART_SAMPLES
                or writer.num_bytes >= layout.MAX_PART_BYTES
            ):
                break
            if writer.num_samples % CHUNK_SAMPLES == 0:
                self._report(first + writer.num_samples)
        return problems

    def _read_failure(
        self, sample_id: int, error: OSError, samples: Iterator[tuple[int, ReadResult]]
    ) -> SourceReadError:
        """Try all the remaining samples, so that one error names all that fail."""
        failed = [(sample_id, error)]
        num_failed = 1
        for other_id, result in samples:
            if isinstance(result, OSError):
                num_failed += 1
                if len(failed) < _NAMED_SAMPLES:
                    failed.append((other_id, result))
            self._report(other_id)
        lines = [f"  {i}: {self._source.describe(i)}: {e}" for i, e in failed]
        if num_failed > len(failed):
            lines.append(f"  ... and {num_failed - len(failed)} more")
        text = "\n".join(lines)
        return SourceReadError(
            f"{num_failed} of {self._num_samples} samples of {self._source.uri} cannot be read; "
            f"repair or remove them and build again:\n{text}",
            [i for i, _ in failed],
        )

    def _problems_of(self, sample_id: int, sample: list[Encoded]) -> _Problems:
        return [
            {
                "sample": sample_id,
                "field": name,
                "condition": Condition(value.image.condition).name,
                "problem": value.image.problem or "",
            }
            for name, value in zip(self._fields, sample, strict=True)
            if isinstance(value, EncodedImage) and value.image.condition != Condition.SOUND
        ]

    def _count(self, problems: _Problems) -> dict[str, ImageCounts]:
        found = [(problem["field"], problem["condition"]) for problem in problems]
        return {
            name: ImageCounts(
                found.count((name, Condition.DAMAGED.name)),
                found.count((name, Condition.UNREADABLE.name)),
            )
            for name, spec in self._fields.items()
            if spec.kind == "image"
        }

    def _publish(self, parts: list[PartInfo]) -> None:
        source = self._source
        manifest = Manifest(
            key=self._key,
            num_samples=self._num_samples,
            source=SourceInfo(source.uri, source.kind, source.fingerprint()),
            options=self._options,
            fields=self._fields,
            parts=tuple(parts),
        )
        publish_file(self._cache_dir / MANIFEST_NAME, manifest.to_json())
        remove_leftovers(self._cache_dir)
        if self._problems:
            named = self._problems[:_NAMED_SAMPLES]
            lines = [
                f"  {p['sample']}: {source.describe(p['sample'])}: {p['field']} "
                f"{p['condition'].lower()}: {p['problem']}"
                for p in named
            ]
            if len(self._problems) > len(named):
                lines.append(f"  ... and {len(self._problems) - len(named)} more")
            _logger.warning(
                "%d images of %s are damaged or unreadable; they are stored as they are:\n%s",
                len(self._problems),
                source.uri,
                "\n".join(lines),
            )

    def _report(self, num_done: int) -> None:
        if self._progress is not None:
            self._progress(num_done, self._num_samples)


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


def _usable_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
