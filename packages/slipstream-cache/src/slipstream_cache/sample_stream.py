"""Reads and encodes samples ahead on a thread pool, and hands them out in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple, TypeAlias

from slipstream_cache.encoding import Encoded, SampleEncoder
from slipstream_cache.part_plan import PartRange
from slipstream_cache.source import Source

_CHUNKS_IN_PART: Final = 256
_MAX_CHUNK_SAMPLES: Final = 64

ReadResult: TypeAlias = "list[Encoded] | OSError"
"""A sample's encoded values, or why the source could not read it."""


class Chunk(NamedTuple):
    """Consecutive samples of one part."""

    part: PartRange
    first_sample: int
    results: list[ReadResult]


def stream_chunks(
    source: Source,
    encoder: SampleEncoder,
    pool: ThreadPoolExecutor,
    parts: Iterable[PartRange],
    chunks_ahead: int,
) -> Iterator[Chunk]:
    """Yield the samples of ``parts``, chunk by chunk.

    Parameters
    ----------
    source : Source
        Read from the pool's threads.
    encoder : SampleEncoder
        Encodes what was read.
    pool : ThreadPoolExecutor
        Does both.
    parts : iterable of PartRange
        What to read; taken one by one, shortly before its first sample is read.
    chunks_ahead : int
        Chunks that are read or ready at a time. A chunk is 1/256 of a part and at most 64 samples:
        that bounds the memory.

    Raises
    ------
    FieldTypeError, UnsupportedImageError
        From the encoder, at the turn of the chunk that it concerns.
    """

    def read_chunk(samples: range) -> list[ReadResult]:
        return [read_sample(source, encoder, sample_id) for sample_id in samples]

    chunks = _chunks_of(parts)
    pending: deque[tuple[PartRange, int, Future[list[ReadResult]]]] = deque()
    try:
        while True:
            for part, samples in chunks:
                pending.append((part, samples.start, pool.submit(read_chunk, samples)))
                if len(pending) >= chunks_ahead:
                    break
            if not pending:
                return
            part, first, future = pending.popleft()
            yield Chunk(part, first, future.result())
    finally:
        for _, _, future in pending:
            future.cancel()


def read_sample(source: Source, encoder: SampleEncoder, sample_id: int) -> ReadResult:
    """Read and encode one sample; a read error is returned, others are raised."""
    try:
        sample = source[sample_id]
    except OSError as error:
        return error
    return encoder.encode(sample_id, sample)


def _chunks_of(parts: Iterable[PartRange]) -> Iterator[tuple[PartRange, range]]:
    for part in parts:
        step = min(_MAX_CHUNK_SAMPLES, -(-part.num_samples // _CHUNKS_IN_PART))
        for start in range(part.first_sample, part.end, step):
            yield part, range(start, min(start + step, part.end))
