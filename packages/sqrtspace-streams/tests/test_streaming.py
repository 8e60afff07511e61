"""Pushing and pulling: capacity, backpressure, cursors, threads."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

import sqrtspace_streams.errors as errors
from sqrtspace_streams import SqrtSpacePipeline

SIGNAL = np.random.default_rng(3).standard_normal(20_000).astype("float32")


def pipeline(**config: Any) -> SqrtSpacePipeline:
    pipe = SqrtSpacePipeline(**{"window": 64, "hop": 24, **config})
    pipe.stage("spectrum")(lambda x: np.abs(np.fft.rfft(x))[:, :5])
    return pipe


def whole() -> np.ndarray:
    pipe = pipeline()
    pipe.bind(SIGNAL)
    return pipe.evaluate("spectrum")


def test_the_buffer_holds_its_blocks_exactly() -> None:
    """``W + (blocks - 1) H`` samples fit, one more does not and changes nothing."""
    pipe = pipeline(input_buffer_blocks=3)
    capacity = 64 + 2 * 24
    assert pipe.free_samples == capacity
    assert pipe.push_samples(SIGNAL[:capacity])
    assert not pipe.push_samples(SIGNAL[:1])
    assert pipe.free_samples == 0
    assert pipe.num_windows() == 3
    assert pipe.pull_until(99).tobytes() == whole()[:3].tobytes()
    assert pipe.push_samples(SIGNAL[capacity : capacity + 1])


def test_more_than_ever_fits_is_refused_with_a_warning() -> None:
    """A push larger than the buffer returns False and says why."""
    pipe = pipeline(input_buffer_blocks=2)
    with pytest.warns(RuntimeWarning, match="never fit a buffer of 88"):
        assert not pipe.push_samples(SIGNAL[:89])
    assert pipe.free_samples == 88


def test_a_push_that_no_pull_makes_room_for_warns() -> None:
    """Less than a window waits, so that pulling frees nothing: that is said, not waited for."""
    pipe = pipeline(input_buffer_blocks=2)
    assert pipe.push_samples(SIGNAL[:63])
    with pytest.warns(RuntimeWarning, match="at most 25 samples"):
        assert not pipe.push_samples(SIGNAL[63:89])
    assert pipe.push_samples(SIGNAL[63:88])


@pytest.mark.parametrize(
    ("samples", "error"),
    [
        (SIGNAL[:10].astype("float64"), TypeError),
        ([1.0, 2.0], TypeError),
        (SIGNAL[:10].reshape(2, 5), ValueError),
        (np.float32(1), TypeError),
    ],
)
def test_other_samples_are_refused(samples: Any, error: type[Exception]) -> None:
    """Another type or shape is an error, and nothing is taken."""
    pipe = pipeline()
    with pytest.raises(error):
        pipe.push_samples(samples)
    assert pipe.num_windows() == 0
    assert pipe.free_samples == pipe.settings.capacity


def test_pulls_end_at_the_last_full_window() -> None:
    """Windows come once, in order; where there is nothing new the shape tells what would come."""
    pipe, expected = pipeline(), whole()
    assert pipe.pull_until(10).shape == (0, 5)
    pipe.push_samples(SIGNAL[: 64 + 24 * 9 + 23])
    assert pipe.pull_until(4).tobytes() == expected[:4].tobytes()
    assert pipe.pull_until(2).shape == (0, 5)
    assert pipe.pull_until(1000).tobytes() == expected[4:10].tobytes()
    assert pipe.pull_until(1000).shape == (0, 5)
    with pytest.raises(ValueError, match="t_target"):
        pipe.pull_until(-1)


@pytest.mark.parametrize("seed", range(5))
def test_chunks_leave_no_trace(seed: int) -> None:
    """Any chunking and any pulls give the bytes of one evaluation, overlap included."""
    rng, pipe, pulled = np.random.default_rng(seed), pipeline(input_buffer_blocks=5), []
    for piece in np.split(SIGNAL, np.sort(rng.integers(0, len(SIGNAL), 40))):
        for _ in pipe.push_all(piece):
            pulled.append(pipe.pull_until(pipe.num_windows()))
    pulled.append(pipe.pull_until(10**9))
    assert np.concatenate(pulled).tobytes() == whole().tobytes()


def test_targets_have_cursors_of_their_own() -> None:
    """Samples stay until every target that was ever pulled has passed them."""
    pipe = pipeline(input_buffer_blocks=4)
    pipe.stage("energy")(lambda x: (x * x).sum(axis=1))
    with pytest.raises(errors.GraphError, match="which stage"):
        pipe.pull_until(1)
    pipe.pull_until(0, "energy")
    pipe.push_samples(SIGNAL[: pipe.free_samples])
    assert len(pipe.pull_until(9, "spectrum")) == 4
    assert pipe.free_samples == 0
    assert len(pipe.pull_until(9, "energy")) == 4
    assert pipe.free_samples == 4 * 24


def test_looking_ahead_waits_for_the_end() -> None:
    """A stage that reads the next two windows gives its last two only after ``close``."""
    pipe = SqrtSpacePipeline(window=4, hop=4)
    pipe.stage("ahead", context=(0, 2))(lambda x: x[2:, 0])
    pipe.push_samples(np.arange(20, dtype="float32"))
    assert pipe.pull_until(99).tolist() == [8, 12, 16]
    assert pipe.pull_until(99).shape == (0,)
    pipe.close()
    assert pipe.pull_until(99).tolist() == [16, 16]


def test_a_closed_stream_takes_no_samples() -> None:
    """After ``close`` pushing is an error; what was pushed can still be pulled."""
    pipe = pipeline()
    pipe.push_samples(SIGNAL[:640])
    pipe.close()
    with pytest.raises(errors.ClosedError, match="closed"):
        pipe.push_samples(SIGNAL[:1])
    assert len(pipe.pull_until(99)) == 25


def test_evaluating_consumes_nothing() -> None:
    """Pushed windows can be asked for again, until they are pulled."""
    pipe, expected = pipeline(), whole()
    pipe.push_samples(SIGNAL[:640])
    for _ in range(2):
        assert pipe.evaluate("spectrum").tobytes() == expected[:25].tobytes()
    pipe.pull_until(10)
    assert pipe.evaluate("spectrum").tobytes() == expected[10:25].tobytes()
    with pytest.raises(errors.WindowExpiredError, match=r"window 3.*oldest.*is 10"):
        pipe.evaluate("spectrum", (3, 12))
    assert pipe.pull_until(99).tobytes() == expected[10:25].tobytes()


def test_a_bound_pipeline_takes_no_pushes() -> None:
    """Pushing into a pipeline that reads a file or array is an error that says so."""
    pipe = pipeline()
    pipe.bind(SIGNAL)
    with pytest.raises(ValueError, match="reads from a ArraySource"):
        pipe.push_samples(SIGNAL)
    with pytest.raises(TypeError, match="float64"):
        pipeline(dtype="float32").bind(SIGNAL.astype("float64"))


@pytest.mark.timeout(60)
def test_a_producer_and_a_consumer_need_no_locks() -> None:
    """One thread pushes while another pulls: no window is lost or doubled, memory is bounded."""
    pipe, pulled = pipeline(input_buffer_blocks=2), []
    most = 0

    def produce() -> None:
        nonlocal most
        for start in range(0, len(SIGNAL), 25):
            piece = SIGNAL[start : start + 25]
            while not pipe.push_samples(piece):
                time.sleep(0.0005)
            most = max(most, pipe.settings.capacity - pipe.free_samples)
        pipe.close()

    producer = threading.Thread(target=produce)
    producer.start()
    while producer.is_alive():
        pulled.append(pipe.pull_until(10**9))
    producer.join()
    pulled.append(pipe.pull_until(10**9))
    assert np.concatenate(pulled).tobytes() == whole().tobytes()
    assert most <= 64 + 24
