"""Reads and encodes samples ahead on a thread pool, and hands them out in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeAlias

from slipstream_cache.encoding import Encoded, SampleEncoder
from slipstream_cache.source import Source

CHUNK_SAMPLES: Final = 8
"""Samples that a thread reads at a time."""

ReadResult: TypeAlias = "list[Encoded] | OSError"
"""A sample's encoded values, or why the source could not read it."""


def stream_samples(
    source: Source,
    encoder: SampleEncoder,
    pool: ThreadPoolExecutor,
    first: int,
    chunks_ahead: int,
) -> Iterator[tuple[int, ReadResult]]:
    """Yield (sample id, result) from sample ``first`` to the last.

    Parameters
    ----------
    source : Source
        Read from the pool's threads.
    encoder : SampleEncoder
        Encodes what was read.
    pool : ThreadPoolExecutor
        Does both.
    first : int
        Sample to begin with.
    chunks_ahead : int
        Chunks of ``CHUNK_SAMPLES`` that are read or ready at a time: the bound on memory.

    Raises
    ------
    FieldTypeError, UnsupportedImageError
        From the encoder, at the turn of the sample that it concerns.
    """

    def read_chunk(start: int) -> list[ReadResult]:
        results: list[ReadResult] = []
        for sample_id in range(start, min(start + CHUNK_SAMPLES, num_samples)):
            try:
                sample = source[sample_id]
            except OSError as error:
                results.append(error)
            else:
                results.append(encoder.encode(sample_id, sample))
        return results

    num_samples = len(source)
    starts = iter(range(first, num_samples, CHUNK_SAMPLES))
    pending: deque[tuple[int, Future[list[ReadResult]]]] = deque()
    try:
        while True:
            for start in starts:
                pending.append((start, pool.submit(read_chunk, start)))
                if len(pending) >= chunks_ahead:
                    break
            if not pending:
                return
            start, future = pending.popleft()
            yield from enumerate(future.result(), start)
    finally:
        for _, future in pending:
            future.cancel()
