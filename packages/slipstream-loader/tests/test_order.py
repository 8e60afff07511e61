"""The order of an epoch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipstream_loader import EmptyDatasetError
from slipstream_loader.order import epoch_order, num_batches

FROZEN = [5, 4, 7, 9, 8, 3, 2, 11, 0, 1, 10, 6]


@given(num_samples=st.integers(0, 3000), seed=st.integers(0, 2**63), epoch=st.integers(0, 100))
def test_a_random_order_holds_every_sample_once(num_samples: int, seed: int, epoch: int) -> None:
    """... and is the same whenever it is made again."""
    order = epoch_order("random", num_samples, seed, epoch)
    np.testing.assert_array_equal(np.sort(order), np.arange(num_samples))
    np.testing.assert_array_equal(order, epoch_order("random", num_samples, seed, epoch))


def test_orders_differ_between_seeds_and_epochs() -> None:
    """(seed, epoch) = (0, 1) and (1, 0) are different orders too."""
    orders = [tuple(epoch_order("random", 50, *pair)) for pair in [(0, 0), (0, 1), (1, 0)]]
    assert len(set(orders)) == 3
    np.testing.assert_array_equal(epoch_order("sequential", 5, 3, 4), np.arange(5))


def test_the_order_is_frozen() -> None:
    """A resumed run needs the very order of the run before: ORDER_VERSION 1 is this one."""
    assert epoch_order("random", 12, 42, 3).tolist() == FROZEN


def test_every_place_is_equally_likely() -> None:
    """Each sample is as often in each place as in any other (chi-square, 5 sigma)."""
    num, epochs = 8, 4000
    places = np.zeros((num, num))
    for epoch in range(epochs):
        places[epoch_order("random", num, 7, epoch), np.arange(num)] += 1
    expected = epochs / num
    chi_square = ((places - expected) ** 2 / expected).sum()
    degrees = (num - 1) ** 2
    assert abs(chi_square - degrees) < 5 * np.sqrt(2 * degrees)


@pytest.mark.parametrize(
    ("num_samples", "batch_size", "drop_last", "expected"),
    [(10, 3, False, 4), (10, 3, True, 3), (9, 3, True, 3), (9, 3, False, 3), (1, 8, False, 1)],
)
def test_num_batches(num_samples: int, batch_size: int, drop_last: bool, expected: int) -> None:
    """The last, smaller batch is kept or dropped."""
    assert num_batches(num_samples, batch_size, drop_last) == expected


def test_dropping_everything_is_an_error() -> None:
    """A loader without batches would look like a very fast epoch."""
    with pytest.raises(EmptyDatasetError, match="drop_last would drop all 5"):
        num_batches(5, 8, True)
