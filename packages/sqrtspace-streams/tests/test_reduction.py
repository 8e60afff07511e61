"""Reductions with a fixed tree: equal bits for any tiles, ranges and number of workers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqrtspace_streams import SqrtSpacePipeline
from sqrtspace_streams.reduction import Fold, Moments, fold, shares

SIGNAL = np.random.default_rng(7).standard_normal((3_000, 2)) * [1.0, 50.0] + [1e6, -3.0]


def pipeline(tile: int = 0) -> SqrtSpacePipeline:
    pipe = SqrtSpacePipeline(window=4, hop=3, tile=tile, max_workers=1)
    pipe.stage("squares")(lambda x: x * x)
    pipe.bind(SIGNAL)
    return pipe


def bits(moments: dict[str, object] | None) -> list[bytes]:
    assert moments is not None
    return [np.asarray(value).tobytes() for value in moments.values()]


def test_moments_are_those_of_numpy() -> None:
    """Mean and deviation over windows and samples, or of each component."""
    rows = pipeline().evaluate("squares")
    for axes in (0, 1):
        moments = fold(pipeline(), "squares", Moments(axes)).result()
        assert moments is not None
        along = tuple(range(axes + 1))
        np.testing.assert_allclose(moments["mean"], rows.mean(axis=along), rtol=1e-12)
        np.testing.assert_allclose(Moments.std(moments), rows.std(axis=along), rtol=1e-9)
        assert moments["count"] == len(rows) * (4 if axes else 1)


@given(st.integers(1, 9), st.integers(0, 60), st.sampled_from([1, 7, 16, 64]))
@settings(max_examples=30, deadline=None)
def test_any_workers_give_the_same_bits(workers: int, tile: int, leaf: int) -> None:
    """Each takes a contiguous share; the shares are put together in order."""
    whole = fold(pipeline(), "squares", Moments(1), leaf_windows=leaf)
    count, total = pipeline().num_windows(), Fold(Moments(1), leaf)
    ranges = shares((0, count), workers, leaf)
    assert ranges[0][0] == 0
    assert ranges[-1][1] == count
    for share in ranges:
        total.extend(fold(pipeline(tile), "squares", Moments(1), share, leaf_windows=leaf).nodes)
    assert bits(total.result()) == bits(whole.result())
    assert len(whole.nodes) <= 12


def test_two_passes_normalise() -> None:
    """Statistics first, then every window again with them: nothing is stored in between."""
    pipe = pipeline()

    @pipe.stage("normal", ["squares"], batch_invariant=True)
    def normal(x: np.ndarray, *, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
        return (x - mean) / std

    moments = fold(pipe, "squares", Moments(1)).result()
    assert moments is not None
    rows = pipe.evaluate("normal", params={"mean": moments["mean"], "std": Moments.std(moments)})
    np.testing.assert_allclose(rows.mean(axis=(0, 1)), 0, atol=1e-6)
    np.testing.assert_allclose(rows.std(axis=(0, 1)), 1, rtol=1e-6)


def test_leaves_come_in_order() -> None:
    """A gap, and a range that begins within a leaf, are refused; nothing gives no result."""
    total = Fold(Moments(), 4)
    assert total.result() is None
    total.add(0, np.ones((4, 1)))
    with pytest.raises(ValueError, match="does not follow"):
        total.add(8, np.ones((4, 1)))
    with pytest.raises(ValueError, match="within a leaf"):
        fold(pipeline(), "squares", Moments(), (3, 9))
