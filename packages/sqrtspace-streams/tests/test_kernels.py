"""Kernels: state in the order of time, replay, errors on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sqrtspace_streams.errors as errors
from sqrtspace_streams import Kernel, SqrtSpacePipeline

SIGNAL = np.random.default_rng(1).standard_normal(8_000)


class Filter(Kernel):
    """``y[n] = x[n] + a y[n - 1]`` over all samples, each once, whatever the overlap."""

    def __init__(self, hop: int) -> None:
        self.hop = hop

    def init_state(self, shape: Any, dtype: Any, *, initial: float = 0.0) -> dict[str, Any]:
        return {"y": initial, "began": False}

    def step(self, x_block: Any, state: dict[str, Any], *, a: float = 0.5) -> Any:
        (x,) = x_block
        new, y = (x[-self.hop :] if state["began"] else x), state["y"]
        for value in new.tolist():
            y = value + a * y
        return np.array([[y, len(new)]]), {"y": y, "began": True}


class Viterbi(Kernel):
    """The best log-probability of two hidden states."""

    def init_state(self, shape: Any, dtype: Any, **kw: Any) -> dict[str, Any]:
        return {"score": np.zeros(2)}

    def step(self, x_block: Any, state: dict[str, Any], **kw: Any) -> Any:
        score = state["score"]
        for x in x_block:
            emission = -((x.mean() - np.array([-0.1, 0.1])) ** 2)
            stay, move = score - 0.1, score[::-1] - 2.3
            score[...] = np.maximum(stay, move) + emission
        return score[None].copy(), state


class Exploding(Filter):
    """Raises once at one window, after it has changed its state."""

    def __init__(self, hop: int, when: int) -> None:
        super().__init__(hop)
        self.when, self.count = when, 0

    def step(self, x_block: Any, state: dict[str, Any], **kw: Any) -> Any:
        self.count += 1
        state["y"] += 1000.0 if self.count == self.when else 0.0
        if self.count == self.when:
            raise FloatingPointError("once")
        return super().step(x_block, state)


def pipeline(**config: Any) -> SqrtSpacePipeline:
    pipe = SqrtSpacePipeline(**{"window": 16, "hop": 8, "max_workers": 1, "tile": 16, **config})
    pipe.bind(SIGNAL)
    return pipe


def by_hand(kernel: Kernel, params: dict[str, Any] | None = None) -> tuple[np.ndarray, Any]:
    """Outputs and last state of a plain loop over the windows."""
    x = np.lib.stride_tricks.sliding_window_view(SIGNAL, 16)[::8]
    state, rows = kernel.init_state((16,), SIGNAL.dtype), []
    for t in range(len(x)):
        row, state = kernel.step(x[t : t + 1], state, **(params or {}))
        rows.append(row[0])
    return np.stack(rows), state


@pytest.mark.parametrize("mode", ["classic", "sqrt"])
@pytest.mark.parametrize("make", [lambda: Filter(8), Viterbi])
def test_a_kernel_equals_a_plain_loop(mode: str, make: Any) -> None:
    """Outputs and the state after them are those of a loop, for the whole and for any range."""
    pipe = pipeline(mode=mode)
    pipe.kernel("k")(make())
    expected, state = by_hand(make())
    assert pipe.evaluate("k").tobytes() == expected.tobytes()
    (history,) = pipe._memory._histories["k"].values()
    assert history.marks["evaluate"].t == len(expected)
    for name, value in history.marks["evaluate"].state.items():
        assert np.asarray(value).tobytes() == np.asarray(state[name]).tobytes()
    for t0, t1 in np.sort(np.random.default_rng(2).integers(0, len(expected), (60, 2))).tolist():
        assert pipe.evaluate("k", (t0, t1)).tobytes() == expected[t0:t1].tobytes()


def test_a_filter_meets_every_sample_once() -> None:
    """With all of the first window and ``hop`` samples of later ones, nothing is lost."""
    pipe = pipeline()
    pipe.kernel("k", hop=8)(Filter)
    rows, y, expected = pipe.evaluate("k"), 0.0, []
    for n, value in enumerate(SIGNAL.tolist()):
        y = value + 0.5 * y
        if n >= 15 and (n - 15) % 8 == 0:
            expected.append(y)
    np.testing.assert_array_equal(rows[:, 0], expected)
    assert rows[:, 1].sum() == len(SIGNAL)


def test_parameters_of_both_methods() -> None:
    """``init_state`` and ``step`` are each given what they declare."""
    pipe = pipeline()
    pipe.kernel("k", hop=8)(Filter)
    rows = pipe.evaluate("k", (0, 1), {"a": 0.0, "initial": 5.0})
    assert rows[0, 0] == SIGNAL[15]
    rows = pipe.evaluate("k", (0, 1), {"a": 1.0, "initial": 5.0})
    np.testing.assert_allclose(rows[0, 0], 5 + SIGNAL[:16].sum())


def test_seeking_replays_from_the_last_checkpoint() -> None:
    """A window costs at most k steps, a checkpointed one none, and the same bytes either way."""
    pipe = pipeline(checkpoint_every=10, ring="all", mode="sqrt", lru_bytes=0)
    pipe.kernel("k", hop=8)(Filter)
    whole = pipe.evaluate("k")
    for t in (0, 10, 555, 990, 19, 21):
        assert pipe.evaluate("k", (t, t + 1)).tobytes() == whole[t : t + 1].tobytes()
        assert pipe.last_counts.rows["k"] == t % 10
    assert pipe.evaluate("k", (555, 556)).tobytes() == whole[555:556].tobytes()


def test_rows_of_a_checkpoint_cannot_be_changed() -> None:
    """They are handed out without a copy, and read-only like all blocks."""
    pipe = pipeline(checkpoint_every=10, ring="all", mode="sqrt", lru_bytes=0)
    pipe.kernel("k", hop=8)(Filter)
    pipe.evaluate("k")
    for t_range in [(550, 551), (555, 556), (0, 40), None]:
        assert not any(rows.flags.writeable for _, rows in pipe.blocks("k", t_range))


def test_a_forward_sweep_recomputes_nothing() -> None:
    """Whole, in consecutive ranges, or pulled: each window is stepped over once."""
    pipe = pipeline()
    pipe.stage("twice")(lambda x: 2 * x)
    pipe.kernel("k", ["twice"], hop=8)(Filter)
    count = pipe.num_windows()
    pipe.evaluate("k")
    assert pipe.last_counts.recompute_ratio() == 0
    pipe.reset()
    for t0 in range(0, count, 100):
        t1 = min(t0 + 100, count)
        pipe.evaluate("k", (t0, t1))
        assert pipe.last_counts.rows["k"] == t1 - t0
        assert pipe.last_counts.recompute_ratio() == 0


def test_replayed_windows_count_as_recompute() -> None:
    """Starting in the middle without a checkpoint steps over all windows before."""
    pipe = pipeline()
    pipe.kernel("k", hop=8)(Filter)
    pipe.evaluate("k", (500, 600))
    assert pipe.last_counts.rows["k"] == 600
    assert pipe.last_counts.recompute_ratio() == pytest.approx(5.0)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_failed_evaluation_leaves_no_trace(workers: int) -> None:
    """A kernel that raises after changing its state is replayed from where it was sound."""
    pipe = pipeline(mode="sqrt", max_workers=workers, checkpoint_every=7)
    pipe.kernel("k")(Exploding(8, when=300))
    with pytest.raises(errors.StageError, match="once") as caught:
        pipe.evaluate("k")
    assert (caught.value.stage, caught.value.t0, caught.value.t1) == ("k", 299, 300)
    assert isinstance(caught.value.__cause__, FloatingPointError)
    assert pipe.evaluate("k").tobytes() == by_hand(Filter(8))[0].tobytes()


def test_a_failed_pull_can_be_tried_again() -> None:
    """Nothing is lost: the same pull returns every window."""
    pipe = pipeline()
    pipe.kernel("k")(Exploding(8, when=150))
    first = pipe.pull_until(100)
    with pytest.raises(errors.StageError):
        pipe.pull_until(900)
    rows = np.concatenate([first, pipe.pull_until(900), pipe.pull_until(10**6)])
    assert rows.tobytes() == by_hand(Filter(8))[0].tobytes()


def test_other_parameters_need_a_reset_between_pulls() -> None:
    """A filter cannot change its coefficient half way; after a reset it begins anew."""
    pipe = pipeline()
    pipe.kernel("k", hop=8)(Filter)
    pipe.pull_until(100, params={"a": 0.5})
    with pytest.raises(errors.ParameterError, match=r"after window 100.*reset"):
        pipe.pull_until(200, params={"a": 0.25})
    pipe.reset()
    rows = pipe.pull_until(200, params={"a": 0.25})
    assert rows.tobytes() == by_hand(Filter(8), {"a": 0.25})[0][:200].tobytes()


def test_parameters_have_checkpoints_of_their_own() -> None:
    """Answers for one coefficient never start from the state of another."""
    pipe = pipeline(mode="sqrt", checkpoint_every=4)
    pipe.kernel("k", hop=8)(Filter)
    for a in (0.1, 0.9, 0.1, 0.5, 0.9):
        expected = by_hand(Filter(8), {"a": a})[0]
        assert pipe.evaluate("k", (400, 420), {"a": a}).tobytes() == expected[400:420].tobytes()


def test_blocks_of_an_old_source_leave_nothing_behind() -> None:
    """Blocks that are finished after another source was bound do not touch its answers."""
    pipe = pipeline(mode="sqrt")
    pipe.stage("twice")(lambda x: 2 * x)
    pipe.kernel("k", ["twice"], hop=8)(Filter)
    old = pipe.blocks("k", (0, 500))
    next(old)
    pipe.bind(-SIGNAL)
    for _ in old:
        pass
    fresh = pipeline(mode="classic")
    fresh.stage("twice")(lambda x: 2 * x)
    fresh.kernel("k", ["twice"], hop=8)(Filter)
    fresh.bind(-SIGNAL)
    expected = fresh.evaluate("k")
    for t_range in [(500, 520), (0, 20), (0, len(expected))]:
        assert pipe.evaluate("k", t_range).tobytes() == expected[slice(*t_range)].tobytes()


class Reuser(Kernel):
    """Its output is its state, which it changes in place, or a view of that."""

    def __init__(self, gives_view: bool) -> None:
        self.gives_view = gives_view

    def init_state(self, shape: Any, dtype: Any) -> dict[str, Any]:
        return {"y": np.zeros(1)}

    def step(self, x_block: Any, state: dict[str, Any]) -> Any:
        state["y"] *= 0.9
        state["y"] += x_block[0, 0]
        return state["y"][:] if self.gives_view else state["y"], state


@pytest.mark.parametrize("gives_view", [True, False])
def test_a_kernel_may_return_its_state(gives_view: bool) -> None:
    """Rows that were handed out stay as they were, and its array can still be written to."""
    expected, y = [], 0.0
    for x in SIGNAL[:800:8].tolist():
        y = y * 0.9 + x
        expected.append(y)
    pipe = pipeline(mode="sqrt", tile=1, block_rows=1, checkpoint_every=50)
    pipe.kernel("k", gives_view=gives_view)(Reuser)
    ranges = [(0, 15), (15, 16), (16, 100)]
    parts = [rows for t_range in ranges for _, rows in pipe.blocks("k", t_range)]
    assert np.concatenate(parts).tolist() == expected


class Hoarder(Filter):
    """Keeps what cannot be copied."""

    def step(self, x_block: Any, state: dict[str, Any], **kw: Any) -> Any:
        rows, state = super().step(x_block, state)
        return rows, {**state, "seen": {1, 2}}


def test_state_that_cannot_be_copied_is_refused_on_the_first_step() -> None:
    """The error names the kernel and the path in its state."""
    pipe = pipeline()
    pipe.kernel("k")(Hoarder(8))
    with pytest.raises(errors.StateError, match=r"kernel 'k': state\['seen'\] is a set"):
        pipe.evaluate("k")


class Odd(Filter):
    """Returns what it was made with."""

    def __init__(self, answer: Any) -> None:
        super().__init__(8)
        self.answer = answer

    def step(self, x_block: Any, state: dict[str, Any], **kw: Any) -> Any:
        return self.answer


@pytest.mark.parametrize(
    ("answer", "message"),
    [(np.zeros(1), "no pair"), (([1.0], {}), "output list"), ((np.zeros(3), {}), "1 rows")],
)
def test_odd_answers_of_a_kernel_are_named(answer: Any, message: str) -> None:
    """``step`` returns an array with one row per window, and a state."""
    pipe = pipeline()
    pipe.kernel("k")(Odd(answer))
    with pytest.raises(errors.StageError, match=message):
        pipe.evaluate("k")
