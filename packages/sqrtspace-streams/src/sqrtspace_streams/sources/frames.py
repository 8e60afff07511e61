"""Rows of a frame that is in memory, and of batches that arrive one after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sqrtspace_streams.errors import SourceError
from sqrtspace_streams.sources.base import FiniteSource, Samples
from sqrtspace_streams.sources.streams import IteratorSource
from sqrtspace_streams.sources.table import structured, structured_dtype


class ArrowSource(FiniteSource):
    """Rows of a ``pyarrow.Table`` or ``RecordBatch`` as a structured array.

    A sample is a row with one field per column, as of `TableSource`; with one column, samples are
    its plain values. Only the rows of a tile are converted at once.

    Parameters
    ----------
    table : pyarrow.Table or pyarrow.RecordBatch
    """

    def __init__(self, table: Any) -> None:
        self._table = table
        self.dtype = structured_dtype(table.schema, table.schema.names)
        self.length = table.num_rows

    def read(self, start: int, stop: int) -> Samples:
        """A copy."""
        self.check_range(start, stop)
        return structured(self._table.slice(start, stop - start), self.dtype, "the table")


class PandasSource(FiniteSource):
    """Rows of a ``pandas.DataFrame`` as a structured array, without its index.

    Parameters
    ----------
    frame : pandas.DataFrame
    """

    def __init__(self, frame: Any) -> None:
        self._frame, self.length = frame, len(frame)
        fields = [(str(name), _plain(frame[name].dtype)) for name in frame.columns]
        if not fields:
            raise SourceError("the frame has no columns: there is nothing to read")
        self.dtype = fields[0][1] if len(fields) == 1 else np.dtype(fields)

    def read(self, start: int, stop: int) -> Samples:
        """A copy."""
        self.check_range(start, stop)
        part = self._frame.iloc[start:stop]
        samples = np.empty(stop - start, self.dtype)
        for name in part.columns:
            field = samples[str(name)] if self.dtype.names else samples
            field[...] = part[name].to_numpy(dtype=field.dtype)
        return samples


def frame_source(data: Any, keep: int) -> FiniteSource | IteratorSource | None:
    """A source for frames of pandas, polars or Arrow, or for a reader of Arrow batches.

    None for anything else. Nothing is imported: whoever has a frame has its library.
    """
    library = type(data).__module__.partition(".")[0]
    if library == "pandas" and hasattr(data, "iloc") and hasattr(data, "columns"):
        return PandasSource(data)
    if library == "polars" and hasattr(data, "to_arrow") and hasattr(data, "columns"):
        return ArrowSource(data.to_arrow())
    if library == "pyarrow" and hasattr(data, "read_next_batch"):
        dtype = structured_dtype(data.schema, data.schema.names)
        return IteratorSource(_batches(data, dtype), keep=keep, dtype=dtype)
    if library == "pyarrow" and hasattr(data, "num_rows") and hasattr(data, "schema"):
        return ArrowSource(data)
    return None


def _batches(reader: Any, dtype: np.dtype[Any]) -> Iterator[Samples]:
    for batch in reader:
        yield structured(batch, dtype, "a record batch")


def _plain(dtype: Any) -> np.dtype[Any]:
    """The type of a field for a column; Python objects where NumPy has none."""
    return dtype if isinstance(dtype, np.dtype) else np.dtype(object)
