"""Measures what the stages of a target cost, on the first windows of a real evaluation.

Three probes: one for memory, with two numbers of windows, and one for time with each of two tiles.
Each has at most 64 windows, or one block of more, and at most 3 % of those that are asked for, but
the one for memory has three blocks in any case. Their rows are part of the answer.
"""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace

from sqrtspace_streams._costs import Costs, StageCost
from sqrtspace_streams._interpreter_lock import LockWatch
from sqrtspace_streams._rows import Array
from sqrtspace_streams._stage import Stage
from sqrtspace_streams._sweep import Sweep
from sqrtspace_streams.cache import entry_bytes
from sqrtspace_streams.counts import Counts
from sqrtspace_streams.plan import LARGEST_HOT_BYTES
from sqrtspace_streams.sources.array import ArraySource

PROBE_FRACTION = 0.03
PROBE_MAX_WINDOWS = 64


def probe_size(num_windows: int | None, block_rows: int) -> int:
    """Windows of a probe: a multiple of ``block_rows``; 0 where the range is too short for one."""
    limit = max(PROBE_MAX_WINDOWS, block_rows)
    if num_windows is not None:
        limit = min(limit, math.ceil(PROBE_FRACTION * num_windows))
    return limit - limit % block_rows


class Probe:
    """Measures a sweep while it computes its first windows.

    Parameters
    ----------
    sweep : Sweep
        Fresh; it goes on behind the probes.
    size : int
        Windows of a probe, at most.
    """

    def __init__(self, sweep: Sweep, size: int) -> None:
        self._sweep, self._size = sweep, size
        self._work: list[tuple[int, Counts]] = []  # windows in a call, and what was measured
        self._timings: list[tuple[int, Costs]] = []  # a tile, and what was measured with it
        self._watch = LockWatch()
        self._watches = sweep.settings.max_workers > 1
        self.largest = 0
        """Windows of the largest tile that was measured."""

    def run(self, t0: int) -> Iterator[tuple[int, Array]]:
        """Yield the rows of the probes, from window ``t0`` on."""
        sweep, block_rows = self._sweep, self._sweep.settings.block_rows
        sweep.measures = True
        try:
            stop = t0 + block_rows - t0 % block_rows
            yield from self._measure_memory(t0, stop)
            costs = self.costs()
            if costs is None or sweep.emitted < stop:
                return
            more = max(self._size - block_rows, 2 * block_rows)
            while more > block_rows and costs.live_bytes(more) > LARGEST_HOT_BYTES:
                more -= block_rows
            if more > block_rows:
                yield from self._measure_memory(stop, stop + more)
                costs = self.costs() or costs
            largest = self._size
            while largest > block_rows and costs.live_bytes(largest) > LARGEST_HOT_BYTES:
                largest -= block_rows
            for tile in sorted({block_rows, largest}):
                yield from self._measure_time(sweep.emitted, tile)
        finally:
            sweep.measures = False

    def _measure_memory(self, t0: int, stop: int) -> Iterator[tuple[int, Array]]:
        was_tracing = tracemalloc.is_tracing()
        if not was_tracing:
            tracemalloc.start(1)
        try:  # all of it before the first yield: what the consumer does is not traced
            pieces = list(self._sweep.run(t0, stop, None))
        finally:
            if not was_tracing:
                tracemalloc.stop()
        yield from pieces
        rows = self._sweep.emitted - t0
        self._work.append((rows, self._sweep.counts.copy()))
        self.largest = max(self.largest, rows)

    def _measure_time(self, t0: int, tile: int) -> Iterator[tuple[int, Array]]:
        before, stop = self._sweep.counts.copy(), t0 + self._size
        self.largest = max(self.largest, tile)
        blocks = self._sweep.run(t0, stop, tile)
        while True:
            with self._watch if self._watches else nullcontext():
                block = next(blocks, None)
            if block is None:
                break
            yield block
        costs = self._costs(self._sweep.counts.since(before))
        if costs is not None and self._sweep.emitted == stop:
            self._timings.append((tile, costs))

    def costs(self) -> Costs | None:
        """What was measured; None if the stream ended before there was anything to measure."""
        if not self._timings:
            return self._costs(self._work[0][1]) if self._work else None
        best = min((costs for _, costs in self._timings), key=lambda costs: costs.seconds)
        return replace(best, tile_seconds=self._tile_seconds(), held=self._watch.held)

    def _tile_seconds(self) -> float:
        """What a tile takes besides its windows, from two tiles; noise may hide it."""
        if len(self._timings) < 2:
            return 0.0
        (small, first), (large, last) = self._timings
        return max((first.seconds - last.seconds) / (1 / small - 1 / large), 0.0)

    def _costs(self, counts: Counts) -> Costs | None:
        order = self._sweep.compiled.order
        if not all(counts.rows[stage.name] for stage in order):
            return None
        source, hop = self._sweep.source, self._sweep.settings.hop
        sample = source.dtype.itemsize * math.prod(source.item_shape)
        input_bytes = 0 if isinstance(source, ArraySource) else sample * hop
        return Costs(tuple(self._stage_cost(stage, counts) for stage in order), input_bytes)

    def _stage_cost(self, stage: Stage, counts: Counts) -> StageCost:
        name = stage.name
        in_tiles = stage.kernel or (stage.batch_invariant and stage.vectorized)
        row_bytes, checkpoint = counts.row_bytes[name], 0
        (few, first), (many, last) = self._work[0], self._work[-1]
        fixed, each = last.work_bytes[name], 0
        if in_tiles and many > few:
            each = max(fixed - first.work_bytes[name], 0) // (many - few)
            fixed = max(fixed - each * many, 0)
        elif in_tiles:
            fixed, each = 0, fixed // max(first.rows[name], 1)
        if stage.kernel:
            checkpoint = entry_bytes(row_bytes, self._sweep.kernels[name].end().state)
        return StageCost(
            name,
            stage.inputs,
            counts.seconds[name] / counts.rows[name],
            row_bytes,
            each,
            fixed,
            checkpoint,
        )
