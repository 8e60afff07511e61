"""The fewest steps for states and rows of any two sizes, by dynamic programming over all splits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_NEVER = 1 << 60


class ExactTable:
    """Steps and best splits of up to ``num_windows`` windows under a byte budget.

    ``steps[j, n]`` is the least over i of ``i + steps[j + 1, n - i] + steps[j, i]``, and n where
    the rows of all n windows fit beside j states. It takes as many vector operations as the table
    has entries.

    Parameters
    ----------
    num_windows : int
    state_bytes, row_bytes, budget_bytes : int
        The row that is being handed over does not count.
    """

    def __init__(
        self, num_windows: int, state_bytes: int, row_bytes: int, budget_bytes: int
    ) -> None:
        levels = num_levels(num_windows, state_bytes, budget_bytes)
        self.steps: NDArray[np.int64] = np.full((levels, num_windows + 1), _NEVER)
        """Shape (levels, num_windows + 1); 2**60 where the budget is too small."""
        self._fronts = np.zeros((levels, num_windows + 1), np.int32)
        passed = np.arange(num_windows + 1)
        for level in reversed(range(levels)):
            steps = self.steps[level]
            fits = (budget_bytes - level * state_bytes) // max(row_bytes, 1) + 1
            fits = min(fits, num_windows)
            steps[: fits + 1] = passed[: fits + 1]
            if level + 1 < levels:
                self._fill(level, fits + 1)

    def _fill(self, level: int, first: int) -> None:
        steps, behind = self.steps[level], self.steps[level + 1]
        passed = np.arange(len(steps))
        for count in range(first, len(steps)):
            costs = passed[1:count] + steps[1:count] + behind[count - 1 : 0 : -1]
            front = int(costs.argmin())
            steps[count] = min(int(costs[front]), _NEVER)
            self._fronts[level, count] = front + 1

    def split(self, num_windows: int, num_saved: int) -> int:
        """The split rule of the table."""
        return int(self._fronts[num_saved, num_windows])

    def least(self, num_windows: int) -> int | None:
        """The fewest steps; None where the budget is too small."""
        steps = int(self.steps[0, num_windows])
        return steps if steps < _NEVER else None


def num_levels(num_windows: int, state_bytes: int, budget_bytes: int) -> int:
    """How many states may be held, and none."""
    return min(budget_bytes // max(state_bytes, 1), max(num_windows - 1, 0)) + 1
