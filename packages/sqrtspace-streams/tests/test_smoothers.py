"""Filters that run both ways, against oracles that have everything in memory."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import signal

from sqrtspace_streams import SqrtSpacePipeline
from sqrtspace_streams.smoothers import LinearGaussian, kalman_smoother, viterbi, zero_phase

RNG = np.random.default_rng(11)


@pytest.mark.parametrize("padlen", [None, 0, 63])
@pytest.mark.parametrize("channels", [0, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_zero_phase_is_filtfilt(padlen: int | None, channels: int, dtype: str) -> None:
    """To the bit, with its odd extension and initial states, in pieces and in few bytes."""
    b, a = signal.butter(4, [0.05, 0.3], btype="bandpass")
    shape = (64 * 50 + 5, channels) if channels else (64 * 50 + 5,)
    x = RNG.standard_normal(shape).astype(dtype)
    expected = signal.filtfilt(b, a, x[: 64 * 50], axis=0, padlen=padlen)
    for config in ({"mode": "classic"}, {"lru_bytes": 0}):
        pipe = SqrtSpacePipeline(window=64, hop=64, **config)  # type: ignore[arg-type]
        zero_phase(pipe, "smooth", b, a, padlen=padlen)
        pipe.bind(x)
        assert pipe.evaluate("smooth").reshape(expected.shape).tobytes() == expected.tobytes()
    rows = pipe.evaluate("smooth", (7, 9))
    assert rows.reshape(128, *shape[1:]).tobytes() == expected[7 * 64 : 9 * 64].tobytes()


def test_zero_phase_of_a_stage() -> None:
    """It may filter what a stage gives, and short filters too."""
    x = RNG.standard_normal(640)
    pipe = SqrtSpacePipeline(window=32, hop=32)
    pipe.stage("half")(lambda x: x[:, ::2])
    zero_phase(pipe, "smooth", [0.5, 0.5], [1.0], ["half"])
    pipe.bind(x)
    expected = signal.filtfilt([0.5, 0.5], [1.0], x[::2])
    assert pipe.evaluate("smooth").ravel().tobytes() == expected.tobytes()


def test_zero_phase_refuses_what_it_cannot_do() -> None:
    """Overlapping windows, windows within the extension, and no filter at all."""
    with pytest.raises(ValueError, match="each sample once"):
        zero_phase(SqrtSpacePipeline(window=8, hop=4), "z", [1, 1], [2])
    with pytest.raises(ValueError, match="padlen=6"):
        zero_phase(SqrtSpacePipeline(window=6, hop=6), "z", [1, 1], [2])
    with pytest.raises(ValueError, match="multiply"):
        zero_phase(SqrtSpacePipeline(window=6, hop=6), "z", [1], [2])
    with pytest.raises(ValueError, match="padlen=-1"):
        zero_phase(SqrtSpacePipeline(window=6, hop=6), "z", [1, 2], [2], padlen=-1)


def test_the_smoother_conditions_on_all_measurements() -> None:
    """Means and covariances are those of the joint Gaussian of all windows, gaps included."""
    count, f = 12, np.array([[1.0, 0.4], [-0.2, 0.9]])
    q, h = np.array([[0.3, 0.1], [0.1, 0.2]]), np.array([[1.0, 0.5]])
    r, mean, covariance = np.array([[0.7]]), np.array([0.3, -1.0]), np.eye(2) * 1.5
    z = RNG.standard_normal((count, 1))
    z[[3, 4]] = np.nan
    means, joint = [mean], np.zeros((2 * count, 2 * count))
    joint[:2, :2] = covariance
    for t in range(1, count):
        means.append(f @ means[-1])
        before, here = slice(0, 2 * t), slice(2 * t, 2 * t + 2)
        last = slice(2 * t - 2, 2 * t)
        joint[here, before] = f @ joint[last, before]
        joint[before, here] = joint[here, before].T
        joint[here, here] = f @ joint[last, last] @ f.T + q
    seen = np.flatnonzero(~np.isnan(z[:, 0]))
    big_h = np.zeros((len(seen), 2 * count))
    for row, t in enumerate(seen):
        big_h[row, 2 * t : 2 * t + 2] = h
    gain = joint @ big_h.T @ np.linalg.inv(big_h @ joint @ big_h.T + r * np.eye(len(seen)))
    prior = np.concatenate(means)
    expected_mean = prior + gain @ (z[seen, 0] - big_h @ prior)
    expected_covariance = joint - gain @ big_h @ joint

    pipe = SqrtSpacePipeline(window=1, hop=1)
    kalman_smoother(pipe, "smoothed", LinearGaussian(f, q, h, r, mean, covariance))
    pipe.bind(z[:, 0])
    rows = pipe.evaluate("smoothed")
    np.testing.assert_allclose(rows[:, :2].ravel(), expected_mean, rtol=0, atol=1e-12)
    for t in range(count):
        found, here = rows[t, 2:].reshape(2, 2), slice(2 * t, 2 * t + 2)
        np.testing.assert_allclose(found, expected_covariance[here, here], rtol=0, atol=1e-12)
    some = np.concatenate([r for _, r in list(pipe.blocks_reversed("smoothed", budget_bytes=900))])
    assert sorted(map(bytes, some)) == sorted(map(bytes, rows))
    with pytest.raises(ValueError, match=r"observation has shape \(1, 1\): expected \(1, 2\)"):
        LinearGaussian(f, q, [[1.0]], r, mean, covariance)


def test_viterbi_finds_the_best_of_all_paths() -> None:
    """The path with the largest probability of all 3**7; in little memory the same one."""
    start, transition = np.log([0.2, 0.5, 0.3]), np.log(RNG.dirichlet(np.ones(3), 3))
    likelihood = np.log(RNG.dirichlet(np.ones(3), 7))

    def probability(path: tuple[int, ...]) -> Any:
        steps = sum(transition[i, j] for i, j in itertools.pairwise(path))
        return start[path[0]] + steps + sum(likelihood[t, s] for t, s in enumerate(path))

    best = max(itertools.product(range(3), repeat=7), key=probability)
    for config in ({}, {"lru_bytes": 0, "tile": 1, "block_rows": 1}):
        pipe = SqrtSpacePipeline(window=3, hop=3, **config)  # type: ignore[arg-type]
        viterbi(pipe, "path", log_start=start, log_transition=transition)
        pipe.bind(likelihood.ravel())
        found = pipe.evaluate("path")
        assert (found.dtype, tuple(found.tolist())) == (np.int32, best)
    with pytest.raises(ValueError, match="differ"):
        viterbi(SqrtSpacePipeline(), "p", log_start=start, log_transition=np.eye(2))
