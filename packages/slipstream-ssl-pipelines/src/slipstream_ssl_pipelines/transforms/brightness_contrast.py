"""Brightness, contrast, saturation and hue, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import torch

from slipstream_ssl_pipelines.functional import color
from slipstream_ssl_pipelines.transforms.base import RandomOptions, RandomTransform
from slipstream_ssl_pipelines.transforms.chunks import Params, Work
from slipstream_ssl_pipelines.transforms.compiled import ImageKernel
from slipstream_ssl_pipelines.transforms.draws import Draws
from slipstream_ssl_pipelines.transforms.image_kernels import (
    BRIGHTNESS,
    CONTRAST,
    HUE,
    SATURATION,
    adjust_one,
)
from slipstream_ssl_pipelines.transforms.ranges import RangeLike, as_range, hue_range

if TYPE_CHECKING:
    from typing_extensions import Unpack


class _RandomFactor(RandomTransform):
    channels: tuple[int, ...] | None = (1, 3)
    work: ClassVar[Work] = "levels"
    adjust: ClassVar[Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]]
    """(images, factors, brightest value) -> images."""
    step: ClassVar[int]
    """The same, of ``adjust_colors``."""

    def __init__(
        self,
        p: float = 1.0,
        scale_range: RangeLike = (0.6, 1.4),
        **options: Unpack[RandomOptions],
    ) -> None:
        super().__init__(p, **options)
        self.scale_range = as_range("scale_range", scale_range, 0)

    def sample(self, draws: Draws, height: int, width: int) -> Params:
        """Draw ``factor``."""
        del height, width
        return {"factor": draws.uniform(*self.scale_range)}

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        return type(self).adjust(images, params["factor"], params.get("top", 1.0))

    def kernel(self, params: Params, images: torch.Tensor) -> ImageKernel | None:
        """See ``ImageTransform``."""
        factors = params["factor"].tolist()
        if images.shape[1] != 3:
            return None
        return lambda row, frame: adjust_one(frame, self.step, factors[row])


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

    adjust = color.adjust_brightness
    step = BRIGHTNESS


class RandomContrast(_RandomFactor):
    """Blend with the mean luma of the image: factor 0 is that gray, 1 the image.

    Parameters
    ----------
    p, scale_range, seed, device, inplace
        See ``RandomBrightness``.
    """

    adjust = color.adjust_contrast
    step = CONTRAST


class RandomSaturation(_RandomFactor):
    """Blend with the image's luma: factor 0 is gray, 1 the image.

    Parameters
    ----------
    p, scale_range, seed, device, inplace
        See ``RandomBrightness``.
    """

    channels = (3,)
    adjust = color.adjust_saturation
    step = SATURATION


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

    channels = (3,)
    work: ClassVar[Work] = "planes"

    def __init__(
        self,
        p: float = 1.0,
        hue: RangeLike = 0.1,
        **options: Unpack[RandomOptions],
    ) -> None:
        super().__init__(p, **options)
        self.hue = hue_range(hue)

    def sample(self, draws: Draws, height: int, width: int) -> Params:
        """Draw ``hue``, turns."""
        del height, width
        return {"hue": draws.uniform(*self.hue)}

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        return color.adjust_hue(images, params["hue"])

    def kernel(self, params: Params, images: torch.Tensor) -> ImageKernel | None:
        """See ``ImageTransform``."""
        del images
        turns = params["hue"].tolist()
        return lambda row, frame: adjust_one(frame, HUE, turns[row])
