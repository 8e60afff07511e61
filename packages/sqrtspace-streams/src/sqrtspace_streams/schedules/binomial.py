"""Revolve: states alone are kept, and every row is handed over as soon as it is computed.

With c states, windows that are passed over at most r times, n <= (c + r choose r) of them, can be
reversed in ``n + r n - (c + r choose r - 1)`` steps, and no schedule that keeps no rows takes
fewer. Source: Griewank and Walther, ACM TOMS 26 (2000), algorithm 799; here with the step that
gives the row itself counted.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb

from sqrtspace_streams.schedules.reversal import Split


def binomial_steps(num_windows: int, states: int) -> int:
    """The fewest steps that reverse windows with ``states`` states, that of the start included.

    Raises
    ------
    ValueError
        Without a state, of several windows only the last could be reached.
    """
    repeats = _repeats(num_windows, states)
    skipped = comb(states + repeats, repeats - 1) if repeats else 0
    return num_windows * (repeats + 1) - skipped


def revolve(states: int, *, block: int = 1) -> Split:
    """The split rule of `binomial_steps`, for blocks of ``block`` windows whose rows are kept.

    Such a schedule takes at most ``block`` times the steps of as many single windows; a block
    that is not full is the first one.
    """

    @lru_cache(maxsize=4096)
    def split(num_windows: int, num_saved: int) -> int:
        blocks = -(-num_windows // block)
        if blocks <= 1:
            return 0
        free = states - num_saved
        repeats = _repeats(blocks, free)
        behind = comb(free - 1 + repeats - 1, repeats - 1)  # at least, and at most a repeat more
        front = min(comb(free + repeats - 1, repeats - 1), blocks - behind)
        return num_windows - (blocks - front) * block

    return split


def _repeats(num_windows: int, states: int) -> int:
    """How often a window is passed over, at most."""
    if num_windows > 1 and states < 1:
        raise ValueError(f"{num_windows} windows cannot be reversed without a state to return to")
    repeats, reach = 0, 1
    while reach < num_windows:
        repeats += 1
        reach = reach * (states + repeats) // repeats  # (states + repeats choose repeats)
    return repeats
