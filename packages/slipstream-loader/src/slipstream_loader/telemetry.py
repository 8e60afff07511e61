"""Where the time of an epoch goes: busy seconds of each stage, and the consumer's waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class LoaderStats:
    """Sums over all batches made since the last reset."""

    stage_seconds: dict[str, float] = field(default_factory=dict)
    """Stage -> wall seconds, summed over batches; two batches may be in the same stage at once."""
    wait_seconds: float = 0.0
    """Seconds that the consumer waited in ``next()``."""
    batches: int = 0
    samples: int = 0


class Telemetry:
    """Collects ``LoaderStats`` from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stats = LoaderStats()

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time of a ``with`` block to a stage; a failing block counts too."""
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            with self._lock:
                table = self._stats.stage_seconds
                table[stage] = table.get(stage, 0.0) + seconds

    def made(self, samples: int) -> None:
        """Count one batch."""
        with self._lock:
            self._stats.batches += 1
            self._stats.samples += samples

    def waited(self, seconds: float) -> None:
        """Add to the consumer's waiting."""
        with self._lock:
            self._stats.wait_seconds += seconds

    def snapshot(self) -> LoaderStats:
        """A copy of the sums."""
        with self._lock:
            stats = self._stats
            return LoaderStats(
                dict(stats.stage_seconds), stats.wait_seconds, stats.batches, stats.samples
            )

    def reset(self) -> None:
        """Start again from zero."""
        with self._lock:
            self._stats = LoaderStats()
