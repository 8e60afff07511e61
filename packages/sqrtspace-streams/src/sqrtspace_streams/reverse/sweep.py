"""One evaluation from the last window to the first."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

from sqrtspace_streams._forward import ForwardRun, Snapshot, snapshot_bytes
from sqrtspace_streams._graph import Graph
from sqrtspace_streams._memory import Memory
from sqrtspace_streams._params import resolve, signatures
from sqrtspace_streams._rows import Array
from sqrtspace_streams.adapters import NumpyBackend
from sqrtspace_streams.config import Settings
from sqrtspace_streams.counts import Counts
from sqrtspace_streams.reverse.backward import BackwardRun
from sqrtspace_streams.reverse.graph import BOUNDARY, ReverseGraph
from sqrtspace_streams.schedules import Action, Reversal, choose
from sqrtspace_streams.sources.base import Source

_TILE_BYTES = 1 << 20  # of the rows in a step
_MOST_TILE = 4096


@dataclass
class ReverseReport:
    """How windows were reversed, and what that took."""

    schedules: list[Reversal]
    """One for each stretch between two states that were there before; from the last to the
    first."""
    steps: int = 0
    """Windows that were run forward, again and again included."""
    peak_bundles: int = 0
    """States and rows held at once; the row that is being handed over is not counted."""
    peak_bytes: int = 0


class ReverseSweep:
    """Rows of a target from the last window to the first.

    Parameters
    ----------
    graph, target, params
        What is asked.
    source, settings, memory, backend
        Of the pipeline.
    """

    def __init__(
        self,
        graph: Graph,
        target: str,
        params: dict[str, Any] | None,
        source: Source,
        settings: Settings,
        memory: Memory,
        backend: NumpyBackend,
    ) -> None:
        self.report = ReverseReport([])
        self._graph = ReverseGraph(graph, target)
        arguments = resolve(graph, self._graph.whole, params)
        digests = signatures(self._graph.whole, arguments)
        forward = self._graph.forward
        self._histories = memory.histories(forward, digests, None) if forward.kernels else {}
        self._arguments, self._source, self._settings = arguments, source, settings
        self._backend = backend
        self._forward = ForwardRun(
            forward, {**arguments, BOUNDARY: {}}, source, settings, backend, memory.origin
        )
        self._backward: BackwardRun | None = None
        self._saved: dict[int, Snapshot] = {}
        self._saved_bytes = 0
        self._left = sum(stage.context[0] for stage in forward.order)

    @property
    def counts(self) -> Counts:
        """What was done."""
        counts = self._forward.finish().copy()
        if self._backward is not None:
            counts.add(self._backward.counts)
        return counts

    def blocks(
        self, t0: int, t1: int, num_windows: int, budget_bytes: int | None
    ) -> Generator[tuple[int, Array], None, None]:
        """Yield ``(first window, rows)`` for windows ``[t0, t1)``, the last ones first.

        Parameters
        ----------
        t0, t1 : int
        num_windows : int
            Windows in the stream: reverse kernels begin at the last.
        budget_bytes : int, optional
            Of states and rows; ``lru_bytes`` of the settings, or what twice the root of the
            windows needs, where that is not said.
        """
        end = num_windows if self._graph.backward else t1
        if t0 >= end:
            return
        self._backward = BackwardRun(
            self._graph.backward, self._arguments, self._settings, self._backend, num_windows
        )
        if not self._graph.forward.kernels:
            yield from self._stateless(t0, t1, end)
            return
        state, row = self._sizes(t0)
        if budget_bytes is None:
            budget_bytes = self._budget(end - t0, max(state, row))
        starts = [t0, *self._known_states(t0, end)]
        for start, stop in zip(reversed(starts), [end, *reversed(starts[1:])], strict=True):
            reversal = choose(stop - start, state, row, budget_bytes)
            self.report.schedules.append(reversal)
            self._forward.restore(start, self._starts(start))
            for action in reversal.actions(start):
                yield from self._do(action, t1)

    def _do(self, action: Action, t1: int) -> Iterator[tuple[int, Array]]:
        start, forward, saved = action.start, self._forward, self._saved
        if action.kind == "save":
            saved[start] = forward.snapshot()
            self._saved_bytes += snapshot_bytes(saved[start])
            self._note_peak(None)
        elif action.kind == "drop":
            self._saved_bytes -= snapshot_bytes(saved.pop(start))
        elif action.kind == "restore":
            forward.restore(start, saved[start])
        elif action.kind == "advance":
            forward.advance(action.stop)
            self.report.steps += action.stop - start
        else:
            rows = forward.rows(action.stop)
            self.report.steps += action.stop - start
            self._note_peak(rows)
            yield from self._backwards(start, rows, t1)

    def _backwards(self, lo: int, rows: Array, t1: int) -> Iterator[tuple[int, Array]]:
        """Hand rows to the backward stages, the last ones first."""
        assert self._backward is not None
        tile = self._forward.tile
        for first in reversed(range(lo, lo + len(rows), tile)):
            block = rows[first - lo : first - lo + tile]
            stop = first + len(block)
            if self._graph.backward:
                block = self._backward.rows(self._graph.parted(block), first, stop)
            if first < t1:
                yield first, block[: t1 - first]

    def _stateless(self, t0: int, t1: int, end: int) -> Iterator[tuple[int, Array]]:
        """Without kernels each window can be computed alone, once."""
        tile = self._forward.tile
        for first in reversed(range(t0, end, tile)):
            self._forward.restore(first, {})
            rows = self._forward.rows(min(first + tile, end))
            self.report.steps += len(rows)
            yield from self._backwards(first, rows, t1)

    def _sizes(self, t0: int) -> tuple[int, int]:
        """Bytes of a state and of a row; the first window is run for that."""
        forward, settings = self._forward, self._settings
        forward.restore(t0, self._starts(t0))
        rows = forward.rows(t0 + 1)
        self.report.steps += 1
        if not settings.tile:
            read = settings.window * self._source.dtype.itemsize
            most = min(_TILE_BYTES // max(rows.nbytes, read, 1), _MOST_TILE)
            forward.tile = max(most - most % settings.block_rows, settings.block_rows)
        return snapshot_bytes(forward.snapshot()), rows.nbytes

    def _budget(self, num_windows: int, bundle: int) -> int:
        """Bytes to use where the question does not say; in classic order, all that rows take."""
        if self._settings.mode == "classic":
            return num_windows * bundle
        return max(self._settings.lru_bytes, 2 * math.isqrt(num_windows) * bundle)

    def _known_states(self, t0: int, end: int) -> list[int]:
        """Windows before which earlier evaluations left the states of all kernels."""
        found: set[int] | None = None
        for history in self._histories.values():
            times = {t + 1 for t in history.ring.times()} if history.ring else set[int]()
            found = times if found is None else found & times
        return sorted(t for t in found or () if t0 < t < end)

    def _starts(self, t: int) -> Snapshot:
        """Where kernels can start from for window ``t`` and the ones before it that are read."""
        before = max(t - self._left, 0)
        return {
            name: [history.best(u) for u in {before, t} if u >= history.origin]
            for name, history in self._histories.items()
        }

    def _note_peak(self, rows: Array | None) -> None:
        report, num_rows = self.report, len(rows) - 1 if rows is not None else 0
        report.peak_bundles = max(report.peak_bundles, len(self._saved) + num_rows)
        row_bytes = rows.nbytes // len(rows) if rows is not None else 0
        report.peak_bytes = max(report.peak_bytes, self._saved_bytes + row_bytes * num_rows)
