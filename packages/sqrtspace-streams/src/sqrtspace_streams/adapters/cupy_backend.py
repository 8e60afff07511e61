"""Stages are given CuPy arrays on the current CUDA device."""

from __future__ import annotations

from typing import Any

from sqrtspace_streams._rows import Array
from sqrtspace_streams.adapters.numpy_backend import NumpyBackend
from sqrtspace_streams.errors import BackendUnavailableError


class CupyBackend(NumpyBackend):
    """Copies each block to the device and its output back.

    Raises
    ------
    BackendUnavailableError
        Without CuPy or without a device.
    """

    def __init__(self) -> None:
        try:
            import cupy
        except ImportError as error:
            raise BackendUnavailableError(
                "backend='cupy' needs CuPy: pip install 'sqrtspace-streams[cupy]'"
            ) from error
        try:
            cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise BackendUnavailableError(f"CuPy sees no CUDA device: {error}") from error
        self._cupy = cupy

    def give(self, rows: Array) -> Any:
        """A copy on the device."""
        return self._cupy.asarray(rows)

    def take(self, output: Any) -> Array:
        """A copy in main memory."""
        return super().take(self._cupy.asnumpy(output))
