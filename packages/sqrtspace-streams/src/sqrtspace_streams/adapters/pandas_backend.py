"""Stages of one window are given pandas frames."""

from __future__ import annotations

from typing import Any

from sqrtspace_streams._rows import Array
from sqrtspace_streams.adapters.numpy_backend import NumpyBackend
from sqrtspace_streams.errors import BackendUnavailableError


class PandasBackend(NumpyBackend):
    """One frame per window: its columns are the fields of the samples.

    It is for stages that are declared ``vectorized=False``; samples without fields become a frame
    with one column ``value``, and blocks of several windows stay arrays. A stage may return a
    frame, whose columns become the fields of its rows, a series, an array or a number.

    Raises
    ------
    BackendUnavailableError
        Without pandas.
    """

    def __init__(self) -> None:
        try:
            import pandas
        except ImportError as error:
            raise BackendUnavailableError(
                "backend='pandas' needs pandas: pip install 'sqrtspace-streams[pandas]'"
            ) from error
        self._pandas = pandas

    def give(self, rows: Array) -> Any:
        """A frame of its own for one axis of samples."""
        if rows.ndim != 1:
            return rows
        columns = {name: rows[name] for name in rows.dtype.names or ()} or {"value": rows}
        return self._pandas.DataFrame(columns, copy=True)

    def take(self, output: Any) -> Array:
        """Frames become structured arrays."""
        if isinstance(output, self._pandas.DataFrame):
            records = output.to_records(index=False)
            return super().take(records.view(records.dtype.descr))
        if isinstance(output, self._pandas.Series):
            output = output.to_numpy()
        return super().take(output)
