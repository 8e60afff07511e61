"""Two views for contrastive learning."""

from __future__ import annotations

from typing import Any

import torch

from slipstream_ssl_pipelines.presets import steps
from slipstream_ssl_pipelines.presets.recipe import Preset, Recipe, random_views


def simclr(
    size: int = 224,
    *,
    scale: tuple[float, float] = steps.SCALE,
    ratio: tuple[float, float] = steps.RATIO,
    seed: int | None = None,
    device: Any = None,
    dtype: torch.dtype = torch.float32,
    normalize: bool = True,
) -> Preset:
    """Two views made alike: ``view_0``, ``view_1``. Also named ``simclr_symmetric``.

    Parameters
    ----------
    size : int
        Side of the views, pixels.
    scale, ratio : (float, float)
        Share of the area and width / height of the crops.
    seed, device, dtype, normalize
        See ``Recipe.pipelines``.

    Notes
    -----
    Source: Chen et al., "A simple framework for contrastive learning of visual representations",
    ICML 2020, with half its strength of colour jitter (0.4, 0.4, 0.4, 0.1 for 0.8, 0.8, 0.8, 0.2)
    and a blur of 7 pixels for one of a tenth of the image.
    """
    transforms = [steps.flip(), steps.jitter(), steps.grayscale(), steps.blur(0.5)]
    recipe = Recipe(
        "simclr",
        "Chen et al. 2020, with half the colour jitter and a smaller blur",
        random_views(["view_0", "view_1"], size, scale, ratio, transforms),
    )
    return recipe.pipelines(seed=seed, device=device, dtype=dtype, normalize=normalize)


simclr_symmetric = simclr
"""``simclr`` by its other name."""


def simclr_standard(
    size: int = 224,
    *,
    scale: tuple[float, float] = steps.SCALE,
    ratio: tuple[float, float] = steps.RATIO,
    seed: int | None = None,
    device: Any = None,
    dtype: torch.dtype = torch.float32,
    normalize: bool = True,
) -> Preset:
    """Two views made differently: ``view_0`` is always blurred, ``view_1`` solarised at times.

    Parameters
    ----------
    size : int
        Side of the views, pixels.
    scale, ratio : (float, float)
        Share of the area and width / height of the crops.
    seed, device, dtype, normalize
        See ``Recipe.pipelines``.

    Notes
    -----
    Source: the views of SimCLR (Chen et al., ICML 2020), made asymmetric in the way of Grill et
    al., "Bootstrap your own latent", NeurIPS 2020.
    """
    colors = [steps.flip(), steps.jitter(), steps.grayscale()]
    views = {
        **random_views(["view_0"], size, scale, ratio, [*colors, steps.blur(1.0)]),
        **random_views(["view_1"], size, scale, ratio, [*colors, steps.solarize()]),
    }
    source = "Chen et al. 2020, asymmetric in the way of Grill et al. 2020"
    recipe = Recipe("simclr_standard", source, views)
    return recipe.pipelines(seed=seed, device=device, dtype=dtype, normalize=normalize)
