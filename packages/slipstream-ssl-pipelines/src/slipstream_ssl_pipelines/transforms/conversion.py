"""Types, devices and axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_decoders import BatchContext, Stage


class _Conversion(Stage):
    """A stage without parameters or randomness."""

    def apply(self, batch: Any, context: BatchContext) -> Any:
        """Convert a tensor or array, or each one of a list."""
        del context
        return (
            [self.convert(item) for item in batch]
            if isinstance(batch, list)
            else self.convert(batch)
        )

    def __call__(self, batch: Any) -> Any:
        """Convert outside of a loader."""
        return self.apply(batch, BatchContext.standalone(0))

    def convert(self, item: Any) -> Any:
        """Convert one tensor or array."""
        raise NotImplementedError


def _tensor(item: Any) -> torch.Tensor:
    return item if isinstance(item, torch.Tensor) else torch.as_tensor(item)


class ToNumpy(_Conversion):
    """Tensor -> array on the CPU, sharing memory where it can."""

    def convert(self, item: Any) -> NDArray[Any]:
        """See ``ToNumpy``."""
        return np.asarray(item.detach().cpu() if isinstance(item, torch.Tensor) else item)


class ToDevice(_Conversion):
    """Move to a device.

    Parameters
    ----------
    device : device
    non_blocking : bool
    """

    def __init__(self, device: Any, non_blocking: bool = True) -> None:
        self.device = torch.device(device)
        self.non_blocking = non_blocking

    def convert(self, item: Any) -> torch.Tensor:
        """See ``ToDevice``."""
        return _tensor(item).to(self.device, non_blocking=self.non_blocking)


class ToChannelsFirst(_Conversion):
    """(..., H, W, C) -> (..., C, H, W): a view."""

    def convert(self, item: Any) -> torch.Tensor:
        """See ``ToChannelsFirst``."""
        return _tensor(item).movedim(-1, -3)


class ToChannelsLast(_Conversion):
    """(..., C, H, W) -> (..., H, W, C): a view."""

    def convert(self, item: Any) -> torch.Tensor:
        """See ``ToChannelsLast``."""
        return _tensor(item).movedim(-3, -1)


class Convert(_Conversion):
    """Another dtype, values as they are.

    Parameters
    ----------
    dtype : dtype
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def convert(self, item: Any) -> torch.Tensor:
        """See ``Convert``."""
        return _tensor(item).to(self.dtype)


class ToFloatDiv(_Conversion):
    """To floating point, divided by a number.

    Parameters
    ----------
    value : float
    dtype : dtype
    """

    def __init__(self, value: float = 255.0, dtype: torch.dtype = torch.float32) -> None:
        self.value = value
        self.dtype = dtype

    def convert(self, item: Any) -> torch.Tensor:
        """See ``ToFloatDiv``."""
        return _tensor(item).to(self.dtype) / self.value


class ToFloat(_Conversion):
    """To float32; bytes are divided by 255, or by ``value``.

    Parameters
    ----------
    value : float, optional
        Divides whatever comes.
    """

    def __init__(self, value: float | None = None) -> None:
        self.value = value

    def convert(self, item: Any) -> torch.Tensor:
        """See ``ToFloat``."""
        tensor = _tensor(item)
        value = (
            self.value if self.value is not None else 255.0 if tensor.dtype == torch.uint8 else 1.0
        )
        return tensor.to(torch.float32) / value


class View(_Conversion):
    """Reinterpret the bytes as another dtype, as ``Tensor.view``.

    Parameters
    ----------
    dtype : dtype
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def convert(self, item: Any) -> torch.Tensor:
        """See ``View``."""
        return _tensor(item).view(self.dtype)


class Squeeze(_Conversion):
    """Drop an axis of length 1.

    Parameters
    ----------
    axis : int
        Never 0, which is the batch.
    """

    def __init__(self, axis: int = -1) -> None:
        if axis == 0:
            raise ValueError("axis 0 is the batch")
        self.axis = axis

    def convert(self, item: Any) -> torch.Tensor:
        """See ``Squeeze``."""
        return _tensor(item).squeeze(self.axis)
