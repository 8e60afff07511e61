"""Transforms of batches."""

from visionlab.slipstream import IMAGENET_MEAN, IMAGENET_STD, Normalize, ToTorchImage

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Normalize", "ToTorchImage"]
