"""Windows from the last to the first: the bytes of a run in memory, in few states and steps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sqrtspace_streams.errors as errors
from sqrtspace_streams import Kernel, SqrtSpacePipeline
from sqrtspace_streams.schedules import choose, mixed_steps
from sqrtspace_streams.sources import IteratorSource

SIGNAL = np.random.default_rng(3).standard_normal(4 * 400 + 4).astype("float32")


class Leaky(Kernel):
    """``y[t] = a y[t - 1] + x[t]``; for a tuple of inputs, of their sum."""

    def init_state(self, shape: Any, dtype: Any) -> dict[str, Any]:
        return {"y": 0.0}

    def step(self, x_block: Any, state: dict[str, Any], *, a: float = 0.9) -> Any:
        blocks = x_block if isinstance(x_block, tuple) else (x_block,)
        y, rows = state["y"], []
        for t in range(len(blocks[0])):
            y = a * y + sum(float(block[t].sum()) for block in blocks)
            rows.append(y)
        return np.array(rows)[:, None], {"y": y}


class LeakyBlocks(Leaky):
    chunk_invariant = True


def pipeline(**config: Any) -> SqrtSpacePipeline:
    """Forward stages with state and context, and what runs back over them."""
    pipe = SqrtSpacePipeline(**{"window": 8, "hop": 4, **config})
    pipe.stage("wave")(lambda x: np.tanh(x))
    pipe.kernel("past", ["wave"])(Leaky)
    pipe.stage("near", ["past"], context=(2, 1))(lambda x: x[:-3] + x[1:-2] * 2 - x[3:])
    pipe.reverse_kernel("future", ["near", "input", "past"])(Leaky)
    pipe.reverse_kernel("further", ["future", "wave"])(LeakyBlocks)
    pipe.stage("both", ["further", "past"])(lambda a, b: a @ np.ones((1, 3)) + b)
    pipe.bind(SIGNAL)
    return pipe


def by_hand() -> dict[str, np.ndarray]:
    """The same, in plain NumPy, with everything in memory."""
    x = np.lib.stride_tricks.sliding_window_view(SIGNAL, 8)[::4]
    rows = {"input": x, "wave": np.tanh(x)}
    rows["past"] = loop([rows["wave"]])
    p = np.pad(rows["past"], ((2, 1), (0, 0)), mode="edge")
    rows["near"] = p[:-3] + p[1:-2] * 2 - p[3:]
    back = [rows[name][::-1] for name in ("near", "input", "past")]
    rows["future"] = loop(back)[::-1]
    rows["further"] = loop([rows["future"][::-1], rows["wave"][::-1]])[::-1]
    rows["both"] = rows["further"] @ np.ones((1, 3)) + rows["past"]
    return rows


def loop(inputs: list[np.ndarray]) -> np.ndarray:
    kernel, rows = Leaky(), []
    state = kernel.init_state((), None)
    for t in range(len(inputs[0])):
        row, state = kernel.step(tuple(x[t : t + 1] for x in inputs), state)
        rows.append(row)
    return np.concatenate(rows)


EXPECTED = by_hand()


@pytest.mark.parametrize(
    "config",
    [{}, {"mode": "classic"}, {"lru_bytes": 0}, {"tile": 7, "block_rows": 5}, {"max_workers": 3}],
)
def test_bytes_are_those_of_a_run_in_memory(config: dict[str, Any]) -> None:
    """Reverse kernels over windowed graphs, chains of them, and stages behind them."""
    pipe = pipeline(**config)
    for target in ("future", "further", "both"):
        rows = pipe.evaluate(target)
        np.testing.assert_array_equal(rows, EXPECTED[target])
        for t0, t1 in ((0, 1), (17, 230), (399, 400), (250, 250)):
            part = pipe.evaluate(target, (t0, t1))
            assert part.tobytes() == rows[t0:t1].tobytes()
    out = np.zeros((400, 1))
    assert pipe.evaluate("further", out=out).base is out
    np.testing.assert_array_equal(out, EXPECTED["further"])


@pytest.mark.parametrize("target", ["near", "future", "both", "seen"])
def test_nothing_reversed_can_be_written_to(target: str) -> None:
    """Neither what is handed out, nor what backward stages are given."""
    pipe, given = pipeline(), []

    @pipe.stage("seen", ["future", "past"])
    def seen(*blocks: np.ndarray) -> np.ndarray:
        given.extend(block.flags.writeable for block in blocks)
        return blocks[0]

    assert not any(rows.flags.writeable for _, rows in pipe.blocks_reversed(target))
    assert not any(given)


@pytest.mark.parametrize("budget", [800, 1_500, 5_000, 40_000, 10**6])
def test_steps_and_bytes_of_a_budget(budget: int) -> None:
    """The kernel steps as often as the schedule says, and holds no more bytes than allowed."""
    pipe = pipeline()
    end = 400
    for first, rows in pipe.blocks_reversed("further", budget_bytes=budget):
        assert rows.tobytes() == EXPECTED["further"][first:end].tobytes()
        end = first
    assert end == 0
    report, counts = pipe.last_reversal, pipe.last_counts
    assert report is not None
    (schedule,) = report.schedules
    assert report.steps <= schedule.steps + 1  # the first window, to measure it
    assert report.peak_bytes <= budget
    ahead = 3  # windows that the kernel is ahead of its readers, once for each time it starts
    assert counts.rows["past"] <= report.steps + ahead * (1 + counts.rows["past"] // 100)
    assert counts.rows["future"] == counts.rows["further"] == 400


def test_counted_steps_equal_the_closed_form() -> None:
    """States and rows of one size: as many steps as the theory of mixed schedules has."""

    class Equal(Kernel):
        chunk_invariant = True

        def init_state(self, shape: Any, dtype: Any) -> list[int]:  # type: ignore[override]
            return [0, 0]

        def step(self, x_block: Any, state: Any) -> Any:
            sums = state[1] + np.cumsum(x_block[:, 0].astype(np.int64))
            rows = np.zeros((len(sums), 10), np.int64)
            rows[:, 0] = sums
            return rows, [0, int(sums[-1])]

    pipe = SqrtSpacePipeline(window=1, hop=1, dtype="int64")
    pipe.kernel("sum")(Equal)
    pipe.bind(np.arange(3_000))
    for slots in (5, 9, 77, 120):
        found = list(pipe.blocks_reversed("sum", budget_bytes=80 * slots))
        rows = np.concatenate([rows[:, 0] for _, rows in found[::-1]])
        np.testing.assert_array_equal(rows, np.cumsum(np.arange(3_000)))
        assert pipe.last_reversal is not None
        assert pipe.last_reversal.steps == mixed_steps(3_000, slots) + 1
        assert pipe.last_reversal.peak_bundles <= slots
        assert pipe.last_counts.rows["sum"] == pipe.last_reversal.steps


def test_checkpoints_that_are_there_are_used() -> None:
    """After a forward pass, walking back costs a stretch between two checkpoints, not the past."""
    pipe = pipeline(checkpoint_every=20, ring="all", mode="sqrt")
    forward = pipe.evaluate("near")
    rows = pipe.blocks_reversed("near", (0, 395))
    first, last = next(rows)
    rows.close()  # type: ignore[attr-defined]
    assert last.tobytes() == forward[first:395].tobytes()
    assert pipe.last_reversal is not None
    assert pipe.last_reversal.steps <= 25
    found = list(pipe.blocks_reversed("near"))[::-1]
    assert np.concatenate([block for _, block in found]).tobytes() == forward.tobytes()
    assert len(pipe.last_reversal.schedules) == 21  # states before windows 1, 21, 41...


def test_windows_without_state_are_computed_once() -> None:
    """Where no kernel runs forward, nothing is kept and nothing computed again."""
    pipe = pipeline()
    pipe.reverse_kernel("simple", ["wave"])(Leaky)
    expected = loop([EXPECTED["wave"][::-1]])[::-1]
    assert pipe.evaluate("simple").tobytes() == expected.tobytes()
    assert pipe.last_reversal is not None
    assert (pipe.last_reversal.steps, pipe.last_reversal.peak_bundles) == (400, 0)
    assert pipe.last_counts.rows["wave"] == 400


def test_parameters_reach_both_directions() -> None:
    """By name for all, by stage for one; unknown ones are refused."""
    pipe = pipeline()
    whole = pipe.evaluate("future", params={"past.a": 0.5, "future": {"a": 0.25}})
    again = pipe.evaluate("future", (5, 9), params={"past.a": 0.5, "future.a": 0.25})
    assert again.tobytes() == whole[5:9].tobytes()
    assert not np.array_equal(whole, EXPECTED["future"])
    with pytest.raises(errors.ParameterError, match="no stage takes a parameter 'b'"):
        pipe.evaluate("future", params={"b": 1})


def test_what_cannot_run_backward_is_refused() -> None:
    """Each with what to do: forward readers, context, live and forgotten streams, few bytes."""
    pipe = pipeline()
    pipe.kernel("again", ["future"])(Leaky)
    pipe.stage("around", ["future"], context=(1, 0))(lambda x: x[1:])
    with pytest.raises(errors.GraphError, match="bind it to another pipeline"):
        pipe.evaluate("again")
    with pytest.raises(errors.GraphError, match="has context="):
        pipe.evaluate("around")
    with pytest.raises(errors.GraphError, match="blocks_reversed"):
        pipe.pull_until(3, "future")
    with pytest.raises(ValueError, match="a state takes"):
        list(pipe.blocks_reversed("future", budget_bytes=10))
    with pytest.raises(ValueError, match="t0 <= t1"):
        pipe.evaluate("future", (3, 2))
    with pytest.raises(TypeError, match="no Kernel"):
        pipe.reverse_kernel("x")(dict)  # type: ignore[type-var]
    pipe.bind(IteratorSource(iter([SIGNAL]), keep=0))
    with pytest.raises((errors.WindowExpiredError, ValueError)):
        pipe.evaluate("future")
    live = SqrtSpacePipeline(window=8, hop=4)
    live.reverse_kernel("back")(Leaky)
    live.push_samples(SIGNAL[:40])
    with pytest.raises(ValueError, match="close"):
        live.evaluate("back")
    live.close()
    assert live.evaluate("back").shape == (9, 1)


def test_an_error_names_its_windows() -> None:
    """Those of the stream, not those counted from its end."""

    class Fussy(Leaky):
        def step(self, x_block: Any, state: dict[str, Any], *, a: float = 0.9) -> Any:
            if x_block[0, 0] == SIGNAL[4 * 123]:
                raise FloatingPointError("this one")
            return super().step(x_block, state)

    pipe = pipeline()
    pipe.reverse_kernel("fussy")(Fussy)
    with pytest.raises(errors.StageError, match="this one") as caught:
        pipe.evaluate("fussy")
    assert (caught.value.stage, caught.value.t0, caught.value.t1) == ("fussy", 123, 124)
    assert pipe.evaluate("fussy", (124, 400)).shape == (276, 1)


def test_an_empty_stream() -> None:
    """No windows, no rows, no steps."""
    pipe = pipeline()
    pipe.bind(SIGNAL[:3])
    assert len(pipe.evaluate("future")) == 0
    assert list(pipe.blocks_reversed("near")) == []


def test_the_choice_is_told() -> None:
    """The report has the schedule that `choose` gives for the measured sizes."""
    pipe = pipeline()
    list(pipe.blocks_reversed("past", budget_bytes=4_000))
    assert pipe.last_reversal is not None
    (found,) = pipe.last_reversal.schedules
    expected = choose(400, found.state_bytes, found.row_bytes, 4_000)
    assert (found.kind, found.steps) == (expected.kind, expected.steps)


@pytest.mark.parametrize("bundles", [45, 200])
def test_the_command_that_counts_steps(bundles: int) -> None:
    """Many windows, few bundles: as many steps as the closed form has, and every row right."""
    script = Path(__file__).parents[1] / "bench" / "bench_reverse.py"
    command = [sys.executable, str(script), "--windows", "20000", "--bundles", str(bundles)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{bundles} bundles of {bundles} allowed" in result.stdout
