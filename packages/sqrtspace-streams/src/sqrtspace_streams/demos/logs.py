"""An access log: regex filter, rolling aggregates and quantiles, alerts."""

# ruff: noqa: ARG002
from __future__ import annotations

import re
from abc import abstractmethod
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import Unpack

from sqrtspace_streams import baselines
from sqrtspace_streams._rows import Array
from sqrtspace_streams._stage import Kernel
from sqrtspace_streams.config import Config
from sqrtspace_streams.demos.demo import Demo
from sqrtspace_streams.pipeline import SqrtSpacePipeline

LENGTH = 8
"""Windows that aggregates and quantiles roll over."""
PERCENTS = (50, 95, 99)
PREFIX = "/api/"
LINE = re.compile(rb'\S+ \S+ \S+ \[[^\]]*\] "[A-Z]+ (\S+) [^"]*" (\d{3}) \d+ (\d+)')
"""Path, status and microseconds of a line of the common log format with the time at its end."""
_BLOCK = 4096  # lines that are generated at once
_INCIDENT_EVERY, _INCIDENT_LINES = 40_000, 4000
_PATHS = ("/api/items/", "/api/users/", "/api/search?q=", "/static/", "/images/")


def parse(lines: Array, *, prefix: str = PREFIX) -> Array:
    """Keep the requests whose path begins with ``prefix``.

    Parameters
    ----------
    lines : ndarray, shape (n, window), bytes

    Returns
    -------
    ndarray, shape (n, window, 2), int32
        Status and microseconds; zeros for the other lines.
    """
    kept, match = prefix.encode(), LINE.fullmatch
    found = np.zeros((*lines.shape, 2), np.int32)
    for window, rows in zip(lines, found, strict=True):
        for i, line in enumerate(window.tolist()):
            parts = match(line)
            if parts and parts[1].startswith(kept):
                rows[i] = int(parts[2]), int(parts[3])
    return found


class Rolling(Kernel):
    """A reduction over the last `LENGTH` windows of parsed lines; before the first is nothing."""

    chunk_invariant = True  # integers

    def init_state(self, shape: Any, dtype: Any, **_: Any) -> dict[str, Any]:
        """No lines."""
        return {"past": np.zeros((LENGTH - 1, *shape), dtype)}

    def step(self, x_block: Any, state: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        """One window or more."""
        rows = np.concatenate([state["past"], x_block])
        last = np.lib.stride_tricks.sliding_window_view(rows, LENGTH, axis=0)
        reduced = self.reduce(last[:, :, 0], last[:, :, 1])
        return reduced, {"past": rows[len(rows) - LENGTH + 1 :].copy()}

    @abstractmethod
    def reduce(self, status: Array, micros: Array) -> Array:
        """A row for each entry of the first axis; shapes (n, window, LENGTH)."""


class Aggregates(Rolling):
    """Requests, those that failed, their time in microseconds, and the longest; int64."""

    def reduce(self, status: Array, micros: Array) -> Array:
        """Sums and a maximum."""
        axes = (1, 2)
        requests, failed = (status > 0).sum(axes), (status >= 500).sum(axes)
        total, longest = micros.sum(axes, dtype=np.int64), micros.max(axes)
        return np.column_stack([requests, failed, total, longest]).astype(np.int64)


class Quantiles(Rolling):
    """The smallest times that `PERCENTS` of the requests do not exceed, in microseconds; int64."""

    def reduce(self, status: Array, micros: Array) -> Array:
        """Order statistics; 0 where there was no request."""
        ordered = np.sort(micros.reshape(len(micros), -1), axis=1)  # other lines are zeros
        requests = (status > 0).sum((1, 2))[:, None]
        rank = -(-requests * np.array(PERCENTS) // 100)
        column = np.maximum(ordered.shape[1] - requests + rank - 1, 0)
        found = np.take_along_axis(ordered, column, axis=1)
        return np.where(requests > 0, found, 0).astype(np.int64)


class Alerts(Kernel):
    """Error rate, 95th percentile in microseconds, and whether there is an alert; float64.

    An alert begins where too many requests fail or the percentile is far above its running mean,
    and ends after some calm windows.
    """

    chunk_invariant = True  # row by row

    def init_state(self, shape: Any, dtype: Any, **_: Any) -> dict[str, Any]:
        """Nothing is usual yet."""
        return {"usual": 0.0, "loud": False, "calm": 0}

    def step(
        self,
        x_block: Any,
        state: dict[str, Any],
        *,
        most_failed: float = 0.05,
        slower: float = 3.0,
        calm: int = 3,
        **_: Any,
    ) -> tuple[Any, dict[str, Any]]:
        """One window or more."""
        aggregates, quantiles = x_block
        rows = np.empty((len(aggregates), 3))
        for i, (counts, times) in enumerate(zip(aggregates, quantiles, strict=True)):
            rate, p95 = int(counts[1]) / max(int(counts[0]), 1), float(times[1])
            is_bad = rate > most_failed or 0 < state["usual"] * slower < p95
            state["calm"] = 0 if is_bad else state["calm"] + 1
            state["loud"] = is_bad or (state["loud"] and state["calm"] < calm)
            if not state["loud"]:
                state["usual"] = 0.9 * state["usual"] + 0.1 * p95 if state["usual"] else p95
            rows[i] = rate, p95, state["loud"]
        return rows, state


def write_log(path: str | Path, lines: int, *, seed: int = 0) -> None:
    """Write a log of requests with some noise; in incidents they fail or are slow."""
    begin = datetime(2026, 1, 1, tzinfo=timezone.utc)
    with open(path, "w", encoding="ascii", newline="\n") as file:
        for first in range(0, lines, _BLOCK):
            count = min(_BLOCK, lines - first)
            file.writelines(_log_block(np.random.default_rng([seed, first]), first, count, begin))


def _log_block(rng: np.random.Generator, first: int, count: int, begin: datetime) -> list[str]:
    number = np.arange(first, first + count)
    incident, place = np.divmod(number, _INCIDENT_EVERY)
    within = place >= _INCIDENT_EVERY - _INCIDENT_LINES
    fails = within & (incident % 2 == 0)
    micros = rng.lognormal(9, 0.6, count) * np.where(within & ~fails, 8, 1)
    status = np.where(rng.random(count) < np.where(fails, 0.3, 0.005), 503, 200)
    which, host, item = rng.integers(0, [[5], [250], [10_000]], (3, count)).tolist()
    is_noise = rng.random(count) < 0.01
    found = []
    for i, (code, duration) in enumerate(zip(status.tolist(), micros.astype(int), strict=True)):
        at = begin + timedelta(milliseconds=50 * (first + i))
        request = f'"GET {_PATHS[which[i]]}{item[i]} HTTP/1.1"' if not is_noise[i] else '"-"'
        found.append(
            f"10.0.0.{host[i]} - - [{at:%d/%b/%Y:%H:%M:%S} +0000] {request} "
            f"{code} {item[i] * 3} {duration}\n"
        )
    return found


class LogsDemo(Demo):
    """The log in plain NumPy is `sqrtspace_streams.baselines.logs`."""

    name, target, unit = "logs", "alerts", "lines"
    default_size, file_name = 400_000.0, "access.log"
    window, hop = 256, 256

    def write(self, path: Path, size: float, *, seed: int = 0) -> None:
        """A text file."""
        write_log(path, int(size), seed=seed)

    def num_windows(self, size: float, window: int, hop: int) -> int:
        """Of ``size`` lines."""
        return max((int(size) - window) // hop + 1, 0)

    def size_of(self, num_windows: int, window: int, hop: int) -> float:
        """Lines."""
        return (num_windows - 1) * hop + window

    def pipeline(self, **config: Unpack[Config]) -> SqrtSpacePipeline:
        """A filter, two reductions of what it leaves, and the alerts from both."""
        pipe = SqrtSpacePipeline(**config)
        pipe.stage("parse", batch_invariant=True)(parse)
        pipe.kernel("aggregates", ["parse"])(Aggregates)
        pipe.kernel("quantiles", ["parse"])(Quantiles)
        pipe.kernel(self.target, ["aggregates", "quantiles"])(Alerts)
        return pipe

    def plain(self, path: Path, *, window: int, hop: int) -> Array:
        """Rates, percentiles and alerts; windows do not overlap."""
        if window != hop:
            raise ValueError(f"window={window}, hop={hop}: each line is in one window of the log")
        return baselines.logs(path, window=window, length=LENGTH, prefix=PREFIX)

    def title(self, size: float, num_windows: int) -> str:
        """Lines and windows."""
        return f"logs: {int(size)} lines, {num_windows} windows"


DEMO = LogsDemo()
