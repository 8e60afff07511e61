"""Colour jitter: in the steps of HSV, or as one matrix in YIQ."""

from __future__ import annotations

from collections.abc import Mapping
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
    adjust_colors,
    mix_colors,
)
from slipstream_ssl_pipelines.transforms.ranges import (
    RangeLike,
    as_range,
    factor_range,
    hue_range,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack


_STEPS = {"value": BRIGHTNESS, "contrast": CONTRAST, "saturation": SATURATION, "hue": HUE}


class _Jitter(RandomTransform):
    """Uniform parameters by name, drawn in order."""

    channels = (3,)

    def __init__(
        self,
        p: float,
        ranges: Mapping[str, tuple[float, float]],
        **options: Unpack[RandomOptions],
    ) -> None:
        super().__init__(p, **options)
        self.ranges = dict(ranges)

    def sample(self, draws: Draws, height: int, width: int) -> Params:
        """Draw what ``ranges`` names: factors, and the hue."""
        del height, width
        return {name: draws.uniform(*bounds) for name, bounds in self.ranges.items()}


class RandomColorJitterHSV(_Jitter):
    """Change brightness, contrast, saturation and hue, in this order.

    The steps are those of torchvision's ``ColorJitter``, which takes them in random order. Also
    named ``RandomColorJitter``.

    Parameters
    ----------
    p : float
    hue : float or (float, float)
        Turns, within -0.5 and 0.5: h means (-h, h).
    saturation, value, contrast : float or (float, float)
        A strength s means factors in (max(0, 1 - s), 1 + s). ``value`` is brightness.
    seed, device, inplace
        See ``RandomTransform``.
    """

    work: ClassVar[Work] = "planes"

    def __init__(
        self,
        p: float = 0.8,
        hue: RangeLike = 0.0,
        saturation: RangeLike = 0.0,
        value: RangeLike = 0.0,
        contrast: RangeLike = 0.0,
        **options: Unpack[RandomOptions],
    ) -> None:
        ranges = {
            "value": factor_range("value", value),
            "contrast": factor_range("contrast", contrast),
            "saturation": factor_range("saturation", saturation),
            "hue": hue_range(hue),
        }
        super().__init__(p, ranges, **options)

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        if self.ranges["value"] != (1, 1):
            images = color.adjust_brightness(images, params["value"])
        if self.ranges["contrast"] != (1, 1):
            images = color.adjust_contrast(images, params["contrast"])
        if self.ranges["saturation"] != (1, 1):
            images = color.adjust_saturation(images, params["saturation"])
        if self.ranges["hue"] != (0, 0):
            images = color.adjust_hue(images, params["hue"])
        return images

    def kernel(self, params: Params, images: torch.Tensor) -> ImageKernel | None:
        """See ``ImageTransform``."""
        del images
        neutral = {name: (0, 0) if name == "hue" else (1, 1) for name in _STEPS}
        steps = sum(step for name, step in _STEPS.items() if self.ranges[name] != neutral[name])
        factors = torch.stack([params[name].float() for name in _STEPS], 1).numpy()
        return lambda row, frame: adjust_colors(frame, steps, factors[row])


RandomColorJitter = RandomColorJitterHSV


class ColorJitter(RandomColorJitterHSV):
    """``RandomColorJitter`` that is always applied, unless ``p`` is given."""

    def __init__(
        self,
        p: float = 1.0,
        hue: RangeLike = 0.0,
        saturation: RangeLike = 0.0,
        value: RangeLike = 0.0,
        contrast: RangeLike = 0.0,
        **options: Unpack[RandomOptions],
    ) -> None:
        super().__init__(p, hue, saturation, value, contrast, **options)


class RandomColorJitterYIQ(_Jitter):
    """Change hue, saturation, value, contrast and brightness by one matrix a sample, then clip.

    ``brightness * ((value * M(hue, saturation) x - 0.5) * contrast + 0.5)``, where M turns and
    scales the chroma of YIQ. Much cheaper than the steps of HSV, and linear.

    Parameters
    ----------
    p : float
    hue : float or (float, float)
        Degrees: h means (-h, h).
    saturation, value, brightness, contrast : float or (float, float)
        A strength s means factors in (max(0, 1 - s), 1 + s).
    seed, device, inplace
        See ``RandomTransform``.

    Notes
    -----
    Source: NVIDIA DALI's ``color_twist`` and ``hsv``.
    """

    work: ClassVar[Work] = "float"

    def __init__(
        self,
        p: float = 0.8,
        hue: RangeLike = 0.0,
        saturation: RangeLike = 0.0,
        value: RangeLike = 0.0,
        brightness: RangeLike = 0.0,
        contrast: RangeLike = 0.0,
        **options: Unpack[RandomOptions],
    ) -> None:
        ranges = {
            "hue": as_range("hue", (-hue, hue) if isinstance(hue, (int, float)) else hue),
            "saturation": factor_range("saturation", saturation),
            "value": factor_range("value", value),
            "brightness": factor_range("brightness", brightness),
            "contrast": factor_range("contrast", contrast),
        }
        super().__init__(p, ranges, **options)

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        matrices, bias = self._matrices(params)
        return color.mix_channels(images, matrices, bias.view(-1, 1).expand(-1, 3)).clamp_(0, 1)

    def kernel(self, params: Params, images: torch.Tensor) -> ImageKernel | None:
        """See ``ImageTransform``."""
        del images
        matrices, bias = self._matrices(params)
        rows = torch.cat([matrices, bias.view(-1, 1, 1).expand(-1, 3, 1)], 2).numpy()
        return lambda row, frame: mix_colors(frame, rows[row])

    def _matrices(self, params: Params) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 3, 3), and what is added to each channel, (B,)."""
        gain = params["value"] * params["brightness"] * params["contrast"]
        matrices = color.yiq_matrices(params["hue"], params["saturation"]) * gain.view(-1, 1, 1)
        return matrices, 0.5 * params["brightness"] * (1 - params["contrast"])
