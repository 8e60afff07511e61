"""Reverse kernels, and the stages that read them, over blocks of windows from the last on."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from sqrtspace_streams._calls import StageCall
from sqrtspace_streams._kernel_run import KernelRun, Start
from sqrtspace_streams._params import Parameters
from sqrtspace_streams._rows import Array, Rows
from sqrtspace_streams._stage import Stage
from sqrtspace_streams.adapters import NumpyBackend
from sqrtspace_streams.config import Settings
from sqrtspace_streams.counts import Counts
from sqrtspace_streams.errors import StageError


class BackwardRun:
    """The backward stages of one evaluation.

    Parameters
    ----------
    stages : sequence of Stage
        In the order in which they run.
    arguments : dict of str to dict
    settings : Settings
    backend : NumpyBackend
    num_windows : int
        Windows in the stream: a reverse kernel begins at the last.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        arguments: Parameters,
        settings: Settings,
        backend: NumpyBackend,
        num_windows: int,
    ) -> None:
        self.counts = Counts()
        self._stages, self._num_windows = stages, num_windows
        self._kernels = {
            stage.name: KernelRun(stage, arguments[stage.name], Start(0), None)
            for stage in stages
            if stage.kernel
        }
        self._calls = {
            stage.name: StageCall(
                stage, arguments[stage.name], settings.block_rows, settings.seed, backend
            )
            for stage in stages
            if not stage.kernel
        }

    def rows(self, inputs: dict[str, Array], lo: int, hi: int) -> Array:
        """The rows of the last stage for windows ``[lo, hi)``; the block after it was the last."""
        live = {name: Rows(lo, rows) for name, rows in inputs.items()}
        for stage in self._stages:
            began = time.perf_counter()
            read = [live[name] for name in stage.inputs]
            if stage.kernel:
                rows = self._step(stage, read, lo, hi)
            else:
                rows = self._calls[stage.name].rows(read, lo, hi, self._num_windows)
            rows.setflags(write=False)
            live[stage.name] = Rows(lo, rows)
            self.counts.rows[stage.name] += hi - lo
            self.counts.seconds[stage.name] += time.perf_counter() - began
        return live[self._stages[-1].name].array

    def _step(self, stage: Stage, inputs: Sequence[Rows], lo: int, hi: int) -> Array:
        """Step through the windows with the numbers that they have from the end."""
        first, stop = self._num_windows - hi, self._num_windows - lo
        turned = [Rows(first, _turned(rows.array)) for rows in inputs]
        try:
            rows = self._kernels[stage.name].advance(turned, stop, stop)
        except StageError as error:
            t0, t1 = self._num_windows - error.t1, self._num_windows - error.t0
            raise StageError(error.stage, t0, t1, error.problem) from error.__cause__
        return np.ascontiguousarray(rows.array[::-1])


def _turned(rows: Array) -> Array:
    """Rows from the last to the first, read-only."""
    turned = np.ascontiguousarray(rows[::-1])
    turned.setflags(write=False)
    return turned
