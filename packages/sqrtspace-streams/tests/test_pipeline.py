"""The public face: declaring, evaluating, pushing and pulling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sqrtspace_streams import Kernel, SqrtSpacePipeline

RNG = np.random.default_rng(0)
SIGNAL = RNG.standard_normal(30_000).astype("float32")
WEIGHTS = RNG.standard_normal((129, 7)).astype("float32")


class DecayingMaximum(Kernel):
    """A kernel that remembers."""

    def init_state(self, shape: Any, dtype: Any) -> dict[str, Any]:
        return {"maximum": np.full(shape, -np.inf, dtype)}

    def step(self, x_block: Any, state: dict[str, Any], *, decay: float = 0.9) -> Any:
        rows = []
        for row in x_block:
            state["maximum"] = np.maximum(state["maximum"] * np.float32(decay), row)
            rows.append(state["maximum"])
        return np.stack(rows), state


def deep_pipeline(**config: Any) -> SqrtSpacePipeline:
    """FFT, matrix product, two kernels, neighbours, and a stage with three inputs."""
    pipe = SqrtSpacePipeline(window=256, hop=100, **config)

    @pipe.stage("fft", batch_invariant=True)
    def fft(x: np.ndarray) -> np.ndarray:
        return np.abs(np.fft.rfft(x)).astype("float32")

    @pipe.stage("project", ["fft"])
    def project(f: np.ndarray) -> np.ndarray:
        return f @ WEIGHTS

    pipe.kernel("peak", ["project"])(DecayingMaximum)

    @pipe.stage("smooth", ["peak"], context=(3, 2))
    def smooth(z: np.ndarray) -> np.ndarray:
        return np.lib.stride_tricks.sliding_window_view(z, 6, axis=0).mean(-1)

    pipe.kernel("second_peak", ["smooth"])(DecayingMaximum)

    @pipe.stage("mix", ["second_peak", "project", "smooth"])
    def mix(a: np.ndarray, b: np.ndarray, c: np.ndarray, *, gain: float = 0.5) -> np.ndarray:
        return gain * (a + b) @ np.ones((7, 3), "float32") - c[:, :3]

    return pipe


@pytest.fixture(scope="module")
def classic() -> np.ndarray:
    """All windows of the deep pipeline in classic order."""
    pipe = deep_pipeline(mode="classic")
    pipe.bind(SIGNAL)
    return pipe.evaluate("mix")


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("tile", [16, 48])
def test_tiles_and_workers_leave_no_trace(classic: np.ndarray, workers: int, tile: int) -> None:
    """Whatever the tile and the threads, bytes equal those of classic order, in any range."""
    pipe = deep_pipeline(mode="sqrt", max_workers=workers, tile=tile)
    pipe.bind(SIGNAL)
    assert pipe.evaluate("mix").tobytes() == classic.tobytes()
    for t0, t1 in np.sort(RNG.integers(0, len(classic) + 1, (20, 2))):
        assert pipe.evaluate("mix", (t0, t1)).tobytes() == classic[t0:t1].tobytes()


def test_pulling_returns_every_window_once(classic: np.ndarray) -> None:
    """Pushed in pieces and pulled on the way, a stream gives the bytes of one evaluation."""
    pipe, pulled = deep_pipeline(), []
    for _ in pipe.push_all(SIGNAL):
        pulled.append(pipe.pull_until(10**9))
    pipe.close()
    pulled.append(pipe.pull_until(10**9))
    assert np.concatenate(pulled).tobytes() == classic.tobytes()
