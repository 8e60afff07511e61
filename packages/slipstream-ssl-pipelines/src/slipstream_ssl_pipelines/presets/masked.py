"""Images of which a network sees parts: MAE and I-JEPA."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from slipstream_ssl_pipelines.presets import steps
from slipstream_ssl_pipelines.presets.recipe import (
    IMAGE,
    Preset,
    Recipe,
    Step,
    random_views,
)
from slipstream_ssl_pipelines.transforms.block_masks import BlockMasks


def mae(
    size: int = 224,
    *,
    seed: int | None = None,
    device: Any = None,
    dtype: torch.dtype = torch.float32,
    normalize: bool = True,
) -> Preset:
    """Random resized crop of at least a fifth of the image, and flip.

    Parameters
    ----------
    size : int
        Side of the result, pixels.
    seed, device, dtype, normalize
        See ``Recipe.pipelines``.

    Notes
    -----
    Source: He et al., "Masked autoencoders are scalable vision learners", CVPR 2022, and its code,
    which resizes bicubically. The network masks its patches itself.
    """
    views = random_views([IMAGE], size, (0.2, 1.0), steps.RATIO, [steps.flip()])
    recipe = Recipe("mae", "He et al. 2022", views)
    return recipe.pipelines(seed=seed, device=device, dtype=dtype, normalize=normalize)


def ijepa(
    size: int = 224,
    *,
    patch_size: int = 16,
    seed: int | None = None,
    device: Any = None,
    dtype: torch.dtype = torch.float32,
    normalize: bool = True,
) -> Preset:
    """Random resized crop of at least 30 % of the image, and masks of patches.

    Parameters
    ----------
    size : int
        Side of the result, pixels.
    patch_size : int
        Side of the network's patches, pixels: 16 for ViT-B and ViT-L, 14 for ViT-H.
    seed, device, dtype, normalize
        See ``Recipe.pipelines``.

    Notes
    -----
    The batch gets ``context_masks`` and ``target_masks``: see ``BlockMasks``. Below 7 x 7 patches
    (112 pixels by the default) they begin to overlap.

    Source: Assran et al., "Self-supervised learning from images with a joint-embedding predictive
    architecture", CVPR 2023, and its code: neither flips nor changes of colour.
    """
    views = random_views([IMAGE], size, (0.3, 1.0), steps.RATIO, [])
    masks = Step(BlockMasks, {"patch_size": patch_size})
    views[IMAGE] = replace(views[IMAGE], labels=(masks,))
    recipe = Recipe("ijepa", "Assran et al. 2023", views)
    return recipe.pipelines(seed=seed, device=device, dtype=dtype, normalize=normalize)
