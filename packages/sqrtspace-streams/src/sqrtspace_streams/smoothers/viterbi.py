"""The most probable path through the states of a hidden Markov model."""

# ruff: noqa: ARG002  kernels have the same parameters
from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sqrtspace_streams._rows import Array
from sqrtspace_streams._stage import Kernel
from sqrtspace_streams.pipeline import SqrtSpacePipeline


def viterbi(
    pipe: SqrtSpacePipeline,
    name: str,
    inputs: list[str] | None = None,
    *,
    log_start: ArrayLike,
    log_transition: ArrayLike,
) -> None:
    """Register ``name``: the state of each window on the best path through all windows.

    A row is one int32. The kernel ``name + "_forward"`` is registered as well; its rows are the
    best predecessor of each state, then the best state so far. Of equal paths the one with the
    smaller states is taken. Source: Viterbi, IEEE Trans. Inf. Theory 13 (1967).

    Parameters
    ----------
    pipe : SqrtSpacePipeline
    name : str
    inputs : list of str, optional
        One stage whose rows are the log-likelihoods of the states, shape (num_states,).
    log_start : array_like, shape (num_states,)
        Log-probabilities at the first window.
    log_transition : array_like, shape (num_states, num_states)
        From the state of the row to that of the column.
    """
    start = np.asarray(log_start, np.float64)
    transition = np.asarray(log_transition, np.float64)
    if start.ndim != 1 or transition.shape != (len(start), len(start)):
        raise ValueError(f"log_start {start.shape} and log_transition {transition.shape} differ")
    pipe.kernel(f"{name}_forward", inputs)(_Scores(start, transition))
    pipe.reverse_kernel(name, [f"{name}_forward"])(_Traceback())


class _Scores(Kernel):
    """State: the log-probability of the best path into each state."""

    def __init__(self, start: Array, transition: Array) -> None:
        self.start, self.transition = start, transition

    def init_state(self, shape: Any, dtype: Any, **kw: Any) -> dict[str, Any]:
        return {"scores": None}

    def step(self, x_block: Any, state: dict[str, Any], **kw: Any) -> Any:
        (likelihoods,) = x_block
        if state["scores"] is None:
            before, scores = np.zeros(len(self.start), np.int32), self.start + likelihoods
        else:
            paths = state["scores"][:, None] + self.transition
            before = paths.argmax(axis=0).astype(np.int32)
            scores = paths.max(axis=0) + likelihoods
        row = np.append(before, np.int32(scores.argmax()))
        return row[None], {"scores": scores}


class _Traceback(Kernel):
    """State: the state of the window before."""

    def init_state(self, shape: Any, dtype: Any, **kw: Any) -> dict[str, Any]:
        return {"at": -1}

    def step(self, x_block: Any, state: dict[str, Any], **kw: Any) -> Any:
        (row,) = x_block
        at = int(row[-1]) if state["at"] < 0 else state["at"]
        return np.array([at], np.int32), {"at": int(row[at])}
