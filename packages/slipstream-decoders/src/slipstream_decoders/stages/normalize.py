"""Per-channel normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch

from slipstream_decoders.context import BatchContext
from slipstream_decoders.stages.base import Stage
from slipstream_decoders.stages.byte_tables import UNIT, ByteTable
from slipstream_decoders.stages.channel_scale import ChannelScale
from slipstream_decoders.stages.output import Output
from slipstream_decoders.stages.to_torch_image import as_bchw

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
"""Per-channel mean of ImageNet's training images, RGB in [0, 1]."""
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
"""Per-channel standard deviation of ImageNet's training images, RGB in [0, 1]."""


class Normalize(Stage):
    """``(x - mean) / std`` per channel, with x in [0, 1].

    Takes what ``ToTorchImage`` takes: uint8 pixels are divided by 255 on the way, floating point
    ones are taken as they are, so ``ToTorchImage`` before it is optional.

    Parameters
    ----------
    mean, std : sequence of float
        One number a channel, for pixels in [0, 1]. Default: ImageNet's.
    device : device, optional
        Where the result goes.
    dtype : dtype
        Floating point type of the result.
    """

    def __init__(
        self,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        *,
        device: Any = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if len(mean) != len(std):
            raise ValueError(f"mean has {len(mean)} channels and std has {len(std)}")
        if not all(value > 0 for value in std):
            raise ValueError(f"std must be positive, got {tuple(std)}")
        if not dtype.is_floating_point:
            raise ValueError(f"dtype must be a floating point type, got {dtype}")
        self.mean = tuple(float(value) for value in mean)
        self.std = tuple(float(value) for value in std)
        self.device = None if device is None else torch.device(device)
        self.dtype = dtype
        values = (UNIT - np.array(self.mean)[:, None]) / np.array(self.std)[:, None]
        self._table = ByteTable(values, dtype)
        scale = [1 / s for s in self.std]
        bias = [-m / s for m, s in zip(self.mean, self.std, strict=True)]
        self._scale = ChannelScale(scale, bias, dtype)

    def apply(self, batch: Any, context: BatchContext) -> Any:
        """Normalise; a new tensor (B, C, H, W) in the input's memory order.

        uint8 and float32 pixels in channels_last order are normalised on the CPU by the kernel
        threads, into a buffer of the context's pool that belongs to the caller.
        """
        images = [self._checked(item) for item in (batch if isinstance(batch, list) else [batch])]
        images = [image.to(self.device, non_blocking=True) for image in images]
        if all(map(self._table.takes, images)):
            normalized = self._table.convert(images, context)
        elif all(map(self._scale.takes, images)):
            normalized = self._scale.convert(images, context)
        else:
            normalized = [self._normalize(image) for image in images]
        return normalized if isinstance(batch, list) else normalized[0]

    def fold(self, output: Output, name: str) -> Output | None:
        """See ``Stage``."""
        del name
        return output.normalized(self.mean, self.std, self.dtype, self.device)

    def _checked(self, item: Any) -> torch.Tensor:
        images = as_bchw(item)
        if images.shape[-3] != len(self.mean):
            raise ValueError(
                f"expected {len(self.mean)} channels, got {images.shape[-3]} in a batch of shape "
                f"{tuple(images.shape)}"
            )
        return images

    def _normalize(self, images: torch.Tensor) -> torch.Tensor:
        unit = 255.0 if images.dtype == torch.uint8 else 1.0
        scale = torch.tensor([1 / (unit * s) for s in self.std], dtype=self.dtype)
        bias = torch.tensor(
            [-m / s for m, s in zip(self.mean, self.std, strict=True)], dtype=self.dtype
        )
        shape = (-1, 1, 1)
        scale, bias = scale.to(images.device).view(shape), bias.to(images.device).view(shape)
        return torch.addcmul(bias, images.to(self.dtype), scale)
