"""Which rows of which stage one step of an evaluation needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sqrtspace_streams._graph import CompiledGraph
from sqrtspace_streams._rows import Range, Rows
from sqrtspace_streams._stage import Stage

# The next window of a kernel; of another stage, where the rows before it were kept.
Position = Callable[[Stage, "Range | None"], "int | None"]
Lookup = Callable[[Stage, Range], "Rows | None"]  # rows of a stage that need no computing


def nothing_found(_stage: Stage, _wanted: Range) -> Rows | None:
    """A lookup without caches."""
    return None


@dataclass(frozen=True)
class Demand:
    """Rows that a step computes, and what it found in the caches."""

    rows: dict[str, Range] = field(default_factory=dict)
    """Of the input and of each stage that is computed, what its readers need of it."""
    steps: dict[str, Range] = field(default_factory=dict)
    """Of each kernel that advances, the windows that it steps over; of other stages, those that
    are computed where the first rows were kept."""
    found: dict[str, Rows] = field(default_factory=dict)

    def counted_from(self, base: int) -> Demand:
        """The same, with windows counted from ``base``."""
        rows, steps = (
            {name: (lo - base, hi - base) for name, (lo, hi) in ranges.items()}
            for ranges in (self.rows, self.steps)
        )
        return Demand(rows, steps, self.found)

    def computed(self, name: str) -> Range:
        """The windows that a stage without state computes."""
        return self.steps.get(name) or self.rows[name]

    def computes(self, stage: Stage) -> bool:
        """Whether the stage runs."""
        return stage.name in (self.steps if stage.kernel else self.rows)


def demand(
    compiled: CompiledGraph,
    emit: Range | None,
    upto: int,
    limit: int,
    position: Position,
    lookup: Lookup = nothing_found,
) -> Demand:
    """Walk from the target to the input and collect what is needed.

    Parameters
    ----------
    emit : (int, int), optional
        Windows of the target to compute; None where only kernels advance.
    upto : int
        The target's window before which kernels advance, with the lookahead that the stages
        between need.
    limit : int
        Windows in the stream; rows from there on do not exist.
    position : callable
        Where a kernel stands that has to give a range, or nothing; None leaves it alone. Of other
        stages, the window up to which rows of the range were kept.
    """
    result = Demand()
    wanted: dict[str, Range] = {} if emit is None else {compiled.target: emit}
    for stage in reversed(compiled.order):
        need = wanted.get(stage.name)
        found = lookup(stage, need) if need else None
        if found is not None:
            result.found[stage.name] = found
            continue
        if stage.kernel:
            need = _steps(compiled, stage, need, upto, limit, position, result)
        elif need:
            result.rows[stage.name] = need
            start = position(stage, need)
            if start is not None and need[0] < start < need[1]:
                need = result.steps[stage.name] = (start, need[1])
        if need:
            left, right = stage.context
            reads = (max(need[0] - left, 0), min(need[1] + right, limit))
            for name in stage.inputs:
                lo, hi = wanted.get(name, reads)
                wanted[name] = (min(lo, reads[0]), max(hi, reads[1]))
    if "input" in wanted:
        result.rows["input"] = wanted["input"]
    return result


def _steps(
    compiled: CompiledGraph,
    stage: Stage,
    wanted: Range | None,
    upto: int,
    limit: int,
    position: Position,
    result: Demand,
) -> Range | None:
    """The windows that a kernel has to step over; what it gives goes to ``result.rows``."""
    stop = min(upto + compiled.lookahead[stage.name], limit)
    if wanted:
        stop = max(stop, wanted[1])
    start = position(stage, wanted)
    if start is None:
        return None
    if wanted or stop > start:
        result.rows[stage.name] = wanted or (start, stop)
    if stop <= start:
        return None
    result.steps[stage.name] = (start, stop)
    return start, stop
