"""Stages of one window are given pandas frames."""

from __future__ import annotations

from typing import Any

from sqrtspace_streams._rows import Array
from sqrtspace_streams.adapters.frames import FrameBackend
from sqrtspace_streams.errors import BackendUnavailableError


class PandasBackend(FrameBackend):
    """Pandas frames.

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

    def frame(self, columns: dict[str, Array]) -> Any:
        """A ``pandas.DataFrame``."""
        return self._pandas.DataFrame(columns, copy=True)

    def columns(self, output: Any) -> dict[str, Array] | Array | None:
        """Of a ``DataFrame`` or a ``Series``."""
        if isinstance(output, self._pandas.DataFrame):
            return {str(name): output[name].to_numpy() for name in output.columns}
        if isinstance(output, self._pandas.Series):
            values: Array = output.to_numpy()
            return values
        return None
