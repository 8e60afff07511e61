"""Record windows: frames of pandas, polars and Arrow as sources, and as what stages are given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sqrtspace_streams.errors as errors
from sqrtspace_streams import SqrtSpacePipeline

LOG = np.zeros(50, [("ms", "f4"), ("status", "i8")])
LOG["ms"], LOG["status"] = np.arange(50), np.tile([200, 500], 25)


def frame_of(library: str, records: np.ndarray = LOG) -> Any:
    module: Any = pytest.importorskip(library)
    columns = {name: records[name] for name in records.dtype.names or ()}
    if library == "pyarrow":
        return module.table({name: module.array(column) for name, column in columns.items()})
    return module.DataFrame(columns)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_frame_is_a_source(library: str) -> None:
    """Its rows are samples with fields; any range is read, and no more than it is converted."""
    pipe = SqrtSpacePipeline(window=10, hop=5)
    pipe.bind(frame_of(library))
    pipe.stage("mean", batch_invariant=True)(lambda x: x["ms"].mean(axis=1))
    pipe.stage("failed", batch_invariant=True)(lambda x: (x["status"] >= 500).sum(axis=1))
    assert pipe.evaluate("mean").tolist() == [t * 5 + 4.5 for t in range(9)]
    assert pipe.evaluate("failed", (3, 5)).tolist() == [5, 5]
    assert pipe.source.dtype == LOG.dtype
    assert pipe.source.read(7, 30).tobytes() == LOG[7:30].tobytes()
    with pytest.raises(errors.SourceError, match="samples"):
        pipe.source.read(40, 51)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_text_and_single_columns(library: str) -> None:
    """Text becomes Python strings; a frame with one column has plain samples."""
    words = np.array(["a", "bb", "", "ccc"], object)
    module: Any = pytest.importorskip(library)
    one = {"words": list(words)}
    frame = module.table(one) if library == "pyarrow" else module.DataFrame(one)
    pipe = SqrtSpacePipeline(window=1, hop=1)
    pipe.bind(frame)
    assert pipe.source.read(0, 4).tolist() == words.tolist()
    pipe.stage("length", vectorized=False)(lambda x: np.int64(len(x[0])))
    assert pipe.evaluate("length").tolist() == [1, 2, 0, 3]


def test_batches_that_arrive() -> None:
    """A reader of Arrow batches is read once, as far as needed; empty values are refused."""
    arrow = pytest.importorskip("pyarrow")
    table = frame_of("pyarrow")
    pipe = SqrtSpacePipeline(window=10, hop=10)
    pipe.stage("last", batch_invariant=True)(lambda x: x["ms"][:, -1])
    pipe.bind(arrow.RecordBatchReader.from_batches(table.schema, table.to_batches(7)))
    assert pipe.evaluate("last").tolist() == [9, 19, 29, 39, 49]
    pipe.bind(arrow.table({"n": arrow.array([1, None, 3])}))
    with pytest.raises(errors.SourceError, match="the table: column 'n' of int64 has 1 empty"):
        pipe.source.read(0, 3)


@pytest.mark.parametrize("backend", ["pandas", "polars", "arrow"])
def test_stages_are_given_frames(backend: Any) -> None:
    """One for each window; a returned frame has fields again, a column is an array."""
    library = {"arrow": "pyarrow"}.get(backend, backend)
    kind = type(frame_of(library)).__name__.replace("Table", "RecordBatch")
    pipe, kinds = SqrtSpacePipeline(window=10, hop=10, backend=backend), set()
    pipe.bind(LOG)

    @pipe.stage("same", vectorized=False)
    def same(frame: Any) -> Any:
        kinds.add(type(frame).__name__)
        return frame

    @pipe.stage("column", ["same"], vectorized=False)
    def column(frame: Any) -> Any:
        return frame["ms"]

    pipe.stage("doubled", ["column"], batch_invariant=True)(lambda x: x * 2)
    assert pipe.evaluate("same").tobytes() == LOG.tobytes()
    assert pipe.evaluate("doubled").tolist() == (LOG["ms"].reshape(5, 10) * 2).tolist()
    assert kinds == {kind}


@pytest.mark.parametrize(("backend", "module"), [("polars", "polars"), ("arrow", "pyarrow")])
def test_a_missing_library_says_how_to_install_it(
    backend: Any, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pipeline is not made, and the error has the install line."""
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(errors.BackendUnavailableError, match=r"pip install.*\[" + backend):
        SqrtSpacePipeline(backend=backend)
