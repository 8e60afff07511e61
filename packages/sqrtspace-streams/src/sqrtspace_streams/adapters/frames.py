"""Frames of pandas, polars and Arrow as structured arrays, and windows of those as frames."""

from __future__ import annotations

from typing import Any

import numpy as np

from sqrtspace_streams._rows import Array
from sqrtspace_streams.adapters.numpy_backend import NumpyBackend
from sqrtspace_streams.errors import BackendUnavailableError


class FrameBackend(NumpyBackend):
    """One frame per window: its columns are the fields of the samples.

    It is for stages that are declared ``vectorized=False``; samples without fields become a frame
    with one column ``value``, and blocks of several windows stay arrays. A stage may return a
    frame, whose columns become the fields of its rows, a column, an array or a number.
    """

    leaves_blocks = True

    def give(self, rows: Array) -> Any:
        """A frame of its own for one axis of samples."""
        if rows.ndim != 1:
            return rows
        return self.frame({name: rows[name] for name in rows.dtype.names or ()} or {"value": rows})

    def take(self, output: Any) -> Array:
        """Frames become structured arrays."""
        columns = self.columns(output)
        if columns is None:
            return super().take(output)
        if not isinstance(columns, dict):
            return super().take(columns)
        arrays = {name: np.asarray(column) for name, column in columns.items()}
        size = len(next(iter(arrays.values()))) if arrays else 0
        rows = np.empty(size, [(name, array.dtype) for name, array in arrays.items()])
        for name, array in arrays.items():
            rows[name] = array
        return rows

    def frame(self, columns: dict[str, Array]) -> Any:
        """A frame that shares no memory with the columns."""
        raise NotImplementedError

    def columns(self, output: Any) -> dict[str, Array] | Array | None:
        """The columns of a frame, the values of a column, or None for anything else."""
        raise NotImplementedError


class PolarsBackend(FrameBackend):
    """Polars frames.

    Raises
    ------
    BackendUnavailableError
        Without polars.
    """

    def __init__(self) -> None:
        try:
            import polars
        except ImportError as error:
            raise BackendUnavailableError(
                "backend='polars' needs polars: pip install 'sqrtspace-streams[polars]'"
            ) from error
        self._polars = polars

    def frame(self, columns: dict[str, Array]) -> Any:
        """A ``polars.DataFrame``."""
        return self._polars.DataFrame({name: column.copy() for name, column in columns.items()})

    def columns(self, output: Any) -> dict[str, Array] | Array | None:
        """Of a ``DataFrame`` or a ``Series``."""
        if isinstance(output, self._polars.DataFrame):
            return {column.name: column.to_numpy() for column in output.iter_columns()}
        if isinstance(output, self._polars.Series):
            values: Array = output.to_numpy()
            return values
        return None


class ArrowBackend(FrameBackend):
    """Arrow record batches.

    Raises
    ------
    BackendUnavailableError
        Without pyarrow.
    """

    def __init__(self) -> None:
        try:
            import pyarrow
        except ImportError as error:
            raise BackendUnavailableError(
                "backend='arrow' needs pyarrow: pip install 'sqrtspace-streams[arrow]'"
            ) from error
        self._arrow = pyarrow

    def frame(self, columns: dict[str, Array]) -> Any:
        """A ``pyarrow.RecordBatch``."""
        arrays = [self._arrow.array(column.copy()) for column in columns.values()]
        return self._arrow.RecordBatch.from_arrays(arrays, names=list(columns))

    def columns(self, output: Any) -> dict[str, Array] | Array | None:
        """Of a ``RecordBatch``, a ``Table``, an ``Array`` or a ``Scalar``."""
        arrow = self._arrow
        if isinstance(output, arrow.RecordBatch | arrow.Table):
            names = output.schema.names
            return {name: _values(output.column(name)) for name in names}
        if isinstance(output, arrow.Array | arrow.ChunkedArray):
            return _values(output)
        if isinstance(output, arrow.Scalar):
            return np.asarray(output.as_py())
        return None


def _values(column: Any) -> Array:
    options = {} if hasattr(column, "chunks") else {"zero_copy_only": False}
    values: Array = column.to_numpy(**options)
    return values
