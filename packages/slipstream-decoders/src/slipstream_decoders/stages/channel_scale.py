"""``ChannelScale``: ``x * scale + bias`` of float32 images, in one pass on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_decoders._kernels.channel_scale import scale_channels
from slipstream_decoders.context import BatchContext

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
            and images.dtype == torch.float32
            and images.device.type == "cpu"
            and images.shape[-3] == self.num_channels
            and images.numel() > 0
            and images.movedim(-3, -1).is_contiguous()
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
        sources: list[NDArray[Any]] = []
        targets: list[NDArray[Any]] = []
        results = []
        for image in images:
            pixels = image.detach().movedim(-3, -1)
            target = context.buffers.lend(tuple(pixels.shape), np.float32)
            results.append(torch.from_numpy(target).movedim(-1, -3))
            length = self.num_channels * pixels.shape[-2] * pixels.shape[-3]
            sources += [*pixels.numpy().reshape(-1, length)]
            targets += [*target.reshape(-1, length)]

        def run(begin: int, end: int) -> None:
            for row in range(begin, end):
                scale_channels(sources[row], self._scale, self._bias, targets[row])

        context.threads.run(run, len(sources))
        return [result.to(self.dtype) for result in results]
