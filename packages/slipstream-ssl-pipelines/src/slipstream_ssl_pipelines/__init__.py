"""Presets and batch transforms for self-supervised learning.

Transforms take batches of images (B, C, H, W) on any device and draw parameters for each sample
from its id, so that a batch's size or place does not matter. They work alone and in a loader's
pipelines.
"""

from __future__ import annotations

from slipstream_ssl_pipelines.errors import ImageBatchError, ReplayError, TransformError
from slipstream_ssl_pipelines.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ColorJitter,
    Compose,
    Draws,
    ImageTransform,
    MultiSample,
    Normalize,
    ParamsAsLabels,
    RandomApply,
    RandomBrightness,
    RandomColorJitter,
    RandomColorJitterHSV,
    RandomColorJitterYIQ,
    RandomContrast,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomHue,
    RandomPosterize,
    RandomSaturation,
    RandomSolarization,
    RandomTransform,
    RandomVerticalFlip,
    ReplayableStage,
    ToGrayscale,
    ToTorchImage,
)

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "ColorJitter",
    "Compose",
    "Draws",
    "ImageBatchError",
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
    "ReplayError",
    "ReplayableStage",
    "ToGrayscale",
    "ToTorchImage",
    "TransformError",
]
