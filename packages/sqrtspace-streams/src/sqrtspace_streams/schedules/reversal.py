"""The actions of a walk through a stream from its last window to its first.

A segment of windows begins where the machine stands. Either its rows are all kept while it is run,
and are then handed over from the last to the first; or the state at its beginning is saved, the
machine goes on to a place within it, the part behind that place is reversed, then the part before
it. So a schedule is one number for each segment: how many windows the front part has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Split = Callable[[int, int], int]
"""``split(num_windows, num_saved)`` for a segment while ``num_saved`` other states are held: the
windows of its front part; 0 where its rows are kept."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do, in the order of the schedule.

    ``"save"`` and ``"drop"``: the state before window ``start``. ``"restore"``: stand there.
    ``"advance"``: run windows ``[start, stop)`` and keep nothing. ``"reverse"``: run them, keep
    their rows, and hand these over from the last to the first.
    """

    kind: Literal["save", "restore", "drop", "advance", "reverse"]
    start: int
    stop: int


def actions(num_windows: int, split: Split, *, first: int = 0) -> Iterator[Action]:
    """The actions that reverse windows ``[first, first + num_windows)``.

    The machine stands before window ``first``. Memory is that of the states that are held.
    """
    waiting = [(first, num_windows, 0, False)] if num_windows else []
    while waiting:
        start, count, num_saved, is_saved = waiting.pop()
        if is_saved:
            yield Action("restore", start, start)
        front = split(count, num_saved)
        if not front:
            if is_saved:
                yield Action("drop", start, start)
            yield Action("reverse", start, start + count)
            continue
        if not is_saved:
            yield Action("save", start, start)
        yield Action("advance", start, start + front)
        waiting.append((start, front, num_saved, True))
        waiting.append((start + front, count - front, num_saved + 1, False))


def uniform(every: int) -> Split:
    """A state every ``every`` windows, all saved on the way: ``2 T - every`` steps at most."""
    if every < 1:
        raise ValueError(f"every={every}: expected at least 1")
    return lambda num_windows, _num_saved: every if num_windows > every else 0


@dataclass
class Tally:
    """What a schedule takes."""

    steps: int = 0
    """Windows that are run, again and again included."""
    peak_states: int = 0
    peak_bundles: int = 0
    """States and rows that are held at once; the row that is being handed over is not counted."""
    peak_bytes: int = 0


def tally(
    schedule: Iterable[Action], num_windows: int, state_bytes: int = 1, row_bytes: int = 1
) -> Tally:
    """Go through a schedule without doing anything, and count.

    Raises
    ------
    ValueError
        If it is no schedule: a state that is not there, a gap, a window twice or never.
    """
    result, held, position, end = Tally(), set[int](), 0, num_windows
    for action in schedule:
        start, stop = action.start, action.stop
        if action.kind == "restore":
            if start not in held:
                raise ValueError(f"{action}: this state is not held")
            position = start
            continue
        if action.kind == "drop":
            held.remove(start)
            continue
        if position != start:
            raise ValueError(f"{action}: the machine stands before window {position}")
        if action.kind == "save":
            held.add(start)
        position = stop
        result.steps += stop - start
        rows = 0
        if action.kind == "reverse":
            if stop != end:
                raise ValueError(f"{action}: window {end - 1} is the next to be handed over")
            end, rows = start, stop - start - 1
        result.peak_states = max(result.peak_states, len(held))
        result.peak_bundles = max(result.peak_bundles, len(held) + rows)
        size = len(held) * state_bytes + rows * row_bytes
        result.peak_bytes = max(result.peak_bytes, size)
    if end:
        raise ValueError(f"windows before {end} were never handed over")
    return result


def num_steps(num_windows: int, split: Split) -> int:
    """Windows that a schedule runs."""
    return sum(action.stop - action.start for action in actions(num_windows, split))
