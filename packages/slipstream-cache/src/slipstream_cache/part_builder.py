"""Writes the parts of a cache from its source: the work of a build, wherever it is done.

While parts are completed (hashed, synced, sealed) on threads of their own, the next one is written.
"""

from __future__ import annotations

import logging
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final, TypeAlias

from slipstream_cache.encoding import Encoded, EncodedImage, SampleEncoder
from slipstream_cache.errors import CacheExistsError
from slipstream_cache.layout import Condition
from slipstream_cache.manifest import ImageCounts, PartInfo
from slipstream_cache.part_plan import PartRange, choose_samples_per_part, measured_samples
from slipstream_cache.publish import (
    discard_broken_part,
    names_in_progress,
    read_sealed_part,
    seal_part,
    temporary_path,
)
from slipstream_cache.sample_stream import Chunk, HeldBytes, stream_chunks
from slipstream_cache.source import (
    FieldSpec,
    Source,
    StorageOptions,
    Transcode,
    is_sequential,
    mean_sample_bytes,
)
from slipstream_cache.writers import PartWriter

_logger = logging.getLogger(__name__)

NAMED_SAMPLES: Final = 20
"""How many samples a message names."""

_CHUNKS_PER_THREAD: Final = 2
_SEALERS: Final = 4
"""Parts that are synced at a time: a disk does that together in about the time of one."""

Problems: TypeAlias = "list[dict[str, Any]]"
"""Images that are not sound, as in ``part.json``."""


@dataclass(frozen=True)
class BuildJob:
    """All that writing parts needs; it can be pickled if the source and the transcode can."""

    source: Source
    cache_dir: Path
    fields: Mapping[str, FieldSpec]
    options: StorageOptions
    transcode: Transcode | None
    num_threads: int


@dataclass(frozen=True)
class SealedPart:
    """The record of a part that is complete."""

    info: PartInfo
    problems: Problems


@dataclass
class ReadFailures:
    """Samples that the source could not read."""

    num_failed: int = 0
    named: list[tuple[int, str]] = field(default_factory=list)
    """The first ones, with what happened."""
    cause: OSError | None = None
    """What happened to the first one."""

    def add(self, sample_id: int, error: OSError) -> None:
        """Count one more."""
        self.num_failed += 1
        self.cause = self.cause or error
        if len(self.named) < NAMED_SAMPLES:
            self.named.append((sample_id, str(error)))


PartResult: TypeAlias = "SealedPart | ReadFailures"


def write_parts(
    job: BuildJob, wanted: Iterable[PartRange], report: Callable[[int], None]
) -> list[PartResult]:
    """Write and seal parts.

    A part that somebody has sealed in the meantime is taken as it is, and one that somebody seems
    to be writing comes last. A part with samples that cannot be read is left out, after all its
    samples were tried.

    Parameters
    ----------
    job : BuildJob
        What to write, and where.
    wanted : iterable of PartRange
        The parts to write.
    report : callable
        Called with a number of samples whenever so many more are done.

    Returns
    -------
    list of SealedPart or ReadFailures
        One for each part, in any order.
    """
    results: list[PartResult] = []
    encoder = SampleEncoder(job.source, job.fields, job.options, job.transcode)
    sealing: deque[Future[SealedPart]] = deque()
    missing = _missing_parts(job, wanted, results, report)
    ahead = _CHUNKS_PER_THREAD * job.num_threads
    with (
        ThreadPoolExecutor(_SEALERS, "slipstream-seal") as sealer,
        _reader_pool(job) as readers,
        closing(stream_chunks(job.source, encoder, readers, missing, ahead)) as stream,
    ):
        for part, chunks in groupby(stream, key=lambda chunk: chunk.part):
            unsealed = _UnsealedPart(job, part)
            with unsealed.removed_on_error():
                failures = unsealed.fill(chunks, report)
            if failures.num_failed:
                unsealed.remove()
                results.append(failures)
                continue
            sealing.append(sealer.submit(unsealed.seal))
            while len(sealing) > _SEALERS:
                results.append(sealing.popleft().result())
        results += [future.result() for future in sealing]
    return results


def find_sealed_part(job: BuildJob, part: PartRange) -> SealedPart | None:
    """Return a part if it is sealed already; one that is not whole is removed."""
    directory = job.cache_dir / part.name
    existed = directory.exists()
    sealed = read_sealed_part(directory, job.fields)
    if sealed is not None:
        info, problems = sealed
        if (info.first_sample, info.num_samples) == (part.first_sample, part.num_samples):
            return SealedPart(info, problems)
    if existed:
        _logger.warning("%s is not whole: it is built again", directory)
        discard_broken_part(directory, job.fields)
    return None


def measure_samples(job: BuildJob) -> int | None:
    """Return how many samples each part holds, from the sizes of some of them.

    Where the source tells the sizes, and all of them are stored, nothing is read. None if one of
    those to be read cannot be: the result must not depend on a passing failure.
    """
    num_samples, mean = len(job.source), mean_sample_bytes(job.source)
    options = job.options
    is_stored_as_it_is = options.max_size is None and options.codec == "jpeg"
    if mean is not None and is_stored_as_it_is and options.fields is None:
        return choose_samples_per_part(num_samples, [mean])
    encoder = SampleEncoder(job.source, job.fields, job.options, job.transcode)

    def stored_bytes(sample_id: int) -> int | None:
        read = held.read(0, job.source, encoder, sample_id)
        if read is None:
            return None
        result, num_bytes = read
        held.hand_out(num_bytes)
        return None if isinstance(result, OSError) else num_bytes

    with _reader_pool(job) as pool, closing(HeldBytes()) as held:
        measured = measured_samples(num_samples, is_sequential(job.source))
        sizes = list(pool.map(stored_bytes, measured))
    known = [size for size in sizes if size is not None]
    return choose_samples_per_part(num_samples, known) if len(known) == len(sizes) else None


def find_read_failures(job: BuildJob, report: Callable[[int], None]) -> ReadFailures:
    """Read all samples, and write nothing."""
    encoder = SampleEncoder(job.source, job.fields, job.options, job.transcode)
    failures = ReadFailures()
    everything = PartRange(0, 0, len(job.source))
    ahead = _CHUNKS_PER_THREAD * job.num_threads
    with (
        _reader_pool(job) as pool,
        closing(stream_chunks(job.source, encoder, pool, [everything], ahead)) as stream,
    ):
        for chunk in stream:
            for sample_id, result in enumerate(chunk.results, chunk.first_sample):
                if isinstance(result, OSError):
                    failures.add(sample_id, result)
            report(len(chunk.results))
    return failures


class _UnsealedPart:
    """A part that is being written under a temporary name."""

    def __init__(self, job: BuildJob, part: PartRange) -> None:
        self._job, self._part = job, part
        self._problems: Problems = []
        self._directory = temporary_path(job.cache_dir / part.name)
        self._directory.mkdir()
        try:
            self._writer = PartWriter(self._directory, job.fields)
        except BaseException:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise

    def fill(self, chunks: Iterable[Chunk], report: Callable[[int], None]) -> ReadFailures:
        """Write all samples, until one of them could not be read."""
        failures = ReadFailures()
        for chunk in chunks:
            self._write_chunk(chunk, failures)
            report(len(chunk.results))
        return failures

    def seal(self) -> SealedPart:
        """Complete the files and give the part its name; whoever was first to do so wins."""
        with self.removed_on_error():
            files = self._writer.finish()
            part = self._part
            counts = self._counts()
            info = PartInfo(part.name, part.first_sample, part.num_samples, files, counts)
            if seal_part(self._directory, info, self._problems) is not None:
                return SealedPart(info, self._problems)
        self.remove()
        theirs = find_sealed_part(self._job, self._part)
        if theirs is None:
            directory = self._job.cache_dir / self._part.name
            raise CacheExistsError(f"{directory} appeared during the build and is not ours")
        return theirs

    def remove(self) -> None:
        """Close and remove all files."""
        self._writer.abandon()
        shutil.rmtree(self._directory, ignore_errors=True)

    @contextmanager
    def removed_on_error(self) -> Iterator[None]:
        """Leave nothing behind if the body raises."""
        try:
            yield
        except BaseException:
            self.remove()
            raise

    def _write_chunk(self, chunk: Chunk, failures: ReadFailures) -> None:
        for sample_id, result in enumerate(chunk.results, chunk.first_sample):
            if isinstance(result, OSError):
                failures.add(sample_id, result)
            elif not failures.num_failed:
                self._write(sample_id, result)

    def _write(self, sample_id: int, sample: list[Encoded]) -> None:
        self._writer.add(sample)
        for name, value in zip(self._job.fields, sample, strict=True):
            if isinstance(value, EncodedImage) and value.image.condition != Condition.SOUND:
                self._problems.append(
                    {
                        "sample": sample_id,
                        "field": name,
                        "condition": Condition(value.image.condition).name,
                        "problem": value.image.problem or "",
                    }
                )

    def _counts(self) -> dict[str, ImageCounts]:
        found = [(problem["field"], problem["condition"]) for problem in self._problems]
        return {
            name: ImageCounts(
                found.count((name, Condition.DAMAGED.name)),
                found.count((name, Condition.UNREADABLE.name)),
            )
            for name, spec in self._job.fields.items()
            if spec.kind == "image"
        }


def _missing_parts(
    job: BuildJob,
    wanted: Iterable[PartRange],
    results: list[PartResult],
    report: Callable[[int], None],
) -> Iterator[PartRange]:
    """Yield what is still to be written at that time; the others are added to ``results``."""
    waiting = list(wanted)
    while waiting:
        busy = names_in_progress(job.cache_dir)
        part = next((part for part in waiting if part.name not in busy), waiting[0])
        waiting.remove(part)
        sealed = find_sealed_part(job, part)
        if sealed is None:
            yield part
        else:
            results.append(sealed)
            report(part.num_samples)


@contextmanager
def _reader_pool(job: BuildJob) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(job.num_threads, "slipstream-read")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
