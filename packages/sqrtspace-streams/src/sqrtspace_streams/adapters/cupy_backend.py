"""Stages are given CuPy arrays on the current CUDA device."""

from __future__ import annotations

import weakref
from functools import partial
from typing import Any

from sqrtspace_streams._rows import Array
from sqrtspace_streams.adapters.numpy_backend import NumpyBackend
from sqrtspace_streams.errors import BackendUnavailableError


class CupyBackend(NumpyBackend):
    """Copies the input to the device, and the output of each stage back.

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
        self._on_device: dict[int, tuple[weakref.ref[Array], Any]] = {}  # outputs, by array

    def give(self, rows: Array) -> Any:
        """The output of the stage before, where it is still on the device; else a copy there.

        Stages must not write to what they are given: others may be given the same.
        """
        reference, array = self._on_device.get(id(rows), (None, None))
        if reference is not None and reference() is rows:
            return array
        return self._cupy.asarray(rows)

    def take(self, output: Any) -> Array:
        """A copy in main memory; the array stays on the device as long as that is used."""
        rows = super().take(self._cupy.asnumpy(output))
        if isinstance(output, self._cupy.ndarray):
            key = id(rows)
            forget = partial(self._on_device.pop, key, None)
            self._on_device[key] = (weakref.ref(rows, lambda _: forget()), output)
        return rows
