"""BYOL and the recipes that follow it: two views, blurred and solarised to different degrees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from slipstream_ssl_pipelines.presets import steps
from slipstream_ssl_pipelines.presets.recipe import Preset, Recipe, Step, View, random_views

PILLOW_BLUR = 13
"""Pixels that hold Pillow's Gaussian, which the authors' code of some recipes uses: 3 sigmas."""


def colors(saturation: float = 0.2) -> list[Step]:
    """Flip, jitter and grayscale as BYOL has them."""
    return [steps.flip(), steps.jitter(saturation=saturation), steps.grayscale()]


def _views(
    size: int, scale: steps.Range, kernel_size: int, odds: Sequence[tuple[float, float]]
) -> dict[str, View]:
    """``view_0``, ``view_1``, ... with probabilities of blur and solarisation each."""
    views: dict[str, View] = {}
    for number, (blur, solarize) in enumerate(odds):
        ending = [steps.blur(blur, kernel_size), steps.solarize(solarize)]
        names = [f"view_{number}"]
        views |= random_views(names, size, scale, steps.RATIO, [*colors(), *ending])
    return views


def byol(
    size: int = 224,
    *,
    seed: int | None = None,
    device: Any = None,
    dtype: torch.dtype = torch.float32,
    normalize: bool = True,
) -> Preset:
    """``view_0`` is always blurred; ``view_1`` rarely, and solarised at times.

    Parameters
    ----------
    size : int
        Side of the views, pixels.
    seed, device, dtype, normalize
        See ``Recipe.pipelines``.

    Notes
    -----
    Source: Grill et al., "Bootstrap your own latent", NeurIPS 2020, appendix B and table 6. The
    kernel of the blur is a tenth of the image: 23 pixels for 224.
    """
    views = _views(size, steps.SCALE, size // 10 | 1, [(1.0, 0.0), (0.1, 0.2)])
    recipe = Recipe("byol", "Grill et al. 2020, table 6", views)
    return recipe.pipelines(seed=seed, device=device, dtype=dtype, normalize=normalize)


def mocov3(
    size: int = 224,
    *,
    scale: tuple[float, float] = steps.SCALE,
    seed: int | None = None,
    device: Any = None,
    dtype: torch.dtype = torch.float32,
    normalize: bool = True,
) -> Preset:
    """BYOL's views, ``view_0`` and ``view_1``.

    Parameters
    ----------
    size : int
        Side of the views, pixels.
    scale : (float, float)
        Share of the area; the authors take (0.2, 1) for ResNet-50.
    seed, device, dtype, normalize
        See ``Recipe.pipelines``.

    Notes
    -----
    Source: Chen, Xie and He, "An empirical study of training self-supervised vision transformers",
    ICCV 2021, and its code.
    """
    views = _views(size, scale, PILLOW_BLUR, [(1.0, 0.0), (0.1, 0.2)])
    recipe = Recipe("mocov3", "Chen, Xie and He 2021", views)
    return recipe.pipelines(seed=seed, device=device, dtype=dtype, normalize=normalize)


def barlow_twins(
    size: int = 224,
    *,
    seed: int | None = None,
    device: Any = None,
    dtype: torch.dtype = torch.float32,
    normalize: bool = True,
) -> Preset:
    """BYOL's views, ``view_0`` and ``view_1``.

    Parameters
    ----------
    size : int
        Side of the views, pixels.
    seed, device, dtype, normalize
        See ``Recipe.pipelines``.

    Notes
    -----
    Source: Zbontar et al., "Barlow Twins: self-supervised learning via redundancy reduction", ICML
    2021, and its code, which resizes bicubically.
    """
    views = _views(size, steps.SCALE, PILLOW_BLUR, [(1.0, 0.0), (0.1, 0.2)])
    recipe = Recipe("barlow_twins", "Zbontar et al. 2021", views)
    return recipe.pipelines(seed=seed, device=device, dtype=dtype, normalize=normalize)


def vicreg(
    size: int = 224,
    *,
    seed: int | None = None,
    device: Any = None,
    dtype: torch.dtype = torch.float32,
    normalize: bool = True,
) -> Preset:
    """Two views made alike, ``view_0`` and ``view_1``: blurred by half, solarised by a tenth.

    Parameters
    ----------
    size : int
        Side of the views, pixels.
    seed, device, dtype, normalize
        See ``Recipe.pipelines``.

    Notes
    -----
    Source: Bardes, Ponce and LeCun, "VICReg: variance-invariance-covariance regularization for
    self-supervised learning", ICLR 2022, appendix. The kernel of the blur is a tenth of the image.
    """
    views = _views(size, steps.SCALE, size // 10 | 1, [(0.5, 0.1), (0.5, 0.1)])
    recipe = Recipe("vicreg", "Bardes, Ponce and LeCun 2022", views)
    return recipe.pipelines(seed=seed, device=device, dtype=dtype, normalize=normalize)
