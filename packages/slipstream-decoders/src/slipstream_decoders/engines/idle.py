"""``IdlePool``: what one thread works with at a time, kept for the next that needs it."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Generic, TypeVar

_Worker = TypeVar("_Worker")


class IdlePool(Generic[_Worker]):
    """Scratch memory and decoders of runs that have ended; thread-safe.

    Parameters
    ----------
    make : callable
        Makes one where none is idle.
    """

    def __init__(self, make: Callable[[], _Worker]) -> None:
        self._make = make
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()

    def take(self) -> _Worker:
        """One that belongs to the caller until it is put back; lost is one that never is."""
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return self._make()

    def put(self, worker: _Worker) -> None:
        """Offer one to others."""
        self._idle.put(worker)
