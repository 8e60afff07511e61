"""How a transform runs compiled: on the CPU, one image after another, on the kernel threads.

A kernel works on the memory of one image as it is, bytes or float32, in either order of the
channels: one pass through memory, and no copies in other types. Everywhere else (another device,
``torch.compile``, autograd, float64, strided views) ``ImageTransform.transform`` does the same in
torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_decoders import BatchContext
from slipstream_ssl_pipelines.transforms.chunks import empty_images, is_channels_last

_BYTES: Final = (np.float32(1 / 255), np.float32(255), np.float32(0.5))
_FLOATS: Final = (np.float32(1), np.float32(1), np.float32(0))
_HALVES = (torch.float16, torch.bfloat16)
_TYPES = (torch.uint8, torch.float32, *_HALVES)


class Frame(NamedTuple):
    """One image: its numbers as they lie in memory, and where the results go."""

    source: NDArray[Any]
    """uint8 or float32, flat."""
    target: NDArray[Any]
    """Of the same type; it may be the source."""
    channels: int
    height: int
    width: int
    is_planar: bool
    """Whether one channel comes after another, not one pixel."""

    @property
    def is_bytes(self) -> bool:
        """Whether pixels are uint8."""
        return bool(self.source.dtype == np.uint8)

    @property
    def levels(self) -> tuple[Any, Any, Any]:
        """What brings pixels to [0, 1], the brightest one, and what makes cutting off a rounding.

        The first times a pixel is in [0, 1]; all are float32.
        """
        return _BYTES if self.is_bytes else _FLOATS

    def image(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Source or target in shape (planes, height, width, channels of a plane)."""
        if self.is_planar:
            return pixels.reshape(self.channels, self.height, self.width, 1)
        return pixels.reshape(1, self.height, self.width, self.channels)

    def again(self) -> Frame:
        """For a second operation, on the results of the first."""
        return self._replace(source=self.target)


ImageKernel = Callable[[int, Frame], None]
"""(row of the parameters, image): writes the results."""


def can_run(images: torch.Tensor) -> bool:
    """Whether kernels can work on the memory of a batch (B, C, H, W), and may."""
    return (
        type(images) is torch.Tensor
        and images.device.type == "cpu"
        and images.dtype in _TYPES
        and not (images.requires_grad and torch.is_grad_enabled())
        and not torch.compiler.is_compiling()
        and images.numel() > 0
        and (images.is_contiguous() or is_channels_last(images))
    )


def run_images(
    images: torch.Tensor,
    applied: torch.Tensor | None,
    kernel: ImageKernel,
    context: BatchContext,
    *,
    inplace: bool,
    channels: int | None = None,
) -> torch.Tensor:
    """Run a kernel on images that ``can_run`` accepts.

    Parameters
    ----------
    images : Tensor, shape (B, C, H, W)
    applied : Tensor of bool, shape (B,), or None
        The samples it is applied to; None: all of them. The others are copied.
    kernel : ImageKernel
    context : BatchContext
        Lends memory and threads.
    inplace : bool
        Write into the batch that comes in.
    channels : int, optional
        Of the results, all of them new; default: as they come.

    Returns
    -------
    Tensor
        In the dtype and memory order of the images.
    """
    wide = images.float() if images.dtype in _HALVES else images
    out = wide
    if channels is not None or not (inplace or wide is not images):
        shape = (len(images), channels or images.shape[1], *images.shape[2:])
        out = empty_images(shape, images, context.buffers, wide.dtype)
    is_planar = not is_channels_last(images)
    sources, targets = _flat(wide, is_planar), _flat(out, is_planar)
    _, num_channels, height, width = images.shape
    chosen = None if applied is None else applied.numpy()

    def run(begin: int, end: int) -> None:
        for row in range(begin, end):
            if chosen is None or chosen[row]:
                frame = Frame(sources[row], targets[row], num_channels, height, width, is_planar)
                kernel(row, frame)
            elif out is not wide:
                targets[row] = sources[row]

    context.threads.run(run, len(images))
    if wide is images:
        return out
    return images.copy_(out) if inplace and channels is None else out.to(images.dtype)


def _flat(images: torch.Tensor, is_planar: bool) -> NDArray[Any]:
    """The images' memory, shape (B, numbers)."""
    images = images.detach()
    pixels: NDArray[Any] = (images if is_planar else images.permute(0, 2, 3, 1)).numpy()
    return pixels.reshape(len(images), -1)
