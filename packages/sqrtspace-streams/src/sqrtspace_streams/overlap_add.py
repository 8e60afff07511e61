"""From rows that are windows back to samples: overlapping windows are added."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from sqrtspace_streams._rows import Array, Range
from sqrtspace_streams.pipeline import SqrtSpacePipeline


class OverlapAdd:
    """Adds windows to a stream of samples, and gives each sample once no later window has it.

    A sample is the sum over its windows, in the order of time, so that its bits do not depend on
    the pieces in which windows come. Memory is that of a window and of a piece.

    Parameters
    ----------
    hop : int
        Samples from the start of one window to the start of the next, at most those of a window.
    taper : array_like, shape (window,), optional
        What the windows were multiplied by, all in all: sums are divided by its sum over the
        windows of a sample. Samples where that is zero become zero.
    """

    def __init__(self, hop: int, taper: Any = None) -> None:
        if hop < 1:
            raise ValueError(f"hop={hop}: expected at least 1")
        self.hop = hop
        self._taper = None if taper is None else np.asarray(taper)
        self._sums: Array | None = None  # of samples that later windows have as well
        self._weights: Array | None = None

    def add(self, rows: Array) -> Array:
        """The samples that are complete with these windows, ``hop`` for each.

        Parameters
        ----------
        rows : ndarray, shape (n, window, ...)
        """
        count, window, hop = len(rows), rows.shape[1], self.hop
        if window < hop or (self._taper is not None and len(self._taper) != window):
            raise ValueError(
                f"rows of {window} samples: expected at least hop={hop}, and as many as the taper"
            )
        self._sums = self._added(self._sums, rows, rows.shape[2:])
        done, self._sums = self._sums[: count * hop], self._sums[count * hop :].copy()
        if self._taper is None:
            return done
        tapers = np.broadcast_to(self._taper, (count, window))
        self._weights = self._added(self._weights, tapers, ())
        weights, self._weights = self._weights[: count * hop], self._weights[count * hop :].copy()
        return _divided(done, weights)

    def finish(self) -> Array | None:
        """The samples that only earlier windows have; None where there were no windows."""
        sums, weights = self._sums, self._weights
        self._sums = self._weights = None
        return sums if sums is None or weights is None else _divided(sums, weights)

    def _added(self, kept: Array | None, rows: Array, item_shape: tuple[int, ...]) -> Array:
        """Sums over the samples from the first that is not complete on."""
        count, window, hop = len(rows), rows.shape[1], self.hop
        sums = np.zeros(((count - 1) * hop + window, *item_shape), rows.dtype)
        if kept is not None:
            sums[: len(kept)] = kept
        for t, row in enumerate(rows):
            sums[t * hop : t * hop + window] += row
        return sums


def overlap_added(
    pipe: SqrtSpacePipeline,
    target: str,
    t_range: Range | None = None,
    params: dict[str, Any] | None = None,
    *,
    taper: Any = None,
) -> Iterator[Array]:
    """Yield the samples of a stage whose rows are windows, piece by piece, in order.

    Parameters
    ----------
    pipe, target, t_range, params
        As of `SqrtSpacePipeline.blocks`; the hop is that of the pipeline.
    taper : array_like, shape (window,), optional
        As of `OverlapAdd`.
    """
    total = OverlapAdd(pipe.settings.hop, taper)
    for _, rows in pipe.blocks(target, t_range, params):
        yield total.add(rows)
    rest = total.finish()
    if rest is not None and len(rest):
        yield rest


def write_samples(pieces: Iterable[Array], out: Array) -> int:
    """Fill ``out`` from its start with pieces; how many samples there were.

    Parameters
    ----------
    pieces : iterable of ndarray
    out : ndarray
        Such as a ``numpy.memmap``, with room for all samples.
    """
    filled = 0
    for piece in pieces:
        stop = filled + len(piece)
        if stop > len(out):
            raise ValueError(f"out has room for {len(out)} samples, and there are more")
        out[filled:stop] = piece
        filled = stop
    return filled


def _divided(sums: Array, weights: Array) -> Array:
    divisor = weights.reshape(-1, *[1] * (sums.ndim - 1)).astype(sums.dtype)
    result = np.zeros_like(sums)
    np.divide(sums, divisor, out=result, where=divisor != 0)
    return result
