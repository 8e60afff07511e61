"""One result of all windows, with the same bits however the windows are shared out.

Floating-point sums depend on their order. Here the windows are cut into leaves of ``leaf_windows``
at multiples of it, and the results of leaves are merged in pairs, those of pairs in pairs, by
their numbers alone: a fixed tree. Any number of workers may each take some leaves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from sqrtspace_streams._rows import Array, Range
from sqrtspace_streams._state import copy_state
from sqrtspace_streams.pipeline import SqrtSpacePipeline

Partial = dict[str, Any]  # what kernel state may be: it can be sent, and stored


class Reduction(ABC):
    """What is made of rows, and of two results."""

    @abstractmethod
    def leaf(self, rows: Array) -> Partial:
        """The result of some windows, at least one."""

    @abstractmethod
    def merge(self, before: Partial, after: Partial) -> Partial:
        """The result of the windows of both; neither is changed."""


class Moments(Reduction):
    """Count, mean and sum of squared deviations of each component of the rows.

    The first ``axes`` axes behind that of the windows are taken together: 1 for rows of shape
    (samples, channels) gives one mean for each channel. In double precision; merged as Chan, Golub
    and LeVeque (1979) do.
    """

    def __init__(self, axes: int = 0) -> None:
        self.axes = axes

    def leaf(self, rows: Array) -> Partial:
        """In two passes over the rows."""
        values = np.asarray(rows, np.float64)
        along = tuple(range(self.axes + 1))
        mean = values.mean(axis=along)
        count = int(np.prod(values.shape[: self.axes + 1]))
        return {"count": count, "mean": mean, "m2": ((values - mean) ** 2).sum(axis=along)}

    def merge(self, before: Partial, after: Partial) -> Partial:
        """Of both."""
        count = before["count"] + after["count"]
        step = after["mean"] - before["mean"]
        mean = before["mean"] + step * (after["count"] / count)
        m2 = before["m2"] + after["m2"] + step**2 * (before["count"] * after["count"] / count)
        return {"count": count, "mean": mean, "m2": m2}

    @staticmethod
    def std(moments: Partial) -> Array:
        """Standard deviation of the population."""
        return np.asarray(np.sqrt(moments["m2"] / moments["count"]))


class Fold:
    """Results of consecutive leaves, merged as far as the tree allows.

    Parameters
    ----------
    reduction : Reduction
    leaf_windows : int
        Windows in a leaf, and in the blocks that are added.
    """

    def __init__(self, reduction: Reduction, leaf_windows: int) -> None:
        self.reduction, self.leaf_windows = reduction, leaf_windows
        self.nodes: list[tuple[int, int, Partial]] = []
        """Level (a node has 2**level leaves), number in the level, result."""

    def add(self, first: int, rows: Array) -> None:
        """The rows of one leaf, which begins at window ``first``."""
        self._append(0, first // self.leaf_windows, self.reduction.leaf(rows))

    def extend(self, nodes: Sequence[tuple[int, int, Partial]]) -> None:
        """The nodes of another fold, which goes on where this one ends."""
        for level, number, partial in nodes:
            self._append(level, number, copy_state(partial))

    def result(self) -> Partial | None:
        """Of all leaves; None without any."""
        result: Partial | None = None
        for _, _, partial in reversed(self.nodes):
            result = partial if result is None else self.reduction.merge(partial, result)
        return result

    def _append(self, level: int, number: int, partial: Partial) -> None:
        nodes = self.nodes
        if nodes and (nodes[-1][1] + 1) << nodes[-1][0] != number << level:
            raise ValueError(
                f"leaf {number << level} does not follow on {((nodes[-1][1] + 1) << nodes[-1][0])}:"
                " add leaves in the order of time"
            )
        while nodes and nodes[-1][0] == level and number % 2:
            partial = self.reduction.merge(nodes.pop()[2], partial)
            level, number = level + 1, number // 2
        nodes.append((level, number, partial))


def fold(
    pipe: SqrtSpacePipeline,
    target: str,
    reduction: Reduction,
    t_range: Range | None = None,
    params: dict[str, Any] | None = None,
    *,
    leaf_windows: int = 64,
) -> Fold:
    """Reduce the rows of a stage; memory does not grow with the range.

    Parameters
    ----------
    pipe, target, t_range, params
        As of `SqrtSpacePipeline.blocks`. The range has to begin at a multiple of ``leaf_windows``.
    reduction : Reduction
    leaf_windows : int
        Part of the meaning of the result, as its last bits depend on it.

    Returns
    -------
    Fold
        Whose ``result()`` is that of the range, and which may be extended by that of the next.
    """
    if t_range is not None and t_range[0] % leaf_windows:
        raise ValueError(f"t_range={t_range} begins within a leaf of {leaf_windows} windows")
    result = Fold(reduction, leaf_windows)
    waiting: list[Array] = []
    first, count = 0, 0
    for lo, rows in pipe.blocks(target, t_range, params):
        first = first if count else lo
        if first % leaf_windows:
            raise ValueError(
                f"the stream begins at window {first}, within a leaf of {leaf_windows} windows: "
                "give a t_range"
            )
        waiting.append(rows)
        count += len(rows)
        if count >= leaf_windows:
            block = np.concatenate(waiting) if len(waiting) > 1 else waiting[0]
            whole = count - count % leaf_windows
            for start in range(0, whole, leaf_windows):
                result.add(first + start, block[start : start + leaf_windows])
            waiting, first, count = [block[whole:].copy()], first + whole, count - whole
    if count:
        result.add(first, np.concatenate(waiting))
    return result


def shares(t_range: Range, num_workers: int, leaf_windows: int = 64) -> list[Range]:
    """Ranges for workers, cut where leaves begin; some may be empty."""
    t0, t1 = t_range
    leaves = -(-(t1 - t0) // leaf_windows)
    cuts = [t0 + leaves * i // num_workers * leaf_windows for i in range(num_workers)] + [t1]
    return [(lo, max(lo, min(hi, t1))) for lo, hi in pairwise(cuts)]
