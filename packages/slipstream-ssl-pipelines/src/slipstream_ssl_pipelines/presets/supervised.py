"""Supervised training and validation."""

from __future__ import annotations

from typing import Any

import torch

from slipstream_decoders import DecodeResizeCrop
from slipstream_ssl_pipelines.presets import steps
from slipstream_ssl_pipelines.presets.recipe import (
    IMAGE,
    Preset,
    Recipe,
    Step,
    View,
    random_views,
)


def supervised_train(
    size: int = 224,
    *,
    flip: float = 0.5,
    seed: int | None = None,
    device: Any = None,
    dtype: torch.dtype = torch.float32,
    normalize: bool = True,
) -> Preset:
    """Random resized crop and flip: the training recipe of ResNets.

    On the CPU the decoder writes the mirrored, normalised pixels in one pass.

    Parameters
    ----------
    size : int
        Side of the result, pixels.
    flip : float
        Probability of a mirrored image; 0 for the recipe of earlier versions of slipstream.
    seed, device, dtype, normalize
        See ``Recipe.pipelines``.

    Notes
    -----
    Source: He et al., "Deep residual learning for image recognition", CVPR 2016, with the crop of
    Szegedy et al., "Going deeper with convolutions", CVPR 2015, as in torchvision's reference.
    """
    recipe = Recipe(
        "supervised_train",
        "He et al. 2016, with the crop of Szegedy et al. 2015",
        random_views([IMAGE], size, steps.SCALE, steps.RATIO, [steps.flip(flip)]),
    )
    return recipe.pipelines(seed=seed, device=device, dtype=dtype, normalize=normalize)


def supervised_val(
    size: int = 224,
    *,
    seed: int | None = None,
    device: Any = None,
    dtype: torch.dtype = torch.float32,
    normalize: bool = True,
) -> Preset:
    """Resize the shorter side to 8/7 of the size (256 for 224) and crop the centre.

    Parameters
    ----------
    size : int
        Side of the result, pixels.
    seed : int, optional
        Nothing is random here; taken so that all presets can be called alike.
    device, dtype, normalize
        See ``Recipe.pipelines``.

    Notes
    -----
    Source: Krizhevsky et al., "ImageNet classification with deep convolutional neural networks",
    NeurIPS 2012 (the centre of images of 256 pixels).
    """
    crop = Step(DecodeResizeCrop, {"resize_size": round(size * 256 / 224), "crop_size": size})
    recipe = Recipe("supervised_val", "Krizhevsky et al. 2012", {IMAGE: View(crop)})
    return recipe.pipelines(seed=seed, device=device, dtype=dtype, normalize=normalize)
