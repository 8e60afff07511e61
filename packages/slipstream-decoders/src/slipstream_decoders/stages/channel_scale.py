"""``ChannelScale``: ``x * scale + bias`` of float32 images, in one pass on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_decoders._kernels.channel_scale import scale_channels
from slipstream_decoders.context import BatchContext
from slipstream_decoders.stages.channels_last import is_channels_last, map_pixels

_PIXELS: Final = 128  # of a period


class ChannelScale:
    """A number a channel to multiply with, and one to add.

    Parameters
    ----------
    scale, bias : sequence of float
        One number a channel.
    dtype : dtype
        Of the result: float32, float16 or bfloat16. Arithmetic is in float32, rounded once.
    """

    def __init__(self, scale: Sequence[float], bias: Sequence[float], dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.num_channels = len(scale)
        self._scale = np.tile(np.array(scale, np.float32), _PIXELS)
        self._bias = np.tile(np.array(bias, np.float32), _PIXELS)

    def takes(self, images: torch.Tensor) -> bool:
        """Whether ``convert`` can take these images.

        They must be float32 on the CPU, shape (..., C, H, W), with the channels last in memory, and
        nobody may want their gradient.
        """
        return (
            self.dtype in (torch.float32, torch.float16, torch.bfloat16)
            and type(images) is torch.Tensor
            and is_channels_last(images, torch.float32, self.num_channels)
            and not (images.requires_grad and torch.is_grad_enabled())
            and not torch.compiler.is_compiling()
        )

    def convert(self, images: Sequence[torch.Tensor], context: BatchContext) -> list[torch.Tensor]:
        """Convert images that ``takes`` accepts.

        Parameters
        ----------
        images : sequence of Tensor of float32, shape (..., C, H, W)
            One batch, or images of varying sizes.
        context : BatchContext
            Lends the results' memory and the threads.

        Returns
        -------
        list of Tensor
            In the same shape and memory order; they belong to the caller.
        """

        def scale(source: NDArray[Any], target: NDArray[Any]) -> None:
            scale_channels(source.reshape(-1), self._scale, self._bias, target.reshape(-1))

        results = map_pixels(images, scale, np.float32, context)
        return [result.to(self.dtype) for result in results]
