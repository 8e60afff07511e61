"""Runs that are killed and go on: identical bytes, or a clear refusal."""

from __future__ import annotations

import math
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sqrtspace_streams.errors as errors
from sqrtspace_streams import Kernel, SqrtSpacePipeline
from sqrtspace_streams.resume import Journal, evaluate_resumable
from sqrtspace_streams.resume.codec import decode, encode

SIGNAL = np.random.default_rng(5).standard_normal(8 * 500).astype("float32")


class Leaky(Kernel):
    def init_state(self, shape: Any, dtype: Any) -> dict[str, Any]:
        return {"y": np.zeros(shape)}

    def step(self, x_block: Any, state: dict[str, Any], *, a: float = 0.9) -> Any:
        y = a * state["y"] + x_block[0]
        return y[None], {"y": y}


def pipeline(scale: float = 2.0, data: np.ndarray = SIGNAL, **config: Any) -> SqrtSpacePipeline:
    pipe = SqrtSpacePipeline(**{"window": 16, "hop": 8, "max_workers": 1, **config})
    pipe.stage("scaled")(lambda x: x * scale)
    pipe.kernel("past", ["scaled"])(Leaky)
    pipe.stage("near", ["past"], context=(2, 1))(lambda x: x[:-3] + x[1:-2] - x[3:])
    pipe.bind(data)
    return pipe


class StopError(Exception):
    """Stands for a crash."""


def stop_after(count: int) -> Any:
    def progress(done: int, _total: int) -> None:
        if done >= count:
            raise StopError

    return progress


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """With the bytes of a run that was never stopped, and without its work being done again."""
    expected = pipeline().evaluate("near")
    for count in (1, 60, 61, 200, 480):
        with pytest.raises(StopError):
            evaluate_resumable(pipeline(), "near", tmp_path, every=20, progress=stop_after(count))
    stepped: list[int] = []
    rows = evaluate_resumable(
        pipeline(), "near", tmp_path, every=20, progress=lambda done, total: stepped.append(done)
    )
    assert rows.tobytes() == expected.tobytes()
    assert stepped == [499]
    assert not rows.flags.writeable
    again = evaluate_resumable(pipeline(), "near", tmp_path, progress=stop_after(0))
    assert again.tobytes() == expected.tobytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "rows.npy", "state.bin"]
    assert np.load(tmp_path / "rows.npy").tobytes() == expected.tobytes()


def test_ranges_parameters_and_threads(tmp_path: Path) -> None:
    """A range that begins late, with parameters, on threads, with commits as time allows."""
    expected = pipeline().evaluate("near", (37, 333), {"a": 0.5})
    pipe = pipeline(max_workers=3, tile=16, mode="sqrt")
    found = evaluate_resumable(pipe, "near", tmp_path / "a", (37, 333), {"a": 0.5})
    assert found.tobytes() == expected.tobytes()
    with pytest.raises(ValueError, match="none"):
        evaluate_resumable(pipe, "near", tmp_path / "b", (37, 37))


def test_another_run_is_refused(tmp_path: Path) -> None:
    """The message says what is not the same; the files stay as they are."""
    with pytest.raises(StopError):
        evaluate_resumable(pipeline(), "near", tmp_path, every=50, progress=stop_after(100))
    before = (tmp_path / "state.bin").read_bytes()
    other = SIGNAL.copy()
    other[-1] += 1
    for pipe, arguments, what in (
        (pipeline(scale=3.0), {}, "stage 'scaled'"),
        (pipeline(block_rows=8), {}, "block_rows"),
        (pipeline(hop=4), {}, "hop, windows"),
        (pipeline(data=other), {}, "source"),
        (pipeline(), {"params": {"a": 0.5}}, "parameters of 'past'"),
        (pipeline(), {"t_range": (0, 9)}, "windows"),
    ):
        with pytest.raises(errors.ResumeError, match=f"not the same: {what}"):
            evaluate_resumable(pipe, "near", tmp_path, **arguments)  # type: ignore[arg-type]
    with pytest.raises(errors.ResumeError, match=r"stage 'near', target"):
        evaluate_resumable(pipeline(), "past", tmp_path)
    assert (tmp_path / "state.bin").read_bytes() == before
    assert len(evaluate_resumable(pipeline(), "near", tmp_path)) == 499


FACTOR = 2.0


def helper(x: np.ndarray) -> np.ndarray:
    return x * FACTOR


def test_what_a_stage_uses_is_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper, a constant of its module, a partial, a weight; not what an object remembers."""
    from functools import partial

    from sqrtspace_streams.resume.fingerprint import differences, fingerprint

    class Held:
        def __init__(self) -> None:
            self.seen: dict[str, int] = {}

    class Weighted:
        def __init__(self, weight: float) -> None:
            self.weight = np.full(3, weight)

        def __call__(self, x: np.ndarray) -> np.ndarray:
            return x * self.weight[0]

    held = Held()

    def found(weight: float = 1.0, scale: int = 1) -> dict[str, str]:
        pipe = SqrtSpacePipeline(window=2, hop=2)
        pipe.stage("helped")(lambda x: helper(x) + len(held.seen))
        pipe.stage("weighted")(Weighted(weight))
        pipe.stage("partial")(partial(np.full_like, fill_value=scale))
        pipe.stage("all", ["helped", "weighted", "partial"])(lambda a, b, c: a + b + c)
        pipe.bind(SIGNAL)
        question = pipe._question("all", None)
        return fingerprint(question.compiled, question.arguments, pipe.source, pipe.settings)

    before = found()
    held.seen["x"] = 1
    assert found() == before
    assert differences(before, found(weight=2.0)) == ["stage 'weighted'"]
    assert differences(before, found(scale=2)) == ["stage 'partial'"]
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert differences(before, found()) == ["stage 'helped'"]
    monkeypatch.undo()
    monkeypatch.setitem(globals(), "helper", lambda x: x * 2.0)
    assert differences(before, found()) == ["stage 'helped'"]


def test_damage_is_refused(tmp_path: Path) -> None:
    """Any flipped bit and any cut of the state, and of the rows that were committed."""
    with pytest.raises(StopError):
        evaluate_resumable(pipeline(), "near", tmp_path, every=100, progress=stop_after(100))
    rng = np.random.default_rng(0)
    for name, size in (("state.bin", None), ("rows.npy", 128 + 100 * 16 * 8)):
        path = tmp_path / name
        sound = path.read_bytes()
        for _ in range(15):
            broken, at = bytearray(sound), int(rng.integers(size or len(sound)))
            broken[at] ^= 1 << int(rng.integers(8))
            path.write_bytes(broken)
            with pytest.raises(errors.DamagedResumeError, match=name):
                evaluate_resumable(pipeline(), "near", tmp_path)
        for cut in (0, 7, len(sound) // 2, len(sound) - 1):
            path.write_bytes(sound[:cut])
            with pytest.raises(errors.DamagedResumeError, match=name):
                evaluate_resumable(pipeline(), "near", tmp_path)
        path.write_bytes(sound)
    found = evaluate_resumable(pipeline(), "near", tmp_path)
    assert found.tobytes() == pipeline().evaluate("near").tobytes()


def test_other_directories_are_left_alone(tmp_path: Path) -> None:
    """A directory with files of somebody else is refused; so is one that is in use."""
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(errors.ResumeError, match=r"thesis\.tex"):
        evaluate_resumable(pipeline(), "near", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    journal = Journal(tmp_path / "new")
    with journal.locked(), pytest.raises(errors.ResumeError, match="in use"):
        evaluate_resumable(pipeline(), "near", tmp_path / "new")


def test_state_survives_to_the_bit() -> None:
    """Nested containers, NaN payloads, empty and 0-d arrays, large ints, orders, fields."""
    nan = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_DEAD_BEEF))[0]
    state = {
        "a": [1, -(10**30), True, None, "ü", b"\x00\xff", math.inf, nan, 1j, (2, ())],
        3: {"x": np.float32(0.1), "t": np.datetime64("2020-01-01"), "e": np.zeros((0, 3))},
        "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "s": np.zeros(2, [("a", ">i4"), ("b", "<f8", (2,))]),
        "zero": np.array(-0.0),
    }
    found = decode(encode(state), "here")
    assert repr(found) == repr(state)
    assert found["f"].flags.f_contiguous
    assert found["s"].dtype == state["s"].dtype  # type: ignore[attr-defined]
    assert struct.pack("<d", found["a"][7]) == struct.pack("<d", nan)
    assert encode(found) == encode(state)
    with pytest.raises(errors.StateError, match=r"state\['x'\] is a set"):
        encode({"x": {1}})


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
@pytest.mark.timeout(120)
def test_killed_processes_leave_the_same_bytes() -> None:
    """Five times kill -9 at random moments, and runs to the end in between."""
    script = Path(__file__).parents[1] / "bench" / "bench_resume.py"
    command = [sys.executable, str(script), "kill", "--kills", "5"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 with other bytes" in result.stdout
