"""From the rows of the steps to one array."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sqrtspace_streams._rows import Array


def collect(
    blocks: Iterable[tuple[int, Array]], num_windows: int | None, out: Array | None
) -> Array | None:
    """Put the blocks of consecutive windows into one new array, or into ``out``.

    Parameters
    ----------
    blocks : iterable of (int, ndarray)
        First window and rows.
    num_windows : int, optional
        Rows to expect at most; without it blocks are gathered first.
    out : ndarray, optional
        Has to have the shape and type of the result, or more rows.

    Returns
    -------
    ndarray or None
        As many rows as there were; None where there was no block.
    """
    filled, gathered = 0, []
    for _, rows in blocks:
        if num_windows is None and out is None:
            gathered.append(rows.copy())
            continue
        if out is None:
            assert num_windows is not None
            out = np.empty((num_windows, *rows.shape[1:]), rows.dtype)
        stop = filled + len(rows)
        if out.shape[1:] != rows.shape[1:] or out.dtype != rows.dtype or stop > len(out):
            raise ValueError(
                f"out is {out.dtype} {out.shape}: expected {rows.dtype} and at least "
                f"{(num_windows or stop, *rows.shape[1:])}"
            )
        out[filled:stop] = rows
        filled = stop
    if gathered:
        return np.concatenate(gathered)
    return out[:filled] if filled and out is not None else None
