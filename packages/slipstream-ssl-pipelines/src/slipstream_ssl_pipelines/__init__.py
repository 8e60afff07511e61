"""Presets and batch transforms for self-supervised learning.

Transforms take batches of images (B, C, H, W) on any device and draw parameters for each sample
from its id, so that a batch's size or place does not matter. They work alone and in a loader's
pipelines.
"""

from __future__ import annotations

from slipstream_decoders import IMAGENET_MEAN, IMAGENET_STD, Normalize, ToTorchImage
from slipstream_ssl_pipelines.errors import ImageBatchError, ReplayError, TransformError
from slipstream_ssl_pipelines.transforms.base import (
    ImageTransform,
    RandomTransform,
    ReplayableStage,
)
from slipstream_ssl_pipelines.transforms.compose import Compose, MultiSample, RandomApply
from slipstream_ssl_pipelines.transforms.draws import Draws
from slipstream_ssl_pipelines.transforms.flip import RandomHorizontalFlip, RandomVerticalFlip
from slipstream_ssl_pipelines.transforms.params_as_labels import ParamsAsLabels

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Compose",
    "Draws",
    "ImageBatchError",
    "ImageTransform",
    "MultiSample",
    "Normalize",
    "ParamsAsLabels",
    "RandomApply",
    "RandomHorizontalFlip",
    "RandomTransform",
    "RandomVerticalFlip",
    "ReplayError",
    "ReplayableStage",
    "ToTorchImage",
    "TransformError",
]
