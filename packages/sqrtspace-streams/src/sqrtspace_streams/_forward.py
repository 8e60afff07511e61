"""A machine that runs forward from states of kernels, and from which states can be taken."""

from __future__ import annotations

from sqrtspace_streams._collect import collect
from sqrtspace_streams._graph import CompiledGraph
from sqrtspace_streams._kernel_run import KernelHistory, Start
from sqrtspace_streams._params import Parameters
from sqrtspace_streams._rows import Array
from sqrtspace_streams._state import state_bytes
from sqrtspace_streams._sweep import Sweep
from sqrtspace_streams.adapters import NumpyBackend
from sqrtspace_streams.config import Settings
from sqrtspace_streams.counts import Counts
from sqrtspace_streams.sources.base import Source

Snapshot = dict[str, list[Start]]  # of each kernel, where it can start from


class ForwardRun:
    """Stands before a window of a target; to run on from there computes nothing twice.

    Parameters
    ----------
    compiled : CompiledGraph
    arguments : dict of str to dict
        Keyword arguments of each stage.
    source, settings, backend
        Of the pipeline.
    origin : int
        The window before which ``init_state`` holds.
    """

    def __init__(
        self,
        compiled: CompiledGraph,
        arguments: Parameters,
        source: Source,
        settings: Settings,
        backend: NumpyBackend,
        origin: int,
    ) -> None:
        self.tile = settings.tile or settings.block_rows
        """Windows in a step."""
        self.workers = 1
        """Threads."""
        self.position = 0
        """The window before which it stands."""
        self.counts = Counts()
        self._compiled, self._arguments = compiled, arguments
        self._source, self._settings, self._backend = source, settings, backend
        self._origin = origin
        self._starts: Snapshot = {}
        self._sweep: Sweep | None = None

    def restore(self, t: int, starts: Snapshot) -> None:
        """Stand before window ``t``; the states are not changed."""
        self._flush()
        self.position, self._starts, self._sweep = t, starts, None

    def snapshot(self) -> Snapshot:
        """The states of the kernels here; a copy where they have moved."""
        if self._sweep is None:
            return self._starts
        return {name: [kernel.end()] for name, kernel in self._sweep.kernels.items()}

    def advance(self, stop: int) -> None:
        """Run up to window ``stop`` for the sake of the states."""
        sweep = self._running()
        sweep.emitted = stop  # so that it goes on from where its kernels stand
        for _ in sweep.run(stop, stop, self.tile):
            pass
        self.position = stop

    def rows(self, stop: int) -> Array:
        """Run up to window ``stop`` and give the rows on the way, read-only."""
        blocks = self._running().run(self.position, stop, self.tile, self.workers)
        rows = collect(self._compiled.target, blocks, stop - self.position, None)
        assert rows is not None
        rows.setflags(write=False)
        self.position = stop
        return rows

    def finish(self) -> Counts:
        """What was done in all."""
        self._flush()
        self._sweep = None
        return self.counts

    def _running(self) -> Sweep:
        if self._sweep is None:
            histories = {
                stage.name: KernelHistory(
                    self._origin,
                    marks={str(i): s for i, s in enumerate(self._starts.get(stage.name, []))},
                )
                for stage in self._compiled.kernels
            }
            sweep = Sweep(
                self._compiled,
                self._arguments,
                self._source,
                self._settings,
                histories,
                backend=self._backend,
            )
            self._sweep = sweep
        return self._sweep

    def _flush(self) -> None:
        if self._sweep is not None:
            self.counts.add(self._sweep.counts)


def snapshot_bytes(snapshot: Snapshot) -> int:
    """Bytes of the states, and of the rows that kernels keep for later windows."""
    starts = [start for starts in snapshot.values() for start in starts]
    rows = sum(start.rows.array.nbytes for start in starts if start.rows)
    return rows + sum(state_bytes(start.state) for start in starts)
