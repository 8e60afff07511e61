"""Stages: canonical blocks, neighbours, random numbers, purity, backends."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import numpy as np
import pytest

import sqrtspace_streams.errors as errors
from sqrtspace_streams import SqrtSpacePipeline

SIGNAL = np.random.default_rng(5).standard_normal(4_000).astype("float32")


def pipeline(**config: Any) -> SqrtSpacePipeline:
    pipe = SqrtSpacePipeline(**{"window": 32, "hop": 10, **config})
    pipe.bind(SIGNAL)
    return pipe


def test_blocks_have_one_size_and_place() -> None:
    """A stage sees 16 rows, row ``t % 16`` is window t, and short blocks repeat their last row."""
    pipe, seen = pipeline(mode="sqrt", max_workers=1, tile=32), []

    @pipe.stage("s", check=False)
    def s(x: np.ndarray) -> np.ndarray:
        seen.append(x.copy())
        return x[:, 0]

    pipe.evaluate("s", (5, 40))
    windows = np.lib.stride_tricks.sliding_window_view(SIGNAL, 32)[::10]
    assert [len(x) for x in seen] == [16] * len(seen)
    np.testing.assert_array_equal(seen[0], windows[[5] * 5 + list(range(5, 16))])
    np.testing.assert_array_equal(seen[-1], windows[list(range(32, 40)) + [39] * 8])


def test_a_matrix_product_has_the_same_bits_in_any_piece() -> None:
    """Alone, in a pair or in a thousand, a window's product is the same to the last bit."""
    weights = np.random.default_rng(6).standard_normal((32, 9)).astype("float32")
    pipe = pipeline(lru_bytes=0)
    pipe.stage("product")(lambda x: x @ weights)
    whole = pipe.evaluate("product")
    for t0 in range(60):
        for size in (1, 2, 7, 33):
            rows = pipe.evaluate("product", (t0, t0 + size))
            assert rows.tobytes() == whole[t0 : t0 + size].tobytes()


@pytest.mark.parametrize("pad", ["edge", "zero"])
def test_neighbours_are_padded_at_the_ends(pad: Any) -> None:
    """A stage with context (2, 1) is given n + 3 rows; the ends are repeated or zero."""
    pipe = pipeline(tile=16)
    pipe.stage("first")(lambda x: x[:, 0])
    pipe.stage("sum", ["first"], context=(2, 1), pad=pad)(
        lambda x: x[:-3] + x[1:-2] + x[2:-1] + x[3:]
    )
    first = pipe.evaluate("first")
    mode = {"edge": "edge", "zero": "constant"}[pad]
    p = np.pad(first, (2, 1), mode=mode)
    np.testing.assert_array_equal(pipe.evaluate("sum"), p[:-3] + p[1:-2] + p[2:-1] + p[3:])


@pytest.mark.parametrize("context", [(5, 0), (0, 3), (5, 2), (40, 0)])
def test_neighbours_are_computed_once(context: tuple[int, int]) -> None:
    """One thread keeps rows that the next tile reads, but for the last few; bits are equal."""
    found = []
    for config in ({"mode": "sqrt", "tile": 16, "max_workers": 1}, {"mode": "classic"}):
        pipe = SqrtSpacePipeline(window=8, hop=4, block_rows=4, **config)
        pipe.stage("wave")(np.sin)
        pipe.stage("sharp", ["wave"], batch_invariant=True)(lambda x: x[:, ::2] - x[:, 1::2])
        width = sum(context) + 1
        pipe.stage("smooth", ["sharp"], context=context)(
            lambda x, *, n=width: np.lib.stride_tricks.sliding_window_view(x, n, axis=0).max(
                axis=-1
            )
        )
        pipe.stage("both", ["smooth", "wave"], context=(1, 1))(lambda a, b: a[1:-1] + b[1:-1, ::2])
        pipe.bind(np.random.default_rng(0).standard_normal(4 * 500).astype("float32"))
        found.append(pipe.evaluate("both"))
        rows = pipe.last_counts.rows
        again = 8 if context[1] else 0  # where the stream ends, and nothing new is computed
        assert all(499 <= count <= 499 + again for count in rows.values()), (config, rows)
    assert found[0].tobytes() == found[1].tobytes()


def test_random_numbers_belong_to_a_window() -> None:
    """The same seed gives the same numbers in any order and piece; another seed, stage or window
    gives others."""
    results = {}
    for seed, workers in [(0, 1), (0, 4), (1, 1)]:
        pipe = pipeline(seed=seed, max_workers=workers, tile=16, mode="sqrt")
        for name in ("a", "b"):

            @pipe.stage(name, vectorized=False)
            def noise(x: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
                return rng.standard_normal(4)

        results[seed, workers] = pipe.evaluate("a")
        assert pipe.evaluate("a", (77, 78)).tobytes() == pipe.evaluate("a")[77:78].tobytes()
        assert not np.array_equal(pipe.evaluate("a"), pipe.evaluate("b"))
    assert results[0, 1].tobytes() == results[0, 4].tobytes()
    assert len(np.unique(np.concatenate([results[0, 1], results[1, 1]]))) == 8 * len(results[0, 1])
    with pytest.raises(errors.GraphError, match="vectorized=False"):
        pipeline().stage("c")(noise)


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (lambda x: x - np.median(x), {}),
        (lambda x: x - x.mean(axis=0), {}),
        (lambda x: x * np.arange(len(x))[:, None], {}),
        (lambda x: np.cumsum(x, axis=0), {"batch_invariant": True}),
    ],
)
def test_a_stage_that_mixes_windows_is_refused(function: Any, options: dict[str, Any]) -> None:
    """Results that depend on the other windows of a call are an error, unless trusted."""
    pipe = pipeline()
    pipe.stage("mixes", **options)(function)
    with pytest.raises(errors.RowCouplingError, match=r"'mixes'.*other windows of the call"):
        pipe.evaluate("mixes")
    trusting = pipeline()
    trusting.stage("mixes", check=False, **options)(function)
    assert len(trusting.evaluate("mixes"))


@pytest.mark.parametrize("options", [{}, {"batch_invariant": True}])
@pytest.mark.parametrize("config", [{}, {"block_rows": 2}, {"max_workers": 4, "tile": 16}])
def test_a_stage_that_mixes_windows_stays_refused(
    options: dict[str, Any], config: dict[str, Any]
) -> None:
    """Whoever asks again is told again; and one window, which shows nothing, is no trial."""
    pipe = pipeline(**config)
    pipe.stage("mixes", **options)(lambda x: x - x.mean(axis=0))
    pipe.evaluate("mixes", (0, 1))
    for t_range in [(0, 40), (0, 40), (3, 40), None, (0, 3)]:
        with pytest.raises(errors.RowCouplingError):
            pipe.evaluate("mixes", t_range)


def test_a_false_promise_of_invariance_is_refused() -> None:
    """A stage whose last bits depend on the size of the block may not be batch invariant."""

    def product(x: np.ndarray) -> np.ndarray:
        total = x.astype("float64").sum(axis=1) * 0.1
        return total if len(x) > 2 else np.nextafter(total, 2 * total)

    pipe = pipeline()
    pipe.stage("product", batch_invariant=True)(product)
    with pytest.raises(errors.RowCouplingError, match="batch_invariant, yet the last bits"):
        pipe.evaluate("product")
    careful = pipeline()
    careful.stage("product")(product)
    assert len(careful.evaluate("product"))


def test_an_impure_stage_is_refused() -> None:
    """A stage that counts its calls is found out."""
    calls: list[int] = []

    def counts(x: np.ndarray) -> np.ndarray:
        calls.append(1)
        return x[:, 0] + len(calls)

    pipe = pipeline()
    pipe.stage("counts")(counts)
    with pytest.raises(errors.ImpureStageError, match="'counts'"):
        pipe.evaluate("counts")


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: 1 / 0, "ZeroDivisionError"),
        (lambda x: x[:3], "expected 16 rows"),
        (lambda x: x.sum(), r"shape \(\)"),
        (lambda x: None, "returned a NoneType"),
        (lambda x: [1] * 16, "returned a list"),
    ],
)
def test_what_goes_wrong_in_a_stage_is_named(workers: int, function: Any, message: str) -> None:
    """The error has stage and windows; the pipeline works on."""
    pipe = pipeline(max_workers=workers, tile=16, mode="sqrt")
    pipe.stage("bad", check=False)(function)
    pipe.stage("good")(lambda x: x)
    with pytest.raises(errors.StageError, match=rf"stage 'bad', windows \[0, 16\): .*{message}"):
        pipe.evaluate("bad")
    assert len(pipe.evaluate("good")) == 397


def _changed_in_one_block(change: Any, x: np.ndarray) -> np.ndarray:
    return change(x) if x[0, 0] == SIGNAL[160] else x


def test_rows_have_one_shape_and_type() -> None:
    """A stage whose rows change on the way is an error, in a tile and between tiles."""
    for change in (lambda x: x[:, :5], lambda x: x.astype("float64")):
        pipe = pipeline(tile=32)
        odd = partial(_changed_in_one_block, change)
        pipe.stage("s", check=False)(odd)
        with pytest.raises((errors.StageError, ValueError), match=r"before that|out is"):
            pipe.evaluate("s")


def test_a_stage_may_return_an_array_of_its_own() -> None:
    """It is not made read-only, and writing to it later changes no row that is remembered."""
    pipe, table = pipeline(), np.arange(16.0)
    pipe.stage("table", batch_invariant=True, check=False)(lambda x: table)
    rows = pipe.evaluate("table", (0, 16))
    table += 1
    assert pipe.evaluate("table", (0, 16)).tobytes() == rows.tobytes()


def test_pytorch_stages_equal_numpy() -> None:
    """Tensors in, tensors out, arrays between and in the end."""
    torch = pytest.importorskip("torch")
    pipe, kinds = pipeline(backend="pytorch"), set()

    @pipe.stage("half")
    def half(x: Any) -> Any:
        kinds.add(type(x))
        return x / 2

    pipe.stage("norm", ["half"])(lambda x: torch.linalg.vector_norm(x, dim=1))
    rows = pipe.evaluate("norm")
    windows = np.lib.stride_tricks.sliding_window_view(SIGNAL, 32)[::10]
    np.testing.assert_allclose(rows, np.linalg.norm(windows / 2, axis=1), rtol=1e-6)
    assert kinds == {torch.Tensor}
    assert type(rows) is np.ndarray


@pytest.mark.gpu
def test_pytorch_stages_run_on_the_device() -> None:
    """With ``device="cuda"`` stages see CUDA tensors and results equal the CPU's closely."""
    import torch

    rows = {}
    for device in ("cpu", "cuda"):
        pipe = pipeline(backend="pytorch", device=device)
        pipe.stage("s")(lambda x, d=device: torch.fft.rfft(x).abs() * (x.device.type == d))
        rows[device] = pipe.evaluate("s")
    np.testing.assert_allclose(rows["cuda"], rows["cpu"], rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
def test_cupy_stages_run_on_the_device() -> None:
    """With ``backend="cupy"`` stages see CuPy arrays and results equal NumPy's closely."""
    cupy = pytest.importorskip("cupy")
    rows, kinds = {}, set()
    for backend in ("numpy", "cupy"):
        pipe = pipeline(backend=backend)

        @pipe.stage("energy", check=False)
        def energy(x: Any) -> Any:
            kinds.add(type(x))
            return (x * x).sum(axis=1)

        rows[backend] = pipe.evaluate("energy")
    assert kinds == {np.ndarray, cupy.ndarray}
    assert type(rows["cupy"]) is np.ndarray
    np.testing.assert_allclose(rows["cupy"], rows["numpy"], rtol=1e-4, atol=1e-4)


def test_pandas_stages_get_a_frame_for_each_window() -> None:
    """Fields are columns; a returned frame has fields again; mixed with array stages."""
    pandas = pytest.importorskip("pandas")
    log = np.zeros(50, [("ms", "f4"), ("status", "i8")])
    log["ms"], log["status"] = np.arange(50), np.tile([200, 500], 25)
    pipe = SqrtSpacePipeline(window=10, hop=10, backend="pandas")
    pipe.bind(log)

    @pipe.stage("errors", vectorized=False)
    def errors_of(frame: Any) -> Any:
        assert isinstance(frame, pandas.DataFrame)
        return frame[frame.status == 500].reset_index(drop=True)

    pipe.stage("latest", ["errors"], vectorized=False)(lambda frame: frame["ms"].to_numpy()[-1])
    assert pipe.evaluate("latest").tolist() == [9, 19, 29, 39, 49]
    assert pipe.evaluate("errors").dtype == log.dtype


def test_blocks_stay_arrays_beside_frames() -> None:
    """A stage of blocks that reads numbers is given them as an array, whatever the backend."""
    pytest.importorskip("pandas")
    pipe, kinds = pipeline(backend="pandas"), set()
    pipe.stage("mean", vectorized=False)(lambda frame: frame["value"].mean())

    @pipe.stage("twice", ["mean"])
    def twice(x: Any) -> Any:
        kinds.add(type(x))
        return x * 2

    assert pipe.evaluate("twice").tolist() == (pipe.evaluate("mean") * 2).tolist()
    assert kinds == {np.ndarray}


@pytest.mark.parametrize(("backend", "module"), [("cupy", "cupy"), ("pytorch", "torch")])
def test_a_missing_backend_says_how_to_install_it(
    backend: Any, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pipeline is not made, and the error is an ImportError with the install line."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(errors.BackendUnavailableError, match="pip install"):
        SqrtSpacePipeline(backend=backend)
