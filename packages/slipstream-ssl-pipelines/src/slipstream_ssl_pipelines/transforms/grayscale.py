"""Colour to gray."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from slipstream_ssl_pipelines.functional.color import gray_as_stored
from slipstream_ssl_pipelines.transforms.base import ImageTransform, RandomTransform
from slipstream_ssl_pipelines.transforms.chunks import Params, Work
from slipstream_ssl_pipelines.transforms.compiled import Frame, ImageKernel
from slipstream_ssl_pipelines.transforms.draws import Draws
from slipstream_ssl_pipelines.transforms.image_kernels import to_luma


def _luma_kernel(row: int, frame: Frame) -> None:
    del row
    to_luma(frame)


class ToGrayscale(ImageTransform):
    """RGB -> luma (0.2989 R + 0.587 G + 0.114 B).

    Parameters
    ----------
    num_output_channels : {1, 3}
        3 repeats the luma.
    device : device, optional
    """

    channels = (3,)
    work: ClassVar[Work] = "native"

    def __init__(self, num_output_channels: int = 1, *, device: Any = None) -> None:
        super().__init__(device=device)
        if num_output_channels not in (1, 3):
            raise ValueError(f"num_output_channels must be 1 or 3, got {num_output_channels}")
        self.num_output_channels = num_output_channels
        self.out_channels = None if num_output_channels == 3 else 1

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        del params
        return gray_as_stored(images).expand(-1, self.num_output_channels, -1, -1)

    def kernel(self, params: Params, images: torch.Tensor) -> ImageKernel | None:
        """See ``ImageTransform``."""
        del params, images
        return _luma_kernel


class RandomGrayscale(RandomTransform):
    """Replace each channel by the luma with probability ``p``.

    Parameters
    ----------
    p : float
    seed, device, inplace
        See ``RandomTransform``.
    """

    channels = (3,)
    work: ClassVar[Work] = "native"

    def __init__(
        self,
        p: float = 0.5,
        *,
        seed: int | None = None,
        device: Any = None,
        inplace: bool = False,
    ) -> None:
        super().__init__(p, seed=seed, device=device, inplace=inplace)

    def sample(self, draws: Draws, height: int, width: int) -> Params:
        """No parameters but ``applied``."""
        del draws, height, width
        return {}

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        del params
        return gray_as_stored(images).expand_as(images)

    def kernel(self, params: Params, images: torch.Tensor) -> ImageKernel | None:
        """See ``ImageTransform``."""
        del params, images
        return _luma_kernel
