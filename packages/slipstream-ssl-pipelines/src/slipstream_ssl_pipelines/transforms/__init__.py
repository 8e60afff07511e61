"""Batch transforms, one family a file.

base              ReplayableStage, ImageTransform, RandomTransform: parameters and their replay
draws             distributions over the counter-based random numbers
chunks            how a transform runs over the rows of a batch
compose           Compose, RandomApply, MultiSample
params_as_labels  ParamsAsLabels
flip              RandomHorizontalFlip, RandomVerticalFlip
"""

from __future__ import annotations

from slipstream_decoders import IMAGENET_MEAN, IMAGENET_STD, Normalize, ToTorchImage
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
    "ImageTransform",
    "MultiSample",
    "Normalize",
    "ParamsAsLabels",
    "RandomApply",
    "RandomHorizontalFlip",
    "RandomTransform",
    "RandomVerticalFlip",
    "ReplayableStage",
    "ToTorchImage",
]
