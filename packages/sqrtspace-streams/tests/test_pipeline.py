"""The public face: options, registration, parameters, ranges."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, get_type_hints

import numpy as np
import pytest

import sqrtspace_streams.errors as errors
from sqrtspace_streams import Config, Kernel, SqrtSpacePipeline

RNG = np.random.default_rng(0)
SIGNAL = RNG.standard_normal(5_000).astype("float32")


def pipeline(**config: Any) -> SqrtSpacePipeline:
    """Windows of 16 samples, each 8 after the last, over the signal."""
    pipe = SqrtSpacePipeline(**{"window": 16, "hop": 8, **config})
    pipe.bind(SIGNAL)
    return pipe


def windows() -> np.ndarray:
    """What ``pipeline`` gives to its stages."""
    return np.lib.stride_tricks.sliding_window_view(SIGNAL, 16)[::8]


def mean(x: np.ndarray) -> np.ndarray:
    return x.mean(axis=1)


def test_optional_libraries_stay_unloaded() -> None:
    """The import, and an evaluation, load neither numba, scipy, torch, pandas nor cupy."""
    code = """
import sys, numpy as np
from sqrtspace_streams import SqrtSpacePipeline, Kernel, Config
pipe = SqrtSpacePipeline(window=8, hop=4)
pipe.stage("double")(lambda x: 2 * x)
pipe.bind(np.zeros(9000, "float32")); pipe.evaluate("double")
print([m for m in ("numba", "scipy", "torch", "cupy", "pandas", "pyarrow") if m in sys.modules])
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_config_has_the_documented_keys() -> None:
    """Config names the options of the specification, and five more."""
    specified = {"window", "hop", "dtype", "checkpoint_every", "lru_bytes", "max_workers"}
    specified |= {"input_buffer_blocks", "device", "backend", "mode"}
    ours = {"tile", "block_rows", "slots", "ring", "seed"}
    assert set(get_type_hints(Config)) == specified | ours


def test_defaults_are_those_of_the_specification() -> None:
    """Without options a pipeline has the documented ones."""
    s = SqrtSpacePipeline().settings
    assert (s.window, s.hop, s.dtype, s.checkpoint_every) == (4096, 1024, np.float32, 16)
    assert (s.lru_bytes, s.max_workers, s.input_buffer_blocks) == (64 << 20, 8, 64)
    assert (s.device, s.backend, s.mode) == ("cpu", "numpy", "auto")


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("windows", 3, TypeError),
        ("window", 0, ValueError),
        ("window", "auto", ValueError),
        ("hop", 0, ValueError),
        ("hop", 1.5, TypeError),
        ("checkpoint_every", 0, ValueError),
        ("lru_bytes", -1, ValueError),
        ("max_workers", 0, ValueError),
        ("max_workers", True, TypeError),
        ("mode", "fast", ValueError),
        ("device", "tpu", ValueError),
        ("device", "cuda", ValueError),
        ("backend", "jax", ValueError),
        ("dtype", "float33", TypeError),
    ],
)
def test_bad_options_are_refused(option: str, value: Any, error: type[Exception]) -> None:
    """An unknown option is a TypeError; a value out of range names the option."""
    with pytest.raises(error, match=option if option != "dtype" else "float33"):
        SqrtSpacePipeline(**{option: value})  # type: ignore[arg-type]


def test_the_decorator_returns_the_function() -> None:
    """A stage is still the function that was decorated."""
    assert SqrtSpacePipeline().stage("mean")(mean) is mean


@pytest.mark.parametrize(
    ("name", "inputs"),
    [("input", None), ("", None), ("a.b", None), ("x", []), ("x", "input"), ("x", ["input"] * 2)],
)
def test_stages_that_cannot_be_are_refused(name: str, inputs: Any) -> None:
    """Reserved names, empty inputs and a signature with another number of arrays are errors."""
    with pytest.raises(errors.GraphError):
        SqrtSpacePipeline().stage(name, inputs)(mean)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pad": "zeros"}, r"'c': pad='zeros': expected one of \('edge', 'zero'\)"),
        *[
            ({"context": c}, "two counts >= 0")
            for c in [(-1, 0), (1,), (1, 0, 0), (0.5, 1), 2, "ab"]
        ],
    ],
)
def test_neighbours_that_cannot_be_are_refused(options: Any, message: str) -> None:
    """A misspelt pad and a context that is no two counts; a list and NumPy's integers may be."""
    pipe = SqrtSpacePipeline(window=2, hop=2)
    with pytest.raises(errors.GraphError, match=message):
        pipe.stage("c", **options)(mean)
    pipe.stage("c", context=[np.int64(0), 0])(mean)  # type: ignore[arg-type]
    assert pipe.graph.stages["c"].context == (0, 0)


def test_functions_of_numpy_are_stages() -> None:
    """A ufunc takes as many inputs as it has; another number is refused."""
    pipe = SqrtSpacePipeline(window=2, hop=2)
    pipe.stage("sine", batch_invariant=True)(np.sin)
    pipe.stage("sum", ["sine", "input"], batch_invariant=True)(np.add)
    x = np.arange(6, dtype="float32")
    pipe.bind(x)
    np.testing.assert_array_equal(pipe.evaluate("sum").ravel(), np.sin(x) + x)
    with pytest.raises(errors.GraphError, match="positional arguments"):
        pipe.stage("bad", ["sine", "input"])(np.sin)


def test_a_name_is_taken_once() -> None:
    """A second stage of the same name is refused, and the first one stays."""
    pipe = pipeline()
    pipe.stage("mean")(mean)
    with pytest.raises(errors.GraphError, match="already"):
        pipe.stage("mean")(lambda x: x)
    assert pipe.evaluate("mean").ndim == 1


def test_cycles_are_refused_at_registration() -> None:
    """The stage that would close a cycle is not registered; neither is one that reads itself."""
    pipe = pipeline()
    pipe.stage("x", ["y"])(mean)
    with pytest.raises(errors.CycleError, match="'y'"):
        pipe.stage("y", ["x"])(mean)
    with pytest.raises(errors.CycleError):
        pipe.stage("z", ["z"])(mean)
    assert list(pipe.graph.stages) == ["x"]
    pipe.stage("y")(lambda x: 2 * x)
    np.testing.assert_array_equal(pipe.evaluate("x"), (2 * windows()).mean(axis=1))


def test_unknown_stages_are_named() -> None:
    """An unknown target or input is an error that proposes a near name."""
    pipe = pipeline()
    pipe.stage("features", ["bandpas"])(mean)
    pipe.stage("bandpass")(mean)
    with pytest.raises(errors.GraphError, match=r"'bandpas', which 'features' reads.*'bandpass'"):
        pipe.evaluate("features")
    with pytest.raises(errors.GraphError, match="did you mean 'features'"):
        pipe.evaluate("feature")


@pytest.mark.parametrize("mode", ["classic", "sqrt"])
def test_a_graph_with_two_branches_equals_numpy(mode: str) -> None:
    """Inputs arrive in the order of their names; the shared stage runs once for each window."""
    pipe, called = pipeline(mode=mode, tile=16, max_workers=1), []

    @pipe.stage("shared", batch_invariant=True, check=False)
    def shared(x: np.ndarray) -> np.ndarray:
        called.append(len(x))
        return x * np.float32(3)

    pipe.stage("left", ["shared"])(lambda x: x[:, :4])
    pipe.stage("right", ["shared"])(lambda x: x[:, 4:8])
    pipe.stage("mix", ["left", "right"])(lambda a, b, *, gain=0.5: gain * (a - 2 * b))
    shared_rows = windows() * np.float32(3)
    expected = 0.25 * (shared_rows[:, :4] - 2 * shared_rows[:, 4:8])
    np.testing.assert_array_equal(pipe.evaluate("mix", params={"gain": 0.25}), expected)
    assert sum(called) == len(expected)
    assert pipe.last_counts.rows["shared"] == len(expected)


def test_parameters_reach_the_stages_that_declare_them() -> None:
    """Plain names go to all who declare them, qualified ones to one stage."""
    pipe = pipeline()
    pipe.stage("a")(lambda x, *, gain: x * gain)
    pipe.stage("b", ["a"])(lambda x, *, gain, shift=0: x * gain + shift)
    x = windows()
    for params, factor in [
        ({"gain": 2}, 4),
        ({"gain": 2, "b.gain": 3}, 6),
        ({"gain": 2, "a": {"gain": 5}}, 10),
    ]:
        np.testing.assert_array_equal(pipe.evaluate("b", params=params), x * np.float32(factor))


def test_wrong_parameters_fail_before_any_stage_runs() -> None:
    """Missing and unknown parameters name stage and parameter."""
    pipe, called = pipeline(), []

    @pipe.stage("a")
    def a(x: np.ndarray, *, gain: float) -> np.ndarray:
        called.append(1)
        return x * gain

    pipe.stage("b", ["a"])(mean)
    for params, message in [
        (None, r"'a' needs \['gain'\]"),
        ({"gain": 1, "gian": 2}, "'gian'"),
        ({"gain": 1, "b.gain": 2}, "'b' takes no 'gain'"),
        ({"gain": 1, "rng": 2}, "'rng'"),
    ]:
        with pytest.raises(errors.ParameterError, match=message):
            pipe.evaluate("b", params=params)
    assert not called


def test_any_range_equals_a_slice_of_the_whole() -> None:
    """Ranges are half-open and can be asked for again and again."""
    pipe = pipeline()
    pipe.stage("mean")(mean)
    whole = pipe.evaluate("mean")
    np.testing.assert_array_equal(whole, mean(windows()))
    for t0, t1 in np.sort(RNG.integers(0, len(whole) + 1, (200, 2))).tolist():
        assert pipe.evaluate("mean", (t0, t1)).tobytes() == whole[t0:t1].tobytes()


def test_ranges_outside_the_stream() -> None:
    """A range past the end is cut with a warning; one that is no range is an error."""
    pipe = pipeline()
    pipe.stage("mean")(mean)
    count = pipe.num_windows()
    with pytest.warns(errors.TruncatedRangeWarning, match=f"up to {count}"):
        assert len(pipe.evaluate("mean", (count - 3, count + 5))) == 3
    with pytest.warns(errors.TruncatedRangeWarning):
        assert len(pipe.evaluate("mean", (count + 3, count + 5))) == 0
    for bad in [(-1, 3), (5, 4)]:
        with pytest.raises(ValueError, match="t_range"):
            pipe.evaluate("mean", bad)


@pytest.mark.parametrize("mode", ["classic", "sqrt", "auto"])
@pytest.mark.parametrize("samples", [0, 15])
def test_a_stream_without_windows_gives_rows_of_the_right_kind(mode: str, samples: int) -> None:
    """No window gives no rows, with the shape and type that rows would have."""
    pipe = pipeline(mode=mode)
    pipe.stage("pairs")(lambda x: x[:, :2].astype("float64"))
    pipe.bind(SIGNAL[:samples])
    rows = pipe.evaluate("pairs")
    assert (rows.shape, rows.dtype) == ((0, 2), np.float64)


def test_non_numbers_pass_through() -> None:
    """NaN and infinities come out of both orders where they went in, without warnings."""
    x = SIGNAL.copy()
    x[[9, 696, 697]] = [np.nan, np.inf, -np.inf]
    results = []
    for mode in ("classic", "sqrt"):
        pipe = pipeline(mode=mode)
        pipe.stage("first")(lambda x: x[:, :3] * 2)
        pipe.bind(x)
        results.append(pipe.evaluate("first"))
    assert results[0].tobytes() == results[1].tobytes()
    assert np.isnan(results[0]).any()
    assert np.isinf(results[0]).any()


def test_results_belong_to_the_caller() -> None:
    """A result can be written to without an effect on later answers or on the source."""
    pipe, before = pipeline(hop=16), SIGNAL.copy()
    pipe.stage("same", batch_invariant=True)(lambda x: x)
    for t_range in [None, (0, 5), (0, 5)]:
        rows = pipe.evaluate("same", t_range)
        assert rows[0, 0] == before[0]
        rows[...] = 7
    np.testing.assert_array_equal(SIGNAL, before)


def test_out_is_filled() -> None:
    """``out`` takes the rows; one of another shape is refused."""
    pipe = pipeline()
    pipe.stage("mean")(mean)
    out = np.empty(pipe.num_windows(), "float32")
    assert pipe.evaluate("mean", out=out).base is out
    np.testing.assert_array_equal(out, mean(windows()))
    with pytest.raises(ValueError, match="out is float64"):
        pipe.evaluate("mean", out=out.astype("float64"))


def test_a_consumer_may_stop() -> None:
    """Blocks that nobody waits for are dropped, threads included; the next question works."""
    pipe = pipeline(mode="sqrt", max_workers=3, tile=16)
    pipe.stage("mean")(mean)
    blocks = pipe.blocks("mean")
    first, rows = next(blocks)
    blocks.close()
    assert first == 0
    np.testing.assert_array_equal(pipe.evaluate("mean")[: len(rows)], rows)


def test_stages_are_given_plain_read_only_arrays() -> None:
    """Each stage gets an ndarray with windows first, which it cannot write to."""
    pipe = pipeline()

    @pipe.stage("writes")
    def writes(x: np.ndarray) -> np.ndarray:
        assert type(x) is np.ndarray
        x *= 2
        return x

    with pytest.raises(errors.StageError, match=r"'writes'.*read-only"):
        pipe.evaluate("writes")


def test_t_index_turns_seconds_into_windows() -> None:
    """At 48 kHz and a hop of 1024, 120 windows are 2.56 seconds."""
    pipe = SqrtSpacePipeline(window=4096, hop=1024)
    assert pipe.t_index(2.56, 48_000) == 120


def test_impure_needs_a_kernel() -> None:
    """``pure=False`` takes a Kernel class and nothing else."""

    class Sum(Kernel):
        def init_state(self, shape: Any, dtype: Any, **kw: Any) -> dict[str, Any]:
            return {"sum": 0.0}

        def step(self, x_block: Any, state: dict[str, Any], **kw: Any) -> Any:
            state["sum"] += float(x_block.sum())
            return np.array([state["sum"]]), state

    pipe = pipeline()
    assert pipe.stage("sum", pure=False)(Sum) is Sum
    np.testing.assert_allclose(pipe.evaluate("sum"), windows().sum(axis=1).cumsum(), rtol=1e-5)
    with pytest.raises(TypeError, match="Kernel class"):
        pipe.stage("mean", pure=False)(mean)
    with pytest.raises(TypeError, match="no Kernel"):
        pipe.kernel("other")(mean)  # type: ignore[type-var]
