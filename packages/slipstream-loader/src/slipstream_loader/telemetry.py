"""Where the time of a run goes: busy seconds of each stage, the consumer's waiting, a verdict."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

_KEPT_FAILURES = 100
_WAITING_IS_NORMAL = 0.05


@dataclass(frozen=True)
class LoaderStats:
    """Sums over all batches since the start or the last reset."""

    stage_seconds: dict[str, float] = field(default_factory=dict)
    """Stage -> wall seconds, summed over batches; two batches may be in the same stage at once."""
    elapsed_seconds: float = 0.0
    """From the first to the last batch that the consumer asked for."""
    wait_seconds: float = 0.0
    """Seconds that the consumer waited in ``next()``."""
    ready_seconds: float = 0.0
    """Seconds that finished batches lay ready, summed over batches."""
    batches: int = 0
    samples: int = 0
    samples_by_source: dict[str, int] = field(default_factory=dict)
    """Of a mixture: name of the source -> samples; padding counts."""
    failures_by_source: dict[str, int] = field(default_factory=dict)
    """Of a mixture: name of the source -> samples that could not be decoded."""
    num_failures: int = 0
    """Samples that could not be decoded, each counted once."""
    failures: dict[int, str] = field(default_factory=dict)
    """Sample id -> what was wrong, for the first hundred."""

    @property
    def wait_share(self) -> float:
        """Fraction of the time that the consumer waited for data."""
        return self.wait_seconds / self.elapsed_seconds if self.elapsed_seconds else 0.0

    @property
    def verdict(self) -> str:
        """What limits the speed, in one line."""
        if not self.batches:
            return "nothing was measured yet"
        if self.wait_share < _WAITING_IS_NORMAL:
            return (
                f"bound by the training loop: it waited for data {100 * self.wait_share:.0f} % of "
                "the time"
            )
        if not self.stage_seconds:  # reset between the stages of a batch and its end, or no fields
            return "no stage was measured yet"
        slowest = max(self.stage_seconds, key=lambda name: self.stage_seconds[name])
        share = self.stage_seconds[slowest] / sum(self.stage_seconds.values())
        return (
            f"bound by {slowest}: the training loop waited for data {100 * self.wait_share:.0f} % "
            f"of the time, and {100 * share:.0f} % of the making of batches is there"
        )


class Telemetry:
    """Collects ``LoaderStats`` from several threads.

    Parameters
    ----------
    sources : mapping of str to int
        Of a mixture: name of a source -> its first sample id, ascending.
    """

    def __init__(self, sources: Mapping[str, int] | None = None) -> None:
        self._names = list(sources or {})
        self._firsts = np.array(list((sources or {}).values()), np.int64)
        self._lock = threading.Lock()
        self._stats = LoaderStats()
        self._started: float | None = None

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

    def made(self, sample_ids: NDArray[np.int64]) -> None:
        """Count one batch."""
        with self._lock:
            stats = self._stats
            self._count_sources(stats.samples_by_source, sample_ids)
            samples = stats.samples + sample_ids.size
            self._stats = replace(stats, batches=stats.batches + 1, samples=samples)

    def _count_sources(self, table: dict[str, int], sample_ids: NDArray[np.int64]) -> None:
        if not self._names:
            return
        numbers = np.searchsorted(self._firsts, sample_ids, side="right") - 1
        counts = np.bincount(numbers, minlength=len(self._names)).tolist()
        for name, count in zip(self._names, counts, strict=True):
            table[name] = table.get(name, 0) + count

    def taken(self, *, waited: float, lay_ready: float) -> None:
        """Note that the consumer took a batch just now."""
        now = time.perf_counter()
        with self._lock:
            if self._started is None:
                self._started = now - waited
            stats = self._stats
            self._stats = replace(
                stats,
                elapsed_seconds=now - self._started,
                wait_seconds=stats.wait_seconds + waited,
                ready_seconds=stats.ready_seconds + lay_ready,
            )

    def failed(self, reasons: Mapping[int, str]) -> None:
        """Note samples that could not be decoded: sample id -> reason."""
        with self._lock:
            stats = self._stats
            self._stats = replace(stats, num_failures=stats.num_failures + len(reasons))
            self._count_sources(stats.failures_by_source, np.array(list(reasons), np.int64))
            for sample_id, reason in reasons.items():
                if len(stats.failures) < _KEPT_FAILURES:
                    stats.failures[sample_id] = reason

    def snapshot(self) -> LoaderStats:
        """A copy of the sums."""
        with self._lock:
            stats = self._stats
            return replace(
                stats,
                stage_seconds=dict(stats.stage_seconds),
                failures=dict(stats.failures),
                samples_by_source=dict(stats.samples_by_source),
                failures_by_source=dict(stats.failures_by_source),
            )

    def reset(self) -> None:
        """Start again from zero."""
        with self._lock:
            self._stats = LoaderStats()
            self._started = None
