"""The order of an epoch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipstream_loader.order import (
    QuasiRandom,
    checked_order,
    occurrences,
    permutation,
    weighted_draws,
)

FROZEN = [5, 4, 7, 9, 8, 3, 2, 11, 0, 1, 10, 6]

ORDERS = st.one_of(
    st.sampled_from(["random", "sequential", "contiguous"]),
    st.builds(QuasiRandom, st.integers(1, 40), st.integers(1, 9)),
)


@given(
    order=ORDERS,
    num_samples=st.integers(0, 3000),
    seed=st.integers(0, 2**63),
    epoch=st.integers(0, 100),
)
def test_every_order_holds_every_sample_once(
    order: object, num_samples: int, seed: int, epoch: int
) -> None:
    """... and is the same whenever it is made again."""
    places = permutation(order, num_samples, seed, epoch)  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.sort(places), np.arange(num_samples))
    np.testing.assert_array_equal(places, permutation(order, num_samples, seed, epoch))  # type: ignore[arg-type]


def test_orders_differ_between_seeds_and_epochs() -> None:
    """(seed, epoch) = (0, 1) and (1, 0) are different orders too."""
    for order in ("random", QuasiRandom(4, 3)):
        orders = [tuple(permutation(order, 50, *pair)) for pair in [(0, 0), (0, 1), (1, 0)]]
        assert len(set(orders)) == 3


def test_the_order_is_frozen() -> None:
    """A resumed run needs the very order of the run before: ORDER_VERSION 1 is this one."""
    assert permutation("random", 12, 42, 3).tolist() == FROZEN


@pytest.mark.parametrize("order", ["random", QuasiRandom(2, 4)])
def test_every_place_is_equally_likely(order: object) -> None:
    """Each sample is as often in each place as in any other (chi-square, 5 sigma), also when the
    blocks of one window are all there are."""
    num, epochs = 8, 4000
    places = np.zeros((num, num))
    for epoch in range(epochs):
        places[permutation(order, num, 7, epoch), np.arange(num)] += 1  # type: ignore[arg-type]
    expected = epochs / num
    chi_square = ((places - expected) ** 2 / expected).sum()
    degrees = (num - 1) ** 2
    assert abs(chi_square - degrees) < 5 * np.sqrt(2 * degrees)


def test_quasi_random_reads_few_blocks_at_a_time() -> None:
    """Within a window, samples of its blocks only; across windows, blocks from everywhere."""
    order = QuasiRandom(block_samples=16, window_blocks=4)
    places = permutation(order, 1600, 3, 0)
    windows = [set((places[i : i + 64] // 16).tolist()) for i in range(0, 1600, 64)]
    assert all(len(window) == 4 for window in windows)
    assert max(max(window) - min(window) for window in windows) > 20
    assert (np.diff(places[:64]) != 1).mean() > 0.8


def test_names_of_orders() -> None:
    """shuffle is short for an order; unknown names and silly blocks are refused."""
    assert checked_order(None, True) == "random"
    assert checked_order(None, False) == "sequential"
    assert checked_order("quasi_random", False) == QuasiRandom()
    with pytest.raises(ValueError, match="quasi_random"):
        checked_order("shuffled", True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        QuasiRandom(block_samples=0)


def test_weighted_draws_follow_the_weights() -> None:
    """Frequencies are in proportion (5 sigma), weight 0 is never drawn, epochs differ."""
    weights = np.array([1.0, 0.0, 3.0, 6.0, 0.0])
    drawn = np.concatenate([weighted_draws(weights, 1, epoch) for epoch in range(8000)])
    counts = np.bincount(drawn, minlength=5)
    expected = drawn.size * weights / weights.sum()
    assert (np.abs(counts - expected) <= 5 * np.sqrt(expected)).all()
    np.testing.assert_array_equal(weighted_draws(weights, 1, 5), weighted_draws(weights, 1, 5))


@given(ids=st.lists(st.integers(0, 6), max_size=40))
def test_occurrences_count_repeats(ids: list[int]) -> None:
    """Each repeat has the next number, in the order of the list."""
    counts = occurrences(np.array(ids, np.int64))
    assert counts.tolist() == [ids[:place].count(sample) for place, sample in enumerate(ids)]
