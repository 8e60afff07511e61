"""Runs of consecutive sample ids: what goes through a whole cache takes some samples at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def runs_of(num_samples: int, size: int = 65_536) -> Iterator[NDArray[np.int64]]:
    """All sample ids from 0 on, some at a time.

    Parameters
    ----------
    num_samples : int
        Zero gives no run.
    size : int
        The most ids in a run, at least 1. The default is for a few numbers of each sample.

    Yields
    ------
    ndarray of int64, shape (B,)
        Consecutive ids; all runs but the last are of ``size``.
    """
    for begin in range(0, num_samples, size):
        yield np.arange(begin, min(begin + size, num_samples), dtype=np.int64)
