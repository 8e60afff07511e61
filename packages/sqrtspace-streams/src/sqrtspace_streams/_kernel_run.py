"""Kernels in the course of an evaluation, and where they can start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sqrtspace_streams._rows import Array, Rows
from sqrtspace_streams._stage import Stage, keywords_of
from sqrtspace_streams._state import copy_state
from sqrtspace_streams.cache import CheckpointRing
from sqrtspace_streams.errors import StageError, StateError, WindowExpiredError


@dataclass
class Start:
    """The state of a kernel before window ``t``; None stands for ``init_state``."""

    t: int
    state: Any = None
    rows: Rows | None = None
    """Rows up to window ``t`` that were computed and are still wanted."""

    @property
    def reaches(self) -> int:
        """The first window whose rows it can give."""
        return self.rows.lo if self.rows else self.t


@dataclass
class KernelHistory:
    """Where a kernel with certain parameters can start from."""

    origin: int = 0
    """The window before which ``init_state`` holds."""
    ring: CheckpointRing | None = None
    marks: dict[str, Start] = field(default_factory=dict)
    """Where evaluations ended, by who asked."""

    def best(self, t: int) -> Start:
        """The last start that gives the rows from window ``t`` on, not copied.

        Raises
        ------
        WindowExpiredError
            If the kernel began after that window.
        """
        starts = [Start(self.origin), *self.marks.values()]
        entry = self.ring.floor(t - 1) if self.ring else None
        if entry is not None:
            starts.append(Start(entry.t + 1, entry.state))
        reaching = [start for start in starts if start.reaches <= t]
        if not reaching:
            raise WindowExpiredError(
                f"window {t} is asked for, and kernels began at window {self.origin}"
            )
        return max(reaching, key=lambda start: start.t)


class KernelRun:
    """A kernel that moves forward through the windows of one evaluation.

    Parameters
    ----------
    stage : Stage
    arguments : dict
        Its keyword arguments.
    start : Start
        Copied.
    ring : CheckpointRing, optional
        Where checkpoints go.
    """

    def __init__(
        self, stage: Stage, arguments: dict[str, Any], start: Start, ring: CheckpointRing | None
    ) -> None:
        assert stage.kernel is not None
        self.stage, self.kernel, self.ring = stage, stage.kernel, ring
        self.position = start.t
        self._state = copy_state(start.state)
        self._arguments = keywords_of(stage.name, self.kernel.step, 2).accepted(arguments)
        initial = keywords_of(stage.name, self.kernel.init_state, 2)
        self._initial_arguments = initial.accepted(arguments)
        self._kept = start.rows  # rows that later steps read again

    def advance(self, inputs: Sequence[Rows], stop: int, keep_from: int) -> Rows:
        """Step over the windows before ``stop``; return the kept rows and the new ones.

        Rows from ``keep_from`` on will be returned again by the next call.
        """
        rows = self._kept
        if stop > self.position:
            start, array = self.position, self._steps(inputs, stop)
            if rows is not None:
                start, array = rows.lo, np.concatenate([rows.array, array])
            rows = Rows(start, array)
        assert rows is not None
        if keep_from < rows.hi:
            self._kept = Rows(keep_from, rows.part(keep_from, rows.hi).copy())
        else:
            self._kept = None
        return rows

    def end(self) -> Start:
        """A copy of where it stands."""
        return Start(self.position, copy_state(self._state), self._kept)

    def _steps(self, inputs: Sequence[Rows], stop: int) -> Array:
        first, result = self.position, None
        if self._state is None:
            self._state = self._initial(inputs)
        while self.position < stop:
            t0 = self.position
            t1 = t0 + 1
            if self.kernel.chunk_invariant:
                t1 = stop if self.ring is None else min(stop, self.ring.next_due(t0) + 1)
            block = self._step(inputs, t0, t1)
            if result is None:  # rows are copied: the kernel may go on to write to its array
                result = np.empty((stop - first, *block.shape[1:]), block.dtype)
            elif block.shape[1:] != result.shape[1:] or block.dtype != result.dtype:
                found = f"returned rows of {block.dtype} {block.shape[1:]}"
                before = f"before that {result.dtype} {result.shape[1:]}"
                raise StageError(self.stage.name, t0, t1, f"{found}, {before}")
            result[t0 - first : t1 - first] = block
        assert result is not None
        return result

    def _initial(self, inputs: Sequence[Rows]) -> Any:
        shapes = tuple(rows.array.shape[1:] for rows in inputs)
        dtypes = tuple(rows.array.dtype for rows in inputs)
        single = len(inputs) == 1
        shape, dtype = (shapes[0], dtypes[0]) if single else (shapes, dtypes)
        try:
            state = self.kernel.init_state(shape, dtype, **self._initial_arguments)
        except MemoryError:
            raise
        except Exception as error:
            problem = f"init_state: {type(error).__name__}: {error}"
            raise StageError(self.stage.name, self.position, self.position, problem) from error
        return self._copied(state)

    def _copied(self, state: Any) -> Any:
        try:
            return copy_state(state)
        except StateError as error:
            raise StateError(f"kernel {self.stage.name!r}: {error}") from None

    def _step(self, inputs: Sequence[Rows], t0: int, t1: int) -> Array:
        blocks = []
        for rows in inputs:
            blocks.append(rows.part(t0, t1))
        x = blocks[0] if len(blocks) == 1 else tuple(blocks)
        try:
            output = self.kernel.step(x, self._state, **self._arguments)
        except MemoryError:
            raise
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            raise StageError(self.stage.name, t0, t1, problem) from error
        if not isinstance(output, tuple) or len(output) != 2:
            raise StageError(self.stage.name, t0, t1, "step returned no pair (output, state)")
        block, self._state = output
        if self._state is None:
            raise StateError(f"kernel {self.stage.name!r}: step returned None as its state")
        if not isinstance(block, np.ndarray) or block.ndim < 1 or len(block) != t1 - t0:
            found = getattr(block, "shape", type(block).__name__)
            raise StageError(self.stage.name, t0, t1, f"output {found}: expected {t1 - t0} rows")
        self.position = t1
        if self.ring is not None and self.ring.next_due(t1 - 1) == t1 - 1:
            try:
                self.ring.save(t1 - 1, block[-1:], self._state)
            except StateError as error:
                raise StateError(f"kernel {self.stage.name!r}: {error}") from None
        return block
