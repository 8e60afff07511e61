"""Mirror images."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_decoders import BatchContext, Output
from slipstream_ssl_pipelines.transforms.base import RandomTransform
from slipstream_ssl_pipelines.transforms.chunks import Params, Work
from slipstream_ssl_pipelines.transforms.compiled import Frame, ImageKernel
from slipstream_ssl_pipelines.transforms.draws import Draws
from slipstream_ssl_pipelines.transforms.image_kernels import mirror


def _mirror(row: int, frame: Frame) -> None:
    del row
    mirror(frame)


class _Flip(RandomTransform):
    work: ClassVar[Work] = "whole"
    axis: ClassVar[int]

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
        return images.flip(self.axis)


class RandomHorizontalFlip(_Flip):
    """Mirror left and right with probability ``p``.

    Parameters
    ----------
    p : float
    seed, device, inplace
        See ``RandomTransform``.

    Notes
    -----
    Behind a decoding crop on the CPU, the decoder mirrors while it writes its pixels.
    """

    axis = -1

    def kernel(self, params: Params, images: torch.Tensor) -> ImageKernel | None:
        """See ``ImageTransform``."""
        del params
        return _mirror if images.dtype == torch.uint8 else None

    def fold(self, output: Output, name: str) -> Output | None:
        """See ``Stage``."""
        is_elsewhere = self.device is not None and self.device.type != "cpu"
        return None if is_elsewhere else output.mirrored(name, self._flips)

    def _flips(self, context: BatchContext) -> NDArray[np.bool_]:
        params = self.draw(context, 0, 0)
        self.remember(params)
        flips: NDArray[np.bool_] = params["applied"].numpy()
        return flips


class RandomVerticalFlip(_Flip):
    """Mirror top and bottom with probability ``p``.

    Parameters
    ----------
    p : float
    seed, device, inplace
        See ``RandomTransform``.
    """

    axis = -2
