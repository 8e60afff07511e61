"""Stages are given PyTorch tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from sqrtspace_streams._rows import Array
from sqrtspace_streams.adapters.numpy_backend import NumpyBackend
from sqrtspace_streams.errors import BackendUnavailableError


class PytorchBackend(NumpyBackend):
    """Copies each block into a tensor on ``device`` and takes tensors or arrays back.

    Parameters
    ----------
    device : {"cpu", "cuda"}

    Raises
    ------
    BackendUnavailableError
        Without PyTorch, or without a CUDA device where that is asked for.
    """

    def __init__(self, device: str) -> None:
        try:
            import torch
        except ImportError as error:
            raise BackendUnavailableError(
                "backend='pytorch' needs PyTorch: pip install 'sqrtspace-streams[pytorch]'"
            ) from error
        if device == "cuda" and not torch.cuda.is_available():
            raise BackendUnavailableError("device='cuda': PyTorch sees no CUDA device")
        self._torch, self._device = torch, device

    def give(self, rows: Array) -> Any:
        """A tensor of its own: windows overlap in memory, and tensors can be written to."""
        return self._torch.from_numpy(np.array(rows)).to(self._device)

    def take(self, output: Any) -> Array:
        """The tensor's memory, or a copy from the device."""
        if isinstance(output, self._torch.Tensor):
            output = output.detach().cpu().numpy()
        return super().take(output)
