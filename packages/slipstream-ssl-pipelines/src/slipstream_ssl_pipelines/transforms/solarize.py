"""Solarise and posterise."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from slipstream_ssl_pipelines.functional import tone
from slipstream_ssl_pipelines.transforms.base import RandomTransform
from slipstream_ssl_pipelines.transforms.chunks import Params, Work
from slipstream_ssl_pipelines.transforms.compiled import ImageKernel
from slipstream_ssl_pipelines.transforms.draws import Draws
from slipstream_ssl_pipelines.transforms.image_kernels import posterize, solarize
from slipstream_ssl_pipelines.transforms.ranges import RangeLike, as_range


class RandomSolarization(RandomTransform):
    """Invert pixels that reach a threshold.

    Parameters
    ----------
    p : float
    threshold : float or (float, float)
        In [0, 1], for bytes too: 0.5 inverts those from 128.
    seed, device, inplace
        See ``RandomTransform``.
    """

    channels = (1, 3)
    work: ClassVar[Work] = "native"

    def __init__(
        self,
        p: float = 0.5,
        threshold: RangeLike = 0.5,
        *,
        seed: int | None = None,
        device: Any = None,
        inplace: bool = False,
    ) -> None:
        super().__init__(p, seed=seed, device=device, inplace=inplace)
        self.threshold = as_range("threshold", threshold, 0)
        if self.threshold[1] > 1:
            raise ValueError(f"threshold must lie in [0, 1], got {threshold!r}")

    def sample(self, draws: Draws, height: int, width: int) -> Params:
        """Draw ``threshold``."""
        del height, width
        return {"threshold": draws.uniform(*self.threshold)}

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        return tone.solarize(images, params["threshold"])

    def kernel(self, params: Params, images: torch.Tensor) -> ImageKernel | None:
        """See ``ImageTransform``."""
        del images
        thresholds = params["threshold"].tolist()
        return lambda row, frame: solarize(frame, thresholds[row])


class RandomPosterize(RandomTransform):
    """Keep the upper bits of each byte; floating point pixels get as many levels.

    Parameters
    ----------
    p : float
    bits : int or (int, int)
        In [1, 8], both ends included.
    seed, device, inplace
        See ``RandomTransform``.
    """

    channels = (1, 3)
    work: ClassVar[Work] = "native"

    def __init__(
        self,
        p: float = 0.5,
        bits: int | tuple[int, int] = 4,
        *,
        seed: int | None = None,
        device: Any = None,
        inplace: bool = False,
    ) -> None:
        super().__init__(p, seed=seed, device=device, inplace=inplace)
        self.bits = (bits, bits) if isinstance(bits, int) else tuple(bits)
        if not 1 <= self.bits[0] <= self.bits[1] <= 8:
            raise ValueError(f"bits must lie in [1, 8], got {bits!r}")

    def sample(self, draws: Draws, height: int, width: int) -> Params:
        """Draw ``bits``."""
        del height, width
        return {"bits": draws.integers(self.bits[0], self.bits[1] + 1)}

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        return tone.posterize(images, params["bits"])

    def kernel(self, params: Params, images: torch.Tensor) -> ImageKernel | None:
        """See ``ImageTransform``."""
        del images
        bits = params["bits"].tolist()
        return lambda row, frame: posterize(frame, bits[row])
