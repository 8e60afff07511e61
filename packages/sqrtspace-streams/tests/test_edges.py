"""Questions at the edges: unusual options, rows and limits."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqrtspace_streams import Kernel, SqrtSpacePipeline, errors
from sqrtspace_streams._rows import has_same_bits
from sqrtspace_streams._state import state_bytes
from sqrtspace_streams.demos.audio import DEMO
from sqrtspace_streams.reduction import Moments, fold
from sqrtspace_streams.resume import evaluate_resumable
from sqrtspace_streams.sources import IteratorSource, PushSource, npy_source


def means(**config: Any) -> SqrtSpacePipeline:
    """Means of windows of 8 samples, 4 apart."""
    pipe = SqrtSpacePipeline(window=8, hop=4, **config)
    pipe.stage("mean")(lambda x: x.mean(axis=1))
    return pipe


def chunks(num_samples: int) -> Iterator[Any]:
    """A stream whose end is not known."""
    for start in range(0, num_samples, 1_000):
        yield np.arange(start, min(start + 1_000, num_samples), dtype="float32")


@pytest.mark.parametrize("block_rows", [64, 128])
def test_large_blocks_are_measured_as_well(block_rows: int) -> None:
    """A stream of unknown length is not gathered whole, whatever the blocks."""
    pipe = means(block_rows=block_rows)
    pipe.bind(IteratorSource(chunks(40_000)))
    rows = pipe.evaluate("mean")
    assert len(rows) == 9_999
    assert pipe.last_plan is not None
    assert pipe.last_plan.mode == "sqrt"
    assert pipe.last_plan.slowdown is None  # of no length that is known


@pytest.mark.timeout(60)
def test_a_hop_beyond_the_window_can_be_pushed() -> None:
    """With room for a single window: samples between windows are dropped, no push waits."""
    pipe = SqrtSpacePipeline(window=2, hop=6, input_buffer_blocks=1)
    pipe.stage("sum")(lambda x: x.sum(axis=1))
    samples = np.arange(50, dtype="float32")
    found = [pipe.pull_until(pipe.num_windows()) for _ in pipe.push_all(samples)]
    pipe.close()
    found.append(pipe.pull_until(pipe.num_windows()))
    np.testing.assert_array_equal(np.concatenate(found), [2 * t + 1 for t in range(0, 49, 6)])


@pytest.mark.parametrize("dtype", ["longdouble", "clongdouble"])
def test_padding_of_numbers_is_no_value(dtype: str) -> None:
    """Bytes that fill up a number may differ; its sign, value and NaN count."""
    a = np.array([1, -0.0, np.nan, np.inf], dtype)
    b = a.copy()
    raw = b.view(np.uint8).reshape(4, -1, np.dtype("longdouble").itemsize)
    if np.finfo("longdouble").nmant == 63:  # 10 of its bytes are the number
        raw[..., 10:] = 7
    assert has_same_bits(a, b)
    b[1] = 0.0
    assert not has_same_bits(a, b)
    b = a.copy()
    b[2] = 3
    assert not has_same_bits(a, b)


def test_padding_between_fields_is_no_value() -> None:
    """Rows of records are compared field by field."""
    kind = np.dtype([("flag", "u1"), ("value", "f8")], align=True)
    a, b = np.zeros(3, kind), np.zeros(3, kind)
    b.view(np.uint8).reshape(3, 16)[:, 1:8] = 9
    assert has_same_bits(a, b)
    b["value"][1] = 1e-300
    assert not has_same_bits(a, b)


def test_text_in_a_state_has_its_size() -> None:
    """What is held for long states is counted."""
    assert state_bytes({"b": b"x" * 10_000}) > 10_000
    assert state_bytes(["x" * 10_000]) > 10_000


class Forgets(Kernel):
    """Gives None as its state."""

    def init_state(self, shape: Any, dtype: Any) -> dict[str, Any]:
        return {}

    def step(self, x_block: Any, state: dict[str, Any]) -> Any:
        return x_block[:, 0], None


def test_a_state_of_none_is_refused() -> None:
    """It would stand for a kernel that has not begun."""
    pipe = SqrtSpacePipeline(window=4, hop=4)
    pipe.kernel("k")(Forgets)
    pipe.bind(np.zeros(100, "float32"))
    with pytest.raises(errors.StateError, match=r"'k'.*None"):
        pipe.evaluate("k")


@pytest.mark.skipif(sys.platform != "linux", reason="what RLIMIT_DATA counts differs")
def test_a_limit_of_data_is_a_limit_of_memory() -> None:
    """Which is how memory is limited where there are no control groups."""
    program = (
        "import resource; from sqrtspace_streams._hardware import available_ram\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (600 << 20, 600 << 20))\n"
        "print(available_ram())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert 0 < int(done.stdout) < 600 << 20


def test_the_consumer_is_not_traced() -> None:
    """Memory is measured in the stages alone, also where the consumer stops at once."""
    pipe = means(mode="sqrt")
    pipe.bind(np.zeros(100_000, "float32"))
    pieces = pipe.blocks("mean")
    next(pieces)
    assert not tracemalloc.is_tracing()
    del pieces


def test_rows_of_two_kinds_are_an_error() -> None:
    """A type that changes from call to call is told, and not converted."""
    calls = []

    def fickle(x: Any) -> Any:
        calls.append(len(x))
        return x.sum(axis=1).astype("float32" if len(calls) < 20 else "float64")

    for source in (np.zeros(10_000, "float32"), IteratorSource(chunks(10_000))):
        calls.clear()
        pipe = SqrtSpacePipeline(window=8, hop=4, mode="sqrt", tile=16)
        pipe.stage("fickle")(fickle)
        pipe.bind(source)
        with pytest.raises(errors.StageError, match=r"float64.*before that float32"):
            pipe.evaluate("fickle")


@pytest.mark.parametrize("num_windows", [1, 24, 46, 1_001, 19_999])
def test_a_size_gives_the_windows_that_it_is_of(num_windows: int) -> None:
    """Of the recording, for any count."""
    size = DEMO.size_of(num_windows, 4096, 1024)
    assert DEMO.num_windows(size, 4096, 1024) == num_windows


def test_samples_without_content_are_refused(tmp_path: Path) -> None:
    """A file of shape (5, 0)."""
    np.save(tmp_path / "empty.npy", np.zeros((5, 0), "float32"))
    with pytest.raises(errors.SourceError, match=r"empty\.npy.*\(0,\)"):
        npy_source(tmp_path / "empty.npy")


def test_samples_that_have_not_come_are_not_made_up() -> None:
    """Reading past what was pushed."""
    source = PushSource(100, dtype="float32")
    source.push(np.ones(10, "float32"))
    with pytest.raises(ValueError, match="10 have come"):
        source.read(5, 20)


def test_leaves_begin_at_multiples() -> None:
    """Also of a stream whose first windows are gone."""
    pipe = means()
    pipe.bind(PushSource(2_000, dtype="float32"))
    pipe.push_samples(np.ones(800, "float32"))
    pipe.pull_until(10)
    with pytest.raises(ValueError, match=r"begins at window 10, within a leaf of 64"):
        fold(pipe, "mean", Moments())


class Later(Kernel):
    """Sums of what comes, beginning at the end; rows of three numbers."""

    def init_state(self, shape: Any, dtype: Any) -> dict[str, Any]:
        return {"sum": np.zeros(3)}

    def step(self, x_block: Any, state: dict[str, Any]) -> Any:
        total = state["sum"] + x_block[0, :3]
        return total[None], {"sum": total}


def test_a_reversed_question_is_answered_like_any() -> None:
    """A range beyond the end warns, one of no windows has the shape of rows."""
    pipe = means()
    pipe.reverse_kernel("later", ["input"])(Later)
    pipe.bind(np.ones(84, "float32"))
    pipe.evaluate("mean")
    with pytest.warns(errors.TruncatedRangeWarning, match="up to 20"):
        assert pipe.evaluate("later", (0, 50)).shape == (20, 3)
    assert pipe.last_plan is None
    none = pipe.evaluate("later", (5, 5))
    assert (none.shape, none.dtype) == ((0, 3), np.float64)


class Count(Kernel):
    """Counts windows since it began."""

    def init_state(self, shape: Any, dtype: Any) -> dict[str, Any]:
        return {"n": 0}

    def step(self, x_block: Any, state: dict[str, Any]) -> Any:
        return np.array([state["n"]]), {"n": state["n"] + 1}


def _remembering(*, of_a_kernel: bool) -> SqrtSpacePipeline:
    """A target that reads the window before each as well, and another that reads none."""
    pipe = SqrtSpacePipeline(window=4, hop=4)
    pipe.stage("first")(lambda x: x[:, 0])
    pipe.kernel("count")(Count)
    pipe.stage("pair", ["count" if of_a_kernel else "first"], context=(1, 0))(
        lambda x: np.stack([x[:-1], x[1:]], axis=1)
    )
    pipe.bind(PushSource(100, dtype="float32"))
    return pipe


@pytest.mark.parametrize("of_a_kernel", [False, True])
def test_a_pull_begins_where_its_context_is(of_a_kernel: bool) -> None:
    """After a reset of a stream whose past is gone."""
    pipe = _remembering(of_a_kernel=of_a_kernel)
    samples = np.arange(200, dtype="float32")
    pipe.push_samples(samples[:80])
    assert len(pipe.pull_until(20, "pair")) == 20
    oldest = -(-pipe.source.oldest // 4)
    assert oldest > 0
    pipe.reset()
    pipe.push_samples(samples[80:140])
    rows = pipe.pull_until(35, "pair")
    assert len(rows) == 35 - oldest - 1
    expected = [0, 1] if of_a_kernel else [4 * oldest, 4 * oldest + 4]
    np.testing.assert_array_equal(rows[0], expected)
    if of_a_kernel:
        with pytest.raises(errors.WindowExpiredError, match=f"began at window {oldest}"):
            pipe.evaluate("pair", (oldest, oldest + 3))


def test_a_target_that_is_late_begins_at_what_is_there() -> None:
    """Another one has dropped samples before."""
    pipe = _remembering(of_a_kernel=False)
    samples = np.arange(200, dtype="float32")
    pipe.push_samples(samples[:80])
    pipe.pull_until(20, "first")
    pipe.push_samples(samples[80:140])
    oldest = -(-pipe.source.oldest // 4)
    rows = pipe.pull_until(35, "pair")
    np.testing.assert_array_equal(rows[:, 1], samples[4 * (oldest + 1) : 140 : 4])


def test_a_plan_begins_where_kernels_do() -> None:
    """After a reset of a stream whose past is gone."""
    pipe = SqrtSpacePipeline(window=4, hop=4, input_buffer_blocks=3_000)
    pipe.kernel("count")(Count)
    pipe.bind(PushSource(10_000, dtype="float32"))
    pipe.push_samples(np.zeros(8_000, "float32"))
    pipe.pull_until(500)
    pipe.reset()
    assert pipe.plan("count").num_windows == len(pipe.evaluate("count")) == 1_500


def test_rows_of_objects_cannot_be_resumed(tmp_path: Path) -> None:
    """They are refused by name before a file is written."""
    pipe = SqrtSpacePipeline(window=4, hop=4)
    pipe.stage("words")(lambda x: np.array([f"{row[0]}" for row in x], object))
    pipe.bind(np.zeros(400, "float32"))
    with pytest.raises(TypeError, match="'words' are Python objects"):
        evaluate_resumable(pipe, "words", tmp_path / "run")
    assert not list(tmp_path.rglob("*.npy"))
