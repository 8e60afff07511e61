"""How much of the time a piece of work keeps other Python threads from running.

NumPy lets go of the interpreter's lock in its loops over large arrays, Python code does not:
threads are of use to the one and only cost time to the other.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType

_NAP = 5e-4  # seconds; who holds the lock gives it up after 5 ms if asked
_SHORTEST = 4 * _NAP  # below, too few naps are seen


class LockWatch:
    """A context in which a second thread naps; it wakes late where the lock is held.

    May be entered again: what is seen adds up. Where other processes take all processors it wakes
    late as well.
    """

    def __init__(self) -> None:
        self._napped, self._elapsed = 0.0, 0.0
        self._began = 0.0
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def held(self) -> float:
        """Share of the time in which the lock was held; 0 where too little was seen."""
        if self._elapsed < _SHORTEST:
            return 0.0
        return max(1 - self._napped / self._elapsed, 0.0)

    def __enter__(self) -> LockWatch:
        self._done.clear()
        self._thread = threading.Thread(target=self._nap, name="sqrtspace-watch", daemon=True)
        self._thread.start()
        self._began = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._thread is not None
        self._elapsed += time.perf_counter() - self._began
        self._done.set()
        self._thread.join()

    def _nap(self) -> None:
        while not self._done.is_set():
            began = time.perf_counter()
            time.sleep(_NAP)
            # a nap that ends in time is longer than asked for by the timer's slack
            self._napped += min(time.perf_counter() - began, 2 * _NAP)
