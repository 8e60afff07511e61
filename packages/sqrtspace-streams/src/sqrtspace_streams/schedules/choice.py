"""Which schedule reverses a stream in the fewest steps within a number of bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqrtspace_streams.schedules.binomial import binomial_steps, revolve
from sqrtspace_streams.schedules.exact import ExactTable, num_levels
from sqrtspace_streams.schedules.mixed import mixed, mixed_steps
from sqrtspace_streams.schedules.reversal import Action, Split, actions

_LARGEST_TABLE = 40_000  # entries; a second or so


@dataclass(frozen=True)
class Reversal:
    """A schedule, and what it was chosen for."""

    kind: str
    """``"rows"``: all rows are kept; ``"mixed"``, ``"revolve"``, ``"exact"``: see `choose`."""
    num_windows: int
    steps: int
    """Windows that are run at most; exactly as many where nothing is in groups."""
    split: Split = field(repr=False, compare=False)
    state_bytes: int
    row_bytes: int
    budget_bytes: int

    def actions(self, first: int = 0) -> Iterator[Action]:
        """What to do, from a machine that stands before window ``first``."""
        return actions(self.num_windows, self.split, first=first)


def choose(num_windows: int, state_bytes: int, row_bytes: int, budget_bytes: int) -> Reversal:
    """The schedule with the fewest steps.

    Where states and rows have one size, or no row fits, closed forms are exact. For other sizes the
    dynamic program over all splits is, as long as its table is small; for longer streams the best
    of the closed forms is taken, over groups of windows.

    Parameters
    ----------
    num_windows : int
    state_bytes : int
        Bytes of a state.
    row_bytes : int
        Bytes of the rows of a window that are handed over.
    budget_bytes : int
        Bytes of states and rows held at once; the row that is being handed over does not count.

    Raises
    ------
    ValueError
        If not even one state fits, and not all rows do.
    """
    if num_windows < 0 or state_bytes < 0 or row_bytes < 0 or budget_bytes < 0:
        raise ValueError("expected counts of windows and bytes >= 0")
    state_bytes, row_bytes = max(state_bytes, 1), max(row_bytes, 1)

    def reversal(kind: str, steps: int, split: Split) -> Reversal:
        return Reversal(kind, num_windows, steps, split, state_bytes, row_bytes, budget_bytes)

    if num_windows <= budget_bytes // row_bytes + 1:
        return reversal("rows", num_windows, lambda _n, _saved: 0)
    if budget_bytes < state_bytes:
        raise ValueError(
            f"{num_windows} windows cannot be reversed within {budget_bytes} bytes: a state takes "
            f"{state_bytes}, a row {row_bytes}; allow at least {state_bytes} bytes"
        )
    if state_bytes == row_bytes:
        slots = budget_bytes // state_bytes
        return reversal("mixed", mixed_steps(num_windows, slots), mixed(slots))
    if budget_bytes < row_bytes:
        states = budget_bytes // state_bytes
        return reversal("revolve", binomial_steps(num_windows, states), revolve(states))
    if num_windows * num_levels(num_windows, state_bytes, budget_bytes) <= _LARGEST_TABLE:
        table = ExactTable(num_windows, state_bytes, row_bytes, budget_bytes)
        return reversal("exact", int(table.steps[0, num_windows]), table.split)
    found = [*_grouped(num_windows, state_bytes, row_bytes, budget_bytes)]
    found += _blocked(num_windows, state_bytes, row_bytes, budget_bytes)
    return reversal(*min(found, key=lambda candidate: candidate[1]))


def _grouped(
    num_windows: int, state_bytes: int, row_bytes: int, budget_bytes: int
) -> Iterator[tuple[str, int, Split]]:
    """Mixed schedules over groups of windows whose rows count as much as a state, or more."""
    for group in _sizes(num_windows):
        room = budget_bytes - (group - 1) * row_bytes  # of the group that is being handed over
        slots = room // max(state_bytes, group * row_bytes)
        if slots < 1:
            return
        groups = -(-num_windows // group)
        yield "mixed", group * mixed_steps(groups, slots), mixed(slots, group=group)


def _blocked(
    num_windows: int, state_bytes: int, row_bytes: int, budget_bytes: int
) -> Iterator[tuple[str, int, Split]]:
    """Revolve over blocks of windows, with room for the rows of one block."""
    for block in _sizes(num_windows):
        states = (budget_bytes - (block - 1) * row_bytes) // state_bytes
        if states < 1:
            return
        blocks = -(-num_windows // block)
        yield "revolve", block * binomial_steps(blocks, states), revolve(states, block=block)


def _sizes(most: int) -> Iterator[int]:
    """1, 2, 3... and then about ten sizes for each doubling."""
    size = 1
    while size <= most:
        yield size
        size += max(1, size // 10)
