"""What is kept of past work: an LRU cache of stage outputs and a ring of checkpoints.

Both live in memory alone, and both only save work: with and without them results are the same.
"""

from __future__ import annotations

import bisect
import threading
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from sqrtspace_streams._rows import Array, Rows
from sqrtspace_streams._state import copy_state, state_bytes

RingKind = Literal["window", "thin", "all"]
RING_BYTES = 3 << 19
"""What the checkpoints of a stage take, however long the stream is, if nobody asks for more."""
_FEWEST = 64  # checkpoints, also of large states: a seek replays at most a 32nd of the stream
_ENTRY_OBJECTS = 400  # bytes of the Python objects of a checkpoint


def slots_within(limit_bytes: int, entry_bytes: int) -> int:
    """Checkpoints of so many bytes that a limit has room for, but 64 in any case."""
    return max(limit_bytes // max(entry_bytes, 1), _FEWEST)


def entry_bytes(output_bytes: int, state: Any) -> int:
    """Bytes of a checkpoint, to a few a leaf of the state."""
    return output_bytes + state_bytes(state) + _ENTRY_OBJECTS


class LRUCache:
    """The arrays that were used last, up to a number of bytes.

    An array that is a view is copied, so that no entry keeps a larger buffer alive. Safe to use
    from several threads.

    Parameters
    ----------
    capacity : int
        Bytes; 0 keeps nothing.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 0:
            raise ValueError(f"capacity={capacity}: expected a number of bytes >= 0")
        self.capacity = capacity
        self._arrays: OrderedDict[Hashable, Array] = OrderedDict()
        self._nbytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._arrays)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._arrays

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self._nbytes

    def keys(self) -> list[Hashable]:
        """The keys, from the one that would go first to the one used last."""
        with self._lock:
            return list(self._arrays)

    def get(self, key: Hashable) -> Array | None:
        """The array of a key, which then counts as used last; not to be written to."""
        with self._lock:
            array = self._arrays.get(key)
            if array is not None:
                self._arrays.move_to_end(key)
            return array

    def put(self, key: Hashable, array: Array) -> bool:
        """Keep an array; False where it is larger than the whole cache."""
        if array.nbytes > self.capacity:
            return False
        kept = array if array.base is None else array.copy()
        kept.flags.writeable = False
        with self._lock:
            self._remove(key)
            while self._nbytes + kept.nbytes > self.capacity:
                self._remove(next(iter(self._arrays)))
            self._arrays[key] = kept
            self._nbytes += kept.nbytes
        return True

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._arrays.clear()
            self._nbytes = 0

    def _remove(self, key: Hashable) -> None:
        array = self._arrays.pop(key, None)
        if array is not None:
            self._nbytes -= array.nbytes


@dataclass(frozen=True, slots=True)
class Entry:
    """A checkpoint: the output of a stage for window ``t``, and its state after it."""

    t: int
    output: Array
    state: Any

    @property
    def nbytes(self) -> int:
        """Bytes of output and state."""
        return entry_bytes(self.output.nbytes, self.state)


class CheckpointRing:
    """Checkpoints of one stage, at windows that are multiples of ``every``.

    Parameters
    ----------
    every : int
        Windows between two checkpoints.
    slots : int
        Checkpoints that are kept at most.
    kind : {"window", "thin", "all"}
        What gives way when the slots are full. ``"window"``: the one at ``t - every * slots``
        (slot ``t // every % slots``), so that the last ``every * slots`` windows can be reached.
        ``"thin"``: every second one, and ``every`` doubles, so that all of the past can be reached
        within ``2 * T / slots`` windows. ``"all"``: none, there is no limit.
    limit_bytes : int, optional
        A thinning ring counts as full where its checkpoints take more, though not below 64.
    """

    def __init__(
        self, every: int, slots: int, kind: RingKind = "window", limit_bytes: int | None = None
    ) -> None:
        if every < 1 or slots < 1:
            raise ValueError(f"every={every}, slots={slots}: expected at least 1")
        self.every, self.slots, self.kind, self.limit_bytes = every, slots, kind, limit_bytes
        self._entries: dict[int, Entry] = {}
        self._times: list[int] = []
        self._pins: Counter[int] = Counter()
        self._condemned: set[int] = set()
        self._lock = threading.Lock()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def times(self) -> list[int]:
        """The windows of the checkpoints, in order."""
        return list(self._times)

    def next_due(self, t: int) -> int:
        """The first window from ``t`` on that is to be saved."""
        return t + -t % self.every

    def save(self, t: int, output: Array, state: Any = None) -> None:
        """Copy output and state in, unless window ``t`` is saved already.

        Raises
        ------
        ValueError
            If ``t`` is no multiple of ``every``.
        StateError
            If the state cannot be copied exactly.
        """
        if t % self.every:
            raise ValueError(f"window {t} is no multiple of every={self.every}")
        if t in self._entries:
            self._condemned.discard(t)
            return
        entry = Entry(t, output.copy(), copy_state(state))
        entry.output.setflags(write=False)  # it is handed out as it is
        self._entries[t] = entry
        bisect.insort(self._times, t)
        self.nbytes += entry.nbytes
        if self.kind == "window":
            lap = self.every * self.slots
            for other in [u for u in self._times if u != t and (u - t) % lap == 0]:
                self._evict(other)
        elif self.kind == "thin":
            while self._is_overfull():
                self.every *= 2
                for other in [u for u in self._times if u % self.every]:
                    self._evict(other)

    def save_rows(self, rows: Rows) -> None:
        """Save those of a stage without state that are due; several threads may do so."""
        with self._lock:
            t = self.next_due(rows.lo)
            while t < rows.hi:
                self.save(t, rows.part(t, t + 1))
                t = self.next_due(t + 1)

    def load(self, t: int) -> Entry | None:
        """The checkpoint of exactly window ``t``."""
        return self._entries.get(t)

    def floor(self, t: int) -> Entry | None:
        """The last checkpoint at or before window ``t``."""
        index = bisect.bisect_right(self._times, t)
        return self._entries[self._times[index - 1]] if index else None

    @contextmanager
    def pinned(self, t: int) -> Iterator[None]:
        """Keep the checkpoint of window ``t`` while it is replayed from, whatever is saved."""
        self._pins[t] += 1
        try:
            yield
        finally:
            self._pins[t] -= 1
            if not self._pins[t]:
                del self._pins[t]
                if t in self._condemned:
                    self._remove(t)

    def clear(self) -> None:
        """Forget all checkpoints."""
        self._entries.clear()
        self._times.clear()
        self._condemned.clear()
        self.nbytes = 0

    def _is_overfull(self) -> bool:
        count = len(self) - len(self._condemned)
        if count > self.slots:
            return True
        return self.limit_bytes is not None and count > _FEWEST and self.nbytes > self.limit_bytes

    def _evict(self, t: int) -> None:
        if t in self._pins:
            self._condemned.add(t)
        else:
            self._remove(t)

    def _remove(self, t: int) -> None:
        self._condemned.discard(t)
        entry = self._entries.pop(t, None)
        if entry is not None:
            self._times.remove(t)
            self.nbytes -= entry.nbytes
