"""From the rows of the steps to one array."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

import numpy as np

from sqrtspace_streams._rows import Array
from sqrtspace_streams.config import Settings
from sqrtspace_streams.errors import StageError, StreamsError
from sqrtspace_streams.sources import ArraySource, Source


def collect(
    target: str,
    blocks: Iterable[tuple[int, Array]],
    num_windows: int | None,
    out: Array | None,
) -> Array | None:
    """Put the blocks of consecutive windows into one new array, or into ``out``.

    Parameters
    ----------
    target : str
        The stage that they are of, for messages.
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

    Raises
    ------
    ValueError
        If ``out`` does not fit.
    StageError
        If the rows of one block are of another kind than those before.
    """
    filled, is_given = 0, out is not None
    gathered: list[Array] = []
    for t, rows in blocks:
        if num_windows is None and out is None:
            if gathered:
                _check_kind(target, t, rows, gathered[0])
            gathered.append(rows.copy())
            continue
        if out is None:
            assert num_windows is not None
            out = np.empty((num_windows, *rows.shape[1:]), rows.dtype)
        if not is_given:
            _check_kind(target, t, rows, out)
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


def _check_kind(target: str, t: int, rows: Array, first: Array) -> None:
    """Raise StageError unless rows are of the type and shape of the first ones."""
    if rows.dtype != first.dtype or rows.shape[1:] != first.shape[1:]:
        problem = (
            f"returned rows of {rows.dtype} {rows.shape[1:]}, before that {first.dtype} "
            f"{first.shape[1:]}"
        )
        raise StageError(target, t, t + len(rows), problem)


def no_rows(
    source: Source,
    settings: Settings,
    run: Callable[[Source], Iterable[tuple[int, Array]]],
) -> Array:
    """An array of no rows, with the shape and type that rows would have.

    They are found by running the stages on one window of zeros.

    Parameters
    ----------
    source : Source
        Whose samples the zeros are like.
    settings : Settings
    run : callable
        Given a source of one window, gives the blocks of a target.
    """
    zeros = ArraySource(np.zeros((settings.window, *source.item_shape), source.dtype))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            blocks = [rows for _, rows in run(zeros)]
        except StreamsError:  # zeros are nothing to this stage
            return np.empty(0, settings.dtype)
    none: Array = blocks[0][:0].copy()
    return none
