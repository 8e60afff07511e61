"""Whatever holds images -> float tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from slipstream_decoders.batch import EncodedBatch
from slipstream_decoders.context import BatchContext
from slipstream_decoders.stages.base import Stage
from slipstream_decoders.stages.byte_tables import UNIT, ByteTable
from slipstream_decoders.stages.output import Output

_CHANNELS = (1, 3, 4)


class ToTorchImage(Stage):
    """Images -> tensor of shape (B, C, H, W), floating point in [0, 1].

    Takes uint8 tensors (B, C, H, W), uint8 arrays or tensors (B, H, W, C), and lists of HWC images
    of varying sizes, which become lists of (C, H, W) tensors. Floating point input is taken to be
    in range already: applying it twice is harmless.

    Parameters
    ----------
    device : device, optional
        Where the result goes; uint8 pixels are moved before they are widened.
    dtype : dtype
        Floating point type of the result.
    """

    def __init__(self, device: Any = None, dtype: torch.dtype = torch.float32) -> None:
        if not dtype.is_floating_point:
            raise ValueError(f"dtype must be a floating point type, got {dtype}")
        self.device = None if device is None else torch.device(device)
        self.dtype = dtype
        self._tables = {n: ByteTable(np.tile(UNIT, (n, 1)), dtype) for n in _CHANNELS}

    def apply(self, batch: Any, context: BatchContext) -> Any:
        """Convert; memory order (channels_last) is kept.

        uint8 pixels in channels_last order are converted on the CPU by the kernel threads, into a
        buffer of the context's pool that belongs to the caller.
        """
        images = [as_bchw(item) for item in (batch if isinstance(batch, list) else [batch])]
        images = [image.to(self.device, non_blocking=True) for image in images]
        table = self._tables.get(images[0].shape[-3]) if images else None
        if table is not None and all(map(table.takes, images)):
            converted = table.convert(images, context)
        else:
            converted = [self._convert(image) for image in images]
        return converted if isinstance(batch, list) else converted[0]

    def fold(self, output: Output, name: str) -> Output | None:
        """See ``Stage``."""
        del name
        return output.normalized((0.0,) * 3, (1.0,) * 3, self.dtype, self.device)

    def _convert(self, images: torch.Tensor) -> torch.Tensor:
        if images.dtype == torch.uint8:
            return images.to(self.dtype).div_(255)
        return images.to(self.dtype)


def as_bchw(images: Any) -> torch.Tensor:
    """Images as a tensor with the channels before height and width: a view where possible.

    Parameters
    ----------
    images : ndarray or Tensor
        NumPy arrays are (..., H, W, C). Tensors are (..., C, H, W), unless only their last axis can
        be channels (1, 3 or 4).

    Raises
    ------
    ValueError
        If no axis can be channels.
    """
    if isinstance(images, np.ndarray):
        if images.ndim < 3 or images.shape[-1] not in _CHANNELS:
            raise ValueError(
                f"expected an array (..., height, width, channels), got {images.shape}"
            )
        return torch.from_numpy(images).movedim(-1, -3)
    if not isinstance(images, torch.Tensor) or images.ndim < 3:
        advice = ""
        if isinstance(images, EncodedBatch):
            advice = (
                ": a pipeline begins with a stage that decodes, such as DecodeRandomResizedCrop"
            )
        kind = type(images).__name__
        raise ValueError(f"expected images as an array or a tensor, got {kind}{advice}")
    if images.shape[-3] in _CHANNELS:
        return images
    if images.shape[-1] in _CHANNELS:
        return images.movedim(-1, -3)
    raise ValueError(f"expected images with 1, 3 or 4 channels, got shape {tuple(images.shape)}")
