"""Measures what the stages of a target cost, on the first windows of a real evaluation.

At most three probes of at most 64 windows, and of 3 % of the windows that are asked for, each: one
for memory, one for time, one for the overhead of a tile. Their rows are part of the answer.
"""

from __future__ import annotations

import math
import time
import tracemalloc
from collections.abc import Iterator

from sqrtspace_streams._rows import Array
from sqrtspace_streams._state import state_bytes
from sqrtspace_streams._sweep import Sweep
from sqrtspace_streams.counts import Counts
from sqrtspace_streams.plan import Costs, StageCost
from sqrtspace_streams.sources.array import ArraySource

PROBE_FRACTION = 0.03
PROBE_MAX_WINDOWS = 64


def probe_size(num_windows: int | None, block_rows: int) -> int:
    """Windows of a probe: a multiple of ``block_rows``; 0 where the range is too short for one."""
    limit = PROBE_MAX_WINDOWS
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
        Windows of a probe.
    """

    def __init__(self, sweep: Sweep, size: int) -> None:
        self._sweep, self._size = sweep, size
        self._memory = Counts()
        self._runs: list[tuple[Counts, float, int]] = []  # counts, seconds, tiles

    def run(self, t0: int) -> Iterator[tuple[int, Array]]:
        """Yield the rows of the probes, from window ``t0`` on."""
        block_rows = self._sweep.settings.block_rows
        stop = t0 + self._size - (t0 + self._size) % block_rows
        was_tracing = tracemalloc.is_tracing()
        if not was_tracing:
            tracemalloc.start(1)
        try:
            self._sweep.measures = True
            yield from self._sweep.run(t0, max(stop, t0 + 1), None)
        finally:
            self._sweep.measures = False
            if not was_tracing:
                tracemalloc.stop()
        self._memory = self._sweep.counts.copy()
        tiles = [self._size] if self._size == block_rows else [self._size, block_rows]
        for tile in tiles:
            start, before = self._sweep.emitted, self._sweep.counts.copy()
            if start < max(stop, t0 + 1):
                return  # the stream ended within the first probe
            self._sweep.measures = True
            began = time.thread_time()
            yield from self._sweep.run(start, start + self._size, tile)
            self._sweep.measures = False
            seconds = time.thread_time() - began
            stop = start + self._size
            if self._sweep.emitted < stop:
                return
            counts = self._sweep.counts.since(before)
            self._runs.append((counts, seconds, self._size // tile))

    def costs(self) -> Costs | None:
        """What was measured; None if the stream ended before there was anything to measure."""
        counts = self._runs[0][0] if self._runs else self._memory
        if not all(counts.rows[stage.name] for stage in self._sweep.compiled.order):
            return None
        stages = []
        for stage in self._sweep.compiled.order:
            name = stage.name
            measured = self._memory.rows[name]
            in_blocks = not (stage.kernel or (stage.batch_invariant and stage.vectorized))
            row_bytes = counts.row_bytes[name]
            entry_bytes = 0
            if stage.kernel:
                entry_bytes = row_bytes + state_bytes(self._sweep.kernels[name].end().state)
            work = self._memory.work_bytes[name]
            stages.append(
                StageCost(
                    name,
                    stage.inputs,
                    counts.seconds[name] / counts.rows[name],
                    row_bytes,
                    work if in_blocks else work // max(measured, 1),
                    in_blocks,
                    entry_bytes,
                )
            )
        source = self._sweep.source
        sample = source.dtype.itemsize * math.prod(source.item_shape)
        in_memory = isinstance(source, ArraySource)
        samples = 0 if in_memory else sample * self._sweep.settings.hop
        return Costs(tuple(stages), samples, self._overhead(counts))

    def _overhead(self, counts: Counts) -> float:
        """Seconds of a tile that are not spent on its windows."""
        if not self._runs:
            return 1e-5 * len(counts.rows)
        overhead = self._runs[0][1] - sum(counts.seconds.values())
        if len(self._runs) == 2:
            (_, one, few), (_, other, many) = self._runs
            overhead = max(overhead, (other - one) / (many - few))
        return max(overhead, 1e-6)
