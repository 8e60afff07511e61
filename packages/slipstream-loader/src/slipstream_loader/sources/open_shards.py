"""Which shards of a data set are open: those whose samples are still to come, and the last ones.

Threads that go forward together, as those of a build do, lie in several shards at a time: one that
is closed too early is unpacked again for each of its samples.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from slipstream_loader.after_fork import restart_now_and_after_fork

T = TypeVar("T")

_LEAST_OPEN: Final = 2
_MOST_OPEN: Final = 64
_MOST_BYTES: Final = 1 << 30
"""More than the threads of a build span: each reads 1/256 of a part of the cache at a time."""


class OpenShards(Generic[T]):
    """Shards by their numbers, from several threads.

    Parameters
    ----------
    open_shard : callable
        ``open_shard(number)`` opens one; it is called by one thread at a time.
    num_samples, num_bytes : sequence of int
        Of each shard: samples, and the memory that it takes at most.
    """

    def __init__(
        self,
        open_shard: Callable[[int], T],
        num_samples: Sequence[int],
        num_bytes: Sequence[int],
    ) -> None:
        self._open_shard, self._num_samples, self._num_bytes = open_shard, num_samples, num_bytes
        restart_now_and_after_fork(self)

    def restart(self) -> None:
        """See ``after_fork``."""
        self._lock = threading.Lock()
        self._open: OrderedDict[int, _Open[T]] = OrderedDict()
        self._open_bytes = 0

    def for_sample(self, number: int, row: int) -> T:
        """The shard that a sample is read from."""
        with self._lock:
            found = self._open.get(number)
            if found is None:
                while len(self._open) >= _LEAST_OPEN and self._is_full(self._num_bytes[number]):
                    self._close_oldest()
                count = self._num_samples[number]
                found = _Open(self._open_shard(number), count, bytearray(count))
                self._open[number] = found
                self._open_bytes += self._num_bytes[number]
            self._open.move_to_end(number)
            while len(self._open) > _LEAST_OPEN and self._has_too_many():
                self._close_oldest()
            found.num_wanted -= not found.is_served[row]
            found.is_served[row] = True
            if not found.num_wanted:
                self._open.move_to_end(number, last=False)
            return found.shard

    def close(self) -> None:
        """Close all; they are opened again."""
        with self._lock:
            self._open.clear()
            self._open_bytes = 0

    def _has_too_many(self) -> bool:
        is_much = len(self._open) > _MOST_OPEN or self._is_full(0)
        return is_much or not next(iter(self._open.values())).num_wanted

    def _is_full(self, num_bytes: int) -> bool:
        """Whether so many bytes more are too many."""
        return self._open_bytes + num_bytes > _MOST_BYTES

    def _close_oldest(self) -> None:
        closed, _ = self._open.popitem(last=False)
        self._open_bytes -= self._num_bytes[closed]


@dataclass
class _Open(Generic[T]):
    shard: T
    num_wanted: int
    """Samples that nobody has asked for."""
    is_served: bytearray
