"""What a pipeline offers for windows from the last to the first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sqrtspace_streams._collect import no_rows
from sqrtspace_streams._declarations import Declarations
from sqrtspace_streams._memory import Memory
from sqrtspace_streams._rows import Array, Range
from sqrtspace_streams.adapters import NumpyBackend
from sqrtspace_streams.config import Settings
from sqrtspace_streams.counts import Counts
from sqrtspace_streams.reverse.sweep import ReverseReport, ReverseSweep
from sqrtspace_streams.sources import Source


class ReverseMethods(Declarations):
    """The part of `SqrtSpacePipeline` that runs backward."""

    settings: Settings
    source: Source
    last_counts: Counts
    last_reversal: ReverseReport | None = None
    """How the last question for windows in reverse was answered."""
    _memory: Memory
    _backend: NumpyBackend

    def num_windows(self) -> int:
        """Full windows of the stream."""
        raise NotImplementedError

    def blocks_reversed(
        self,
        target: str,
        t_range: Range | None = None,
        params: dict[str, Any] | None = None,
        *,
        budget_bytes: int | None = None,
    ) -> Iterator[tuple[int, Array]]:
        """Yield ``(first window, rows)`` from the last piece of a range to the first.

        Rows within a piece are in the order of time, and read-only. A consumer may stop at any
        time, and has then paid for little more than it took.

        Parameters
        ----------
        target : str
            Any stage: a reverse kernel, what reads one, or one that runs forward.
        t_range : (int, int), optional
            Half-open range of windows; all of them by default.
        params : dict, optional
            As in `evaluate`.
        budget_bytes : int, optional
            Kernel states and rows that are held at once, so that the past can be computed again
            from them: the fewer bytes, the more steps (`schedules.choose` tells). By default
            ``lru_bytes``, or what twice the root of the windows takes, if that is more. What a
            step of a few windows takes comes on top.

        Raises
        ------
        ValueError
            If the range is no range of the stream, the end of the stream is not known, or the
            budget has no room for a state.
        WindowExpiredError
            If the source cannot be read again.
        """
        t0, t1, num_windows = self._reverse_range(target, t_range)
        with self._lock:
            sweep = ReverseSweep(
                self.graph,
                target,
                params,
                self.source,
                self.settings,
                self._memory,
                self._backend,
            )
            pieces = sweep.blocks(t0, t1, num_windows, budget_bytes)
        try:
            while True:
                with self._lock:
                    piece = next(pieces, None)
                if piece is None:
                    break
                yield piece
        finally:
            pieces.close()
            self.last_counts, self.last_reversal = sweep.counts, sweep.report

    def _needs_reversal(self, target: str) -> bool:
        """Whether a target is, or reads, a reverse kernel."""
        return any(stage.is_reverse for stage in self.graph.compile(target).order)

    def _evaluate_reversed(
        self,
        target: str,
        t_range: Range | None,
        params: dict[str, Any] | None,
        out: Array | None,
    ) -> Array:
        """All rows in one array."""
        t0, t1, _ = self._reverse_range(target, t_range)
        for first, rows in self.blocks_reversed(target, (t0, t1), params):
            if out is None:
                out = np.empty((t1 - t0, *rows.shape[1:]), rows.dtype)
            if out.shape[1:] != rows.shape[1:] or out.dtype != rows.dtype or len(out) < t1 - t0:
                raise ValueError(
                    f"out is {out.dtype} {out.shape}: expected {rows.dtype} and at least "
                    f"{(t1 - t0, *rows.shape[1:])}"
                )
            out[first - t0 : first - t0 + len(rows)] = rows
        if out is not None:
            return out[: t1 - t0]

        def run(source: Source) -> Iterator[tuple[int, Array]]:
            forgetful = Memory(self.graph, 0)
            sweep = ReverseSweep(
                self.graph, target, params, source, self.settings, forgetful, self._backend
            )
            return sweep.blocks(0, 1, 1, None)

        return no_rows(self.source, self.settings, run)

    def _reverse_range(self, target: str, t_range: Range | None) -> tuple[int, int, int]:
        """First window, one past the last, and how many the stream has."""
        if self.source.is_live and self._needs_reversal(target):
            raise ValueError(f"{target!r} begins at the last window: close() the stream first")
        num_windows = self.num_windows()
        oldest = -(-self.source.oldest // self.settings.hop)
        t0, t1 = (min(oldest, num_windows), num_windows) if t_range is None else t_range
        if not 0 <= t0 <= t1:
            raise ValueError(f"t_range={t_range}: expected 0 <= t0 <= t1")
        return t0, max(min(t1, num_windows), t0), num_windows
