"""Brightness, contrast, saturation and hue, one at a time."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch

from slipstream_ssl_pipelines.functional import color
from slipstream_ssl_pipelines.transforms.base import RandomTransform
from slipstream_ssl_pipelines.transforms.chunks import Params, Work
from slipstream_ssl_pipelines.transforms.draws import Draws
from slipstream_ssl_pipelines.transforms.ranges import RangeLike, as_range, hue_range


class _RandomFactor(RandomTransform):
    work: ClassVar[Work] = "planes"

    def __init__(
        self,
        p: float = 1.0,
        scale_range: RangeLike = (0.6, 1.4),
        *,
        seed: int | None = None,
        device: Any = None,
        inplace: bool = False,
    ) -> None:
        super().__init__(p, seed=seed, device=device, inplace=inplace)
        self.scale_range = as_range("scale_range", scale_range, 0)

    def sample(self, draws: Draws, height: int, width: int) -> Params:
        """Draw ``factor``."""
        del height, width
        return {"factor": draws.uniform(*self.scale_range)}

    @abstractmethod
    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""


class RandomBrightness(_RandomFactor):
    """Multiply by a factor and clip.

    Parameters
    ----------
    p : float
    scale_range : (float, float)
        The factor is uniform in it.
    seed, device, inplace
        See ``RandomTransform``.
    """

    work: ClassVar[Work] = "float"

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        return color.adjust_brightness(images, params["factor"])


class RandomContrast(_RandomFactor):
    """Blend with the mean luma of the image: factor 0 is that gray, 1 the image.

    Parameters
    ----------
    p : float
    scale_range : (float, float)
        The factor is uniform in it.
    seed, device, inplace
        See ``RandomTransform``.
    """

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        return color.adjust_contrast(images, params["factor"])


class RandomSaturation(_RandomFactor):
    """Blend with the image's luma: factor 0 is gray, 1 the image.

    Parameters
    ----------
    p : float
    scale_range : (float, float)
        The factor is uniform in it.
    seed, device, inplace
        See ``RandomTransform``.
    """

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        return color.adjust_saturation(images, params["factor"])


class RandomHue(RandomTransform):
    """Turn the hue of HSV.

    Parameters
    ----------
    p : float
    hue : float or (float, float)
        Turns, within -0.5 and 0.5: h means (-h, h).
    seed, device, inplace
        See ``RandomTransform``.
    """

    work: ClassVar[Work] = "planes"

    def __init__(
        self,
        p: float = 1.0,
        hue: RangeLike = 0.1,
        *,
        seed: int | None = None,
        device: Any = None,
        inplace: bool = False,
    ) -> None:
        super().__init__(p, seed=seed, device=device, inplace=inplace)
        self.hue = hue_range(hue)

    def sample(self, draws: Draws, height: int, width: int) -> Params:
        """Draw ``hue``, turns."""
        del height, width
        return {"hue": draws.uniform(*self.hue)}

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        return color.adjust_hue(images, params["hue"])
