"""Stages are given NumPy arrays and return them; nothing is converted."""

from __future__ import annotations

from typing import Any

import numpy as np

from sqrtspace_streams._rows import Array


class NumpyBackend:
    """What stages are given, and how their outputs become arrays in main memory again.

    The other backends derive from it. Between stages, rows are always NumPy arrays in C order;
    kernels are given NumPy arrays by every backend, since their state is copied exactly.
    """

    leaves_blocks: bool = False
    """Whether only stages of single windows are given something else than arrays."""

    def give(self, rows: Array) -> Any:
        """A block of windows, or one window, as a stage wants it; ``rows`` is read-only."""
        return rows

    def take(self, output: Any) -> Array:
        """What a stage returned, as an array object of ours over the same memory.

        Raises
        ------
        TypeError
            For anything that is no array.
        """
        if not isinstance(output, np.ndarray | np.generic):
            raise TypeError(f"returned a {type(output).__name__}: expected an array")
        array: Array = np.asarray(output).view()
        return array
