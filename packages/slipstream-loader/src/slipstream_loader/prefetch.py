"""Make batches ahead of the consumer, and hand them over in order.

Two threads make batches, so that the next batch's samples queue up behind the current one's and no
core waits at a batch's end; the samples themselves are decoded by the shared kernel threads. A
failure is raised by the ``next()`` of the batch that failed, after all earlier batches.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from slipstream_loader.telemetry import Telemetry

_Batch = TypeVar("_Batch")
_MAKERS = 2


def division_of_threads(num_threads: int, ahead: int) -> tuple[int, int]:
    """How many batches are made at once, and by how many threads each.

    With no more threads than batches that are made at once, each batch is one thread's: nothing is
    handed over, and what it reads and writes stays in one core's cache.
    """
    makers = min(_MAKERS, ahead)
    return (num_threads, 1) if num_threads <= makers else (makers, num_threads)


class PrefetchIterator(Iterator[_Batch], Generic[_Batch]):
    """Iterate over ``make(0), ..., make(num_batches - 1)``, made ahead.

    Parameters
    ----------
    make : callable
        Makes one batch from its number, or None to leave it out; called from other threads, each
        number once. It must not refer to the iterator, which stops its threads when it is
        collected.
    num_batches : int
    ahead : int
        Batches made or being made that the consumer has not asked for; at least 1.
    makers : int
        Batches that are made at once, at most.
    telemetry : Telemetry
        Told how long each ``next()`` waited and how long each batch lay ready.
    """

    def __init__(
        self,
        make: Callable[[int], _Batch | None],
        num_batches: int,
        ahead: int,
        makers: int,
        telemetry: Telemetry,
    ) -> None:
        def timed(number: int) -> tuple[_Batch | None, float]:
            return make(number), time.perf_counter()

        self.num_taken = 0
        """Batches that ``next()`` has returned or left out."""
        self._make = timed
        self._telemetry = telemetry
        self._lock = threading.Lock()  # of what is pending: ``close`` may come from any thread
        self._remaining = iter(range(num_batches))
        self._pending: deque[Future[tuple[_Batch | None, float]]] = deque()
        self._executor = ThreadPoolExecutor(makers, "slipstream-batch")
        for _ in range(ahead):
            self._submit_next()

    def _submit_next(self) -> None:
        for number in self._remaining:
            self._pending.append(self._executor.submit(self._make, number))
            return

    def __next__(self) -> _Batch:
        """The next batch; it belongs to the caller.

        Raises
        ------
        StopIteration
            After the last batch, and after a failure or ``close``, also one by another thread.
        Exception
            Whatever made this batch fail.
        """
        while self._pending:
            batch = self._take()
            if batch is not None:
                return batch
        self.close()
        raise StopIteration

    def _take(self) -> _Batch | None:
        started = time.perf_counter()
        with self._lock:
            if not self._pending:
                raise StopIteration
            future = self._pending[0]
        # An interrupt here leaves the batch in its place: the next call waits for it again.
        try:
            error = future.exception()
        except CancelledError:  # by ``close`` in another thread
            raise StopIteration from None
        now = time.perf_counter()
        with self._lock:
            if not self._pending or self._pending[0] is not future:
                raise StopIteration
            self._pending.popleft()
            if error is None:
                self._submit_next()
        if error is not None:
            self.close()
            raise error
        self.num_taken += 1
        batch, finished = future.result()
        self._telemetry.taken(waited=now - started, lay_ready=max(0.0, started - finished))
        return batch

    def close(self) -> None:
        """Stop making batches and wait for the threads; the iterator is at its end."""
        self._stop(wait=True)

    def _stop(self, wait: bool) -> None:
        with self._lock:
            self._remaining = iter(())
            self._pending.clear()
        self._executor.shutdown(wait=wait, cancel_futures=True)

    def __del__(self) -> None:
        if hasattr(self, "_executor"):
            self._stop(wait=False)
