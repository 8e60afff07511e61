"""The order of an epoch: which samples come when, over all ranks.

An order is a function of (seed, epoch) only. Random orders sort counter-based random words, so they
do not depend on the version of any library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders import stream_key, uniforms, words

OrderName = Literal["random", "sequential", "contiguous", "quasi_random"]

ORDER_NAMES = ("random", "sequential", "contiguous", "quasi_random")

ORDER_VERSION = 1
"""Changes when the same (seed, epoch) gives another order."""


@dataclass(frozen=True)
class QuasiRandom:
    """Shuffle blocks of neighbouring samples, then the samples of a few blocks at a time.

    For data larger than the memory: at any time only the blocks of one window are read, and
    each of them front to back by the disk's read-ahead.
    """

    block_samples: int = 256
    """Neighbouring samples that are read together."""
    window_blocks: int = 64
    """Blocks whose samples are mixed."""
    node_local: bool = False
    """Whether each node reads blocks of its own. Its page cache is then not shared with other
    nodes' data, but the order depends on the number of nodes: a run cannot be resumed with another
    number of ranks."""

    def __post_init__(self) -> None:
        if self.block_samples < 1 or self.window_blocks < 1:
            raise ValueError(f"block_samples and window_blocks must be at least 1, got {self}")


def checked_order(order: OrderName | QuasiRandom | None, shuffle: bool) -> OrderName | QuasiRandom:
    """The order that was asked for; "quasi_random" is ``QuasiRandom()``.

    Raises
    ------
    ValueError
        If there is no order of that name.
    """
    if order is None:
        return "random" if shuffle else "sequential"
    if isinstance(order, QuasiRandom):
        return order
    if order not in ORDER_NAMES:
        raise ValueError(f"order must be one of {', '.join(ORDER_NAMES)}, got {order!r}")
    return QuasiRandom() if order == "quasi_random" else order


def permutation(
    order: OrderName | QuasiRandom, num_samples: int, seed: int, epoch: int
) -> NDArray[np.int64]:
    """The places ``0 .. num_samples - 1`` in the order of one epoch, over all ranks.

    Parameters
    ----------
    order : order name or QuasiRandom
    num_samples : int
    seed, epoch : int
        Used by random orders.

    Returns
    -------
    ndarray of int64, shape (num_samples,)
        Each place once.
    """
    if isinstance(order, QuasiRandom):
        blocks = block_order(order, num_samples, seed, epoch)
        return shuffled_blocks(order, blocks, num_samples, seed, epoch)
    if order != "random":
        return np.arange(num_samples, dtype=np.int64)
    # A stable sort: equal words, however unlikely, stay in the order of their places.
    return np.argsort(words(stream_key(seed, epoch, "order"), num_samples), kind="stable")


def block_order(order: QuasiRandom, num_samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The blocks of an epoch in random order."""
    num_blocks = -(-num_samples // order.block_samples)
    return np.argsort(words(stream_key(seed, epoch, "order", "blocks"), num_blocks), kind="stable")


def shuffled_blocks(
    order: QuasiRandom, blocks: NDArray[np.int64], num_samples: int, seed: int, epoch: int
) -> NDArray[np.int64]:
    """The samples of some blocks, mixed within windows of ``window_blocks`` blocks."""
    size = order.block_samples
    places = (blocks[:, None] * size + np.arange(size, dtype=np.int64)).reshape(-1)
    windows = np.repeat(np.arange(blocks.size) // order.window_blocks, size)
    inside = places < num_samples
    places, windows = places[inside], windows[inside]
    mixing = words(stream_key(seed, epoch, "order", "samples"), num_samples)[places]
    mixed: NDArray[np.int64] = places[np.lexsort((mixing, windows))]
    return mixed


def weighted_draws(weights: NDArray[np.float64], seed: int, epoch: int) -> NDArray[np.int64]:
    """As many places as there are weights, drawn with replacement in proportion to them.

    Returns
    -------
    ndarray of int64, shape (len(weights),)
    """
    num_samples = weights.size
    cumulative = np.cumsum(weights)
    draws = np.arange(num_samples, dtype=np.int64)
    key = stream_key(seed, epoch, "order", "weights")
    points = uniforms(key, draws, np.zeros_like(draws), 1)[:, 0] * cumulative[-1]
    chosen: NDArray[np.int64] = np.searchsorted(cumulative, points, side="right").astype(np.int64)
    chosen[chosen == num_samples] = np.flatnonzero(weights)[-1]  # a product that was rounded up
    return chosen


def occurrences(sample_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each id came before in the list, same shape."""
    by_id = np.argsort(sample_ids, kind="stable")
    ordered = sample_ids[by_id]
    is_first = np.ones(ordered.size, bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(is_first)
    counts = np.arange(ordered.size) - np.repeat(starts, np.diff([*starts, ordered.size]))
    out = np.empty(ordered.size, np.int64)
    out[by_id] = counts
    return out
