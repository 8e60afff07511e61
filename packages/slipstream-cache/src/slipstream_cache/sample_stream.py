"""Reads and encodes samples ahead on a thread pool, and hands them out in their order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple, TypeAlias

from slipstream_cache.encoding import Encoded, EncodedImage, SampleEncoder
from slipstream_cache.part_plan import PartRange
from slipstream_cache.source import Source, sample_bytes

_CHUNKS_IN_PART: Final = 256
_MAX_CHUNK_SAMPLES: Final = 64
_MAX_CHUNK_BYTES: Final = 32 << 20
"""Where the samples of a chunk are much larger than others, it is handed out in pieces."""
_HELD_BYTES: Final = 256 << 20
"""Threads wait with more than this being read, or read and not handed out; all but the one whose
turn it is."""
_FORGOTTEN: Final = 8
"""What a sample is expected to take falls by such a part with every smaller one."""

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
) -> Generator[Chunk, None, None]:
    """Yield the samples of ``parts``, chunk by chunk; to be closed before the pool is shut down.

    The list of a chunk is empty when the next one is asked for.

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
        Chunks that are read or ready at a time. A chunk is 1/256 of a part and at most 64 samples.
        That bounds the memory where samples are of about one size; where they are not, less is
        read ahead, and a chunk comes in pieces.

    Raises
    ------
    FieldTypeError, UnsupportedImageError
        From the encoder, at the turn of the chunk that it concerns.
    """

    held = HeldBytes()

    def read_piece(number: int, samples: range) -> tuple[list[ReadResult], int]:
        """Samples from the first on, until they are many bytes, and those bytes."""
        results: list[ReadResult] = []
        size = 0
        for sample_id in samples:
            if size > _MAX_CHUNK_BYTES:
                break
            read = held.read(number, source, encoder, sample_id)
            if read is None:
                break
            results.append(read[0])
            size += read[1]
        return results, size

    chunks = enumerate(_chunks_of(parts))
    pending: deque[tuple[int, PartRange, range, Future[tuple[list[ReadResult], int]]]] = deque()
    try:
        while True:
            for number, (part, samples) in chunks:
                future = pool.submit(read_piece, number, samples)
                pending.append((number, part, samples, future))
                if len(pending) >= chunks_ahead:
                    break
            if not pending:
                return
            number, part, samples, future = pending.popleft()
            held.begin_turn(number)
            results, size = future.result()
            while True:
                yield Chunk(part, samples.start, results)
                samples = samples[len(results) :]
                results.clear()  # or they would live until the next ones are there
                held.hand_out(size)
                if not samples:
                    break
                results, size = read_piece(number, samples)
    finally:
        held.close()
        for _, _, _, future in pending:
            future.cancel()


class HeldBytes:
    """What is being read, and what was read and not handed out; threads wait while it is much.

    The thread of the chunk whose turn it is never waits, and a pool takes up chunks in their order:
    so somebody goes on always. Where a source does not tell how large a sample is, it counts like
    the largest one lately; the first one is read alone.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._num_bytes, self._turn, self._is_closed = 0, -1, False
        self._largest: int | None = None

    def read(
        self, number: int, source: Source, encoder: SampleEncoder, sample_id: int
    ) -> tuple[ReadResult, int] | None:
        """Read and encode a sample, when there is room for it.

        Parameters
        ----------
        number : int
            Of its chunk.
        source, encoder, sample_id : Source, SampleEncoder, int
            What to read.

        Returns
        -------
        (list of Encoded or OSError, int) or None
            The sample, and its bytes, which count until `hand_out`. None where nobody wants it any
            more.
        """
        expected = self._begin_read(number, sample_bytes(source, sample_id))
        if expected is None:
            return None
        num_bytes = 0
        try:
            result = _read_sample(source, encoder, sample_id)
            num_bytes = _result_bytes(result)
        finally:
            self._end_read(expected, num_bytes)
        return result, num_bytes

    def hand_out(self, num_bytes: int) -> None:
        """Count bytes no more."""
        with self._changed:
            self._num_bytes -= num_bytes
            self._changed.notify_all()

    def begin_turn(self, number: int) -> None:
        """From now on a chunk is waited for."""
        with self._changed:
            self._turn = number
            self._changed.notify_all()

    def close(self) -> None:
        """Wake up all who wait."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _begin_read(self, number: int, num_bytes: int | None) -> int | None:
        """Wait until a sample may be read; returns what it counts until `_end_read`."""
        with self._changed:
            while not self._is_closed:
                expected = self._largest if num_bytes is None else num_bytes
                expected = _HELD_BYTES if expected is None else expected
                is_little = self._num_bytes + expected <= _HELD_BYTES
                if is_little or not self._num_bytes or number <= self._turn:
                    self._num_bytes += expected
                    return expected
                self._changed.wait()
            return None

    def _end_read(self, expected: int, num_bytes: int) -> None:
        """Count so many bytes that were read in place of those that were expected."""
        with self._changed:
            largest = self._largest or 0
            self._largest = max(num_bytes, largest - -(-largest // _FORGOTTEN))
            self._num_bytes += num_bytes - expected
            if num_bytes < expected:
                self._changed.notify_all()


def _result_bytes(result: ReadResult) -> int:
    """How many bytes a sample takes when it is stored; none if it could not be read."""
    if isinstance(result, OSError):
        return 0
    return sum(
        len(value.image.payload if isinstance(value, EncodedImage) else value) for value in result
    )


def _read_sample(source: Source, encoder: SampleEncoder, sample_id: int) -> ReadResult:
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
