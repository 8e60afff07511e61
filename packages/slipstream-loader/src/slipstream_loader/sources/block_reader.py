"""Single samples out of data that is read in blocks, forward, by several threads at a time.

A *block* is a run of consecutive samples that come together: a stretch of an archive, a row group.
A *stream* is a run of blocks that only come one after another, such as all of a compressed archive.
Threads that go forward together, as those of a build do, find what they need among the blocks that
were read last; a step back opens the stream again. While they use one block, the next is read.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from slipstream_loader.after_fork import restart_now_and_after_fork

T = TypeVar("T")

_KEPT_BYTES: Final = 256 << 20
_SERVED_BYTES: Final = 32 << 20
"""Kept at most where the oldest block was asked for all its samples: it is not needed again by
those who go forward, and memory that is used again is faster than new memory."""
_AHEAD_BYTES: Final = 64 << 20
_MAX_OPEN: Final = 8
_FAILURE_S: Final = 30.0


@dataclass(frozen=True)
class Block(Generic[T]):
    """Consecutive samples."""

    number: int
    samples: Sequence[T]
    num_bytes: int
    """About the memory that they take."""


class BlockReader(Generic[T]):
    """Serves samples by their numbers.

    Parameters
    ----------
    firsts : ndarray of int64, shape (blocks + 1,)
        First sample of each block, and the number of all samples.
    streams : ndarray of int64, shape (streams,)
        First block of each stream, ascending from 0.
    open_stream : callable
        ``open_stream(block)`` yields the blocks of a stream from that one, or one before, on.
    ahead : int
        Blocks that are read, each on a thread of its own, before they are asked for.
    num_bytes : ndarray of int64, shape (blocks,), optional
        About the memory that each block takes: then only so many are read ahead as are not much.
    """

    def __init__(
        self,
        firsts: NDArray[np.int64],
        streams: NDArray[np.int64],
        open_stream: Callable[[int], Iterator[Block[T]]],
        *,
        ahead: int = 1,
        num_bytes: NDArray[np.int64] | None = None,
    ) -> None:
        self._firsts, self._streams, self._open_stream = firsts, streams, open_stream
        self._ends = np.append(streams[1:], firsts.size - 1)
        self._ahead, self._num_bytes = ahead, num_bytes
        restart_now_and_after_fork(self)

    def restart(self) -> None:
        """See ``after_fork``."""
        self._kept: OrderedDict[int, Block[T]] = OrderedDict()
        self._num_unserved: dict[int, int] = {}
        self._kept_bytes = 0
        self._lock = threading.Lock()
        self._stream_locks = [threading.Lock() for _ in range(4 * _MAX_OPEN)]
        self._open: OrderedDict[int, tuple[int, Iterator[Block[T]]]] = OrderedDict()
        self._failed: dict[int, tuple[int, float, OSError]] = {}
        self._newest, self._requested = -1, -1
        self._pool: ThreadPoolExecutor | None = None

    def __getitem__(self, index: int) -> T:
        """Read one sample.

        Raises
        ------
        OSError
            As the stream does. For half a minute, blocks behind one that failed fail at once.
        """
        number = bisect.bisect_right(self._firsts, index) - 1
        block = self._find(number) or self._read(number)
        self._serve(number)
        return block.samples[index - int(self._firsts[number])]

    def _find(self, number: int) -> Block[T] | None:
        with self._lock:
            block = self._kept.get(number)
            if block is not None:
                self._kept.move_to_end(number)
            return block

    def _serve(self, number: int) -> None:
        """Count a sample that is asked for; a block without others is the first to be dropped."""
        with self._lock:
            block = self._kept.get(number)
            if block is None:
                return
            if self._num_unserved[number] == len(block.samples):
                self._look_ahead(number)
            self._num_unserved[number] -= 1
            if self._num_unserved[number] == 0:
                self._kept.move_to_end(number, last=False)
                self._drop_oldest()

    def _look_ahead(self, number: int) -> None:
        """Begin to read the blocks behind one that follows the one before it."""
        is_next, self._newest = number == self._newest + 1, number
        if not is_next:
            self._requested = number
            return
        last = min(number + self._ahead, self._firsts.size - 2)
        for coming in range(max(number, self._requested) + 1, last + 1):
            if self._is_much(number + 1, coming):
                break
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._ahead, "slipstream-ahead")
            self._pool.submit(self._read_ahead, coming)
            self._requested = coming

    def _is_much(self, first: int, last: int) -> bool:
        """Whether blocks take too much memory to be read ahead."""
        return (
            self._num_bytes is not None
            and int(self._num_bytes[first : last + 1].sum()) > _AHEAD_BYTES
        )

    def _read_ahead(self, number: int) -> None:
        with suppress(OSError):  # whoever asks for it tries again
            if self._find(number) is None:
                self._read(number)

    def _read(self, number: int) -> Block[T]:
        stream = bisect.bisect_right(self._streams, number) - 1
        with self._stream_locks[stream % len(self._stream_locks)]:
            block = self._find(number)  # another thread may have passed it
            if block is not None:
                return block
            self._raise_known_failure(stream, number)
            try:
                return self._advance(stream, number)
            except OSError as error:
                with self._lock:
                    self._failed[stream] = number, time.monotonic(), error
                raise

    def _advance(self, stream: int, wanted: int) -> Block[T]:
        """Go forward to a block, keeping those on the way."""
        with self._lock:
            position, blocks = self._open.pop(stream, (wanted + 1, iter(())))
        if position > wanted:
            blocks = self._open_stream(wanted)
        for block in blocks:
            self._keep(block)
            if block.number == wanted:
                if wanted + 1 < self._ends[stream]:
                    with self._lock:
                        self._open[stream] = wanted + 1, blocks
                        while len(self._open) > _MAX_OPEN:
                            self._open.popitem(last=False)
                return block
        raise OSError(f"block {wanted} is missing: the data has changed since it was opened")

    def _keep(self, block: Block[T]) -> None:
        with self._lock:
            if block.number in self._kept:
                return
            self._kept[block.number] = block
            self._num_unserved[block.number] = len(block.samples)
            self._kept_bytes += block.num_bytes
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        """Drop blocks while there are too many; somebody waits for the last one, if not served."""
        while self._kept:
            number, oldest = next(iter(self._kept.items()))
            is_served = self._num_unserved[number] <= 0
            if self._kept_bytes <= (_SERVED_BYTES if is_served else _KEPT_BYTES):
                return
            if len(self._kept) == 1 and not is_served:
                return
            del self._kept[number], self._num_unserved[number]
            self._kept_bytes -= oldest.num_bytes

    def _raise_known_failure(self, stream: int, number: int) -> None:
        with self._lock:
            failed, moment, error = self._failed.get(stream, (number, 0.0, OSError()))
            if failed < number and time.monotonic() - moment < _FAILURE_S:
                raise error
            if failed <= number:
                self._failed.pop(stream, None)


def blocks_by_place(starts: NDArray[np.int64], block_bytes: int) -> NDArray[np.int64]:
    """Group samples that begin in the same stretch of so many bytes.

    Parameters
    ----------
    starts : ndarray of int64, shape (N,)
        Where each sample begins, ascending.
    block_bytes : int

    Returns
    -------
    ndarray of int64, shape (blocks + 1,)
        First sample of each block, and N.
    """
    borders = np.flatnonzero(np.diff(starts // block_bytes)) + 1
    return np.concatenate([[0], borders, [starts.size]]).astype(np.int64)
