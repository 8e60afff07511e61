"""The transforms that recipes are written in, with the options that papers name."""

from __future__ import annotations

from slipstream_ssl_pipelines.presets.recipe import Step
from slipstream_ssl_pipelines.transforms.color_jitter import RandomColorJitterHSV
from slipstream_ssl_pipelines.transforms.flip import RandomHorizontalFlip
from slipstream_ssl_pipelines.transforms.gaussian_blur import RandomGaussianBlur
from slipstream_ssl_pipelines.transforms.grayscale import RandomGrayscale
from slipstream_ssl_pipelines.transforms.solarize import RandomSolarization

Range = tuple[float, float]
SCALE: Range = (0.08, 1.0)
"""Share of the image's area, torchvision's default."""
RATIO: Range = (3 / 4, 4 / 3)
"""Width / height, torchvision's default."""
SQUARE: Range = (1.0, 1.0)


def flip(p: float = 0.5) -> Step:
    """Mirror left and right."""
    return Step(RandomHorizontalFlip, {"p": p})


def jitter(
    p: float = 0.8,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
    hue: float = 0.1,
) -> Step:
    """Change colours. In one order, where papers leave it to chance."""
    strengths = {"hue": hue, "saturation": saturation, "value": brightness, "contrast": contrast}
    return Step(RandomColorJitterHSV, {"p": p, **strengths})


def grayscale(p: float = 0.2) -> Step:
    """Leave the luma alone."""
    return Step(RandomGrayscale, {"p": p})


def blur(p: float, kernel_size: int = 7) -> Step:
    """Gaussian of 0.1 to 2 pixels."""
    options = {"p": p, "kernel_size": kernel_size, "sigma_range": (0.1, 2.0)}
    return Step(RandomGaussianBlur, options)


def solarize(p: float = 0.2) -> Step:
    """Invert the brighter half of the levels."""
    return Step(RandomSolarization, {"p": p, "threshold": 0.5})
