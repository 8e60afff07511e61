"""Batch transforms, one family a file.

base              ReplayableStage, ImageTransform, RandomTransform: parameters and their replay
draws             distributions over the counter-based random numbers
chunks            how a transform runs over the rows of a batch
compose           Compose, RandomApply, MultiSample
params_as_labels  ParamsAsLabels
ranges            options that are a range or one value
flip              RandomHorizontalFlip, RandomVerticalFlip
grayscale         ToGrayscale, RandomGrayscale
brightness_contrast  RandomBrightness, RandomContrast, RandomSaturation, RandomHue
color_jitter      RandomColorJitter(HSV), RandomColorJitterYIQ, ColorJitter
gaussian_blur     RandomGaussianBlur
solarize          RandomSolarization, RandomPosterize
"""

from __future__ import annotations

from slipstream_decoders import IMAGENET_MEAN, IMAGENET_STD, Normalize, ToTorchImage
from slipstream_ssl_pipelines.transforms.base import (
    ImageTransform,
    RandomTransform,
    ReplayableStage,
)
from slipstream_ssl_pipelines.transforms.brightness_contrast import (
    RandomBrightness,
    RandomContrast,
    RandomHue,
    RandomSaturation,
)
from slipstream_ssl_pipelines.transforms.color_jitter import (
    ColorJitter,
    RandomColorJitter,
    RandomColorJitterHSV,
    RandomColorJitterYIQ,
)
from slipstream_ssl_pipelines.transforms.compose import (
    Compose,
    MultiSample,
    RandomApply,
)
from slipstream_ssl_pipelines.transforms.draws import (
    Draws,
)
from slipstream_ssl_pipelines.transforms.flip import (
    RandomHorizontalFlip,
    RandomVerticalFlip,
)
from slipstream_ssl_pipelines.transforms.gaussian_blur import (
    RandomGaussianBlur,
)
from slipstream_ssl_pipelines.transforms.grayscale import (
    RandomGrayscale,
    ToGrayscale,
)
from slipstream_ssl_pipelines.transforms.params_as_labels import (
    ParamsAsLabels,
)
from slipstream_ssl_pipelines.transforms.solarize import (
    RandomPosterize,
    RandomSolarization,
)

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "ColorJitter",
    "Compose",
    "Draws",
    "ImageTransform",
    "MultiSample",
    "Normalize",
    "ParamsAsLabels",
    "RandomApply",
    "RandomBrightness",
    "RandomColorJitter",
    "RandomColorJitterHSV",
    "RandomColorJitterYIQ",
    "RandomContrast",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomHue",
    "RandomPosterize",
    "RandomSaturation",
    "RandomSolarization",
    "RandomTransform",
    "RandomVerticalFlip",
    "ReplayableStage",
    "ToGrayscale",
    "ToTorchImage",
]
