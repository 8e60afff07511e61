"""What stages are given: NumPy arrays, or something that a library makes of them."""

from __future__ import annotations

from sqrtspace_streams.adapters.numpy_backend import NumpyBackend
from sqrtspace_streams.config import Settings

__all__ = ["NumpyBackend", "load_backend"]


def load_backend(settings: Settings) -> NumpyBackend:
    """The backend that the settings name.

    Raises
    ------
    BackendUnavailableError
        If its library or its device is missing; the message has the install line.
    """
    if settings.backend == "cupy":
        from sqrtspace_streams.adapters.cupy_backend import CupyBackend

        return CupyBackend()
    if settings.backend == "pandas":
        from sqrtspace_streams.adapters.pandas_backend import PandasBackend

        return PandasBackend()
    if settings.backend == "polars":
        from sqrtspace_streams.adapters.frames import PolarsBackend

        return PolarsBackend()
    if settings.backend == "arrow":
        from sqrtspace_streams.adapters.frames import ArrowBackend

        return ArrowBackend()
    if settings.backend == "pytorch":
        from sqrtspace_streams.adapters.pytorch_backend import PytorchBackend

        return PytorchBackend(settings.device)
    return NumpyBackend()
