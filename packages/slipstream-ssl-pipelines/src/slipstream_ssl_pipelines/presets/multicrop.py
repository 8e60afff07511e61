"""More than two views: crops by one law, or large and small ones."""

from __future__ import annotations

from typing import Any

import torch

from slipstream_ssl_pipelines.presets import steps
from slipstream_ssl_pipelines.presets.recipe import Preset, Recipe, Step, View, random_views
from slipstream_ssl_pipelines.presets.siamese import PILLOW_BLUR, colors


def _check_count(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def _instance_transforms() -> list[Step]:
    blur = steps.blur(0.2)
    return [steps.flip(), steps.jitter(), steps.grayscale(), steps.solarize(), blur]


def ipcl(
    size: int = 224,
    *,
    num_crops: int = 5,
    scale: tuple[float, float] = (0.2, 1.0),
    ratio: tuple[float, float] = steps.SQUARE,
    seed: int | None = None,
    device: Any = None,
    dtype: torch.dtype = torch.float32,
    normalize: bool = True,
) -> Preset:
    """Crops made alike: ``crop_0`` to ``crop_4``.

    Parameters
    ----------
    size : int
        Side of the crops, pixels.
    num_crops : int
    scale, ratio : (float, float)
        Share of the area and width / height of the crops.
    seed, device, dtype, normalize
        See ``Recipe.pipelines``.

    Notes
    -----
    Source: Konkle and Alvarez, "A self-supervised domain-general learning framework for human
    ventral stream representation", Nature Communications 2022 (five crops of 20 to 100 % of the
    area, for instance-prototype contrastive learning); square crops, solarisation and blur are
    those of slipstream's recipe.
    """
    _check_count("num_crops", num_crops, 1)
    names = [f"crop_{number}" for number in range(num_crops)]
    views = random_views(names, size, scale, ratio, _instance_transforms())
    recipe = Recipe("ipcl", "Konkle and Alvarez 2022", views)
    return recipe.pipelines(seed=seed, device=device, dtype=dtype, normalize=normalize)


def _large_and_small(
    num: tuple[int, int],
    sizes: tuple[int, int | None],
    scales: tuple[steps.Range, steps.Range],
    ratio: steps.Range,
) -> dict[str, View]:
    _check_count("global_crops", num[0], 1)
    _check_count("local_crops", num[1], 0)
    large, small = sizes[0], int(0.4375 * sizes[0]) if sizes[1] is None else sizes[1]
    transforms = _instance_transforms()
    globals_ = [f"global_{number}" for number in range(num[0])]
    locals_ = [f"local_{number}" for number in range(num[1])]
    return {
        **random_views(globals_, large, scales[0], ratio, transforms),
        **random_views(locals_, small, scales[1], ratio, transforms),
    }


def lejepa(
    size: int = 224,
    *,
    global_crops: int = 2,
    local_crops: int = 4,
    local_size: int | None = None,
    global_scale: tuple[float, float] = (0.3, 1.0),
    local_scale: tuple[float, float] = (0.05, 0.3),
    ratio: tuple[float, float] = steps.SQUARE,
    seed: int | None = None,
    device: Any = None,
    dtype: torch.dtype = torch.float32,
    normalize: bool = True,
) -> Preset:
    """Large and small crops: ``global_0``, ``global_1``, ``local_0`` to ``local_3``.

    Parameters
    ----------
    size : int
        Side of the large crops, pixels.
    global_crops, local_crops : int
    local_size : int, optional
        Side of the small crops. Default: 7/16 of ``size``, 98 for 224.
    global_scale, local_scale : (float, float)
        Share of the area.
    ratio : (float, float)
        Width / height.
    seed, device, dtype, normalize
        See ``Recipe.pipelines``.

    Notes
    -----
    Source: Balestriero and LeCun, "LeJEPA: provable and scalable self-supervised learning without
    the heuristics", 2025 (sizes and scales), with the transforms of ``ipcl`` and 4 small crops.
    """
    views = _large_and_small(
        (global_crops, local_crops), (size, local_size), (global_scale, local_scale), ratio
    )
    recipe = Recipe("lejepa", "Balestriero and LeCun 2025, with the transforms of ipcl", views)
    return recipe.pipelines(seed=seed, device=device, dtype=dtype, normalize=normalize)


def multicrop(
    size: int = 224,
    *,
    global_crops: int = 2,
    local_crops: int = 4,
    local_size: int | None = None,
    global_scale: tuple[float, float] = (0.3, 1.0),
    local_scale: tuple[float, float] = (0.05, 0.3),
    ratio: tuple[float, float] = steps.SQUARE,
    seed: int | None = None,
    device: Any = None,
    dtype: torch.dtype = torch.float32,
    normalize: bool = True,
) -> Preset:
    """Any number of large and small crops: ``global_0``, ..., ``local_0``, ...

    Parameters
    ----------
    size : int
        Side of the large crops, pixels.
    global_crops, local_crops : int
    local_size : int, optional
        Side of the small crops. Default: 7/16 of ``size``, 98 for 224.
    global_scale, local_scale : (float, float)
        Share of the area.
    ratio : (float, float)
        Width / height.
    seed, device, dtype, normalize
        See ``Recipe.pipelines``.

    Notes
    -----
    Source: Caron et al., "Unsupervised learning of visual features by contrasting cluster
    assignments", NeurIPS 2020 (the idea), with the numbers and transforms of ``lejepa``.
    """
    views = _large_and_small(
        (global_crops, local_crops), (size, local_size), (global_scale, local_scale), ratio
    )
    recipe = Recipe("multicrop", "Caron et al. 2020, with the transforms of ipcl", views)
    return recipe.pipelines(seed=seed, device=device, dtype=dtype, normalize=normalize)


def dino(
    size: int = 224,
    *,
    local_crops: int = 8,
    local_size: int = 96,
    global_scale: tuple[float, float] = (0.4, 1.0),
    local_scale: tuple[float, float] = (0.05, 0.4),
    seed: int | None = None,
    device: Any = None,
    dtype: torch.dtype = torch.float32,
    normalize: bool = True,
) -> Preset:
    """Two large crops and any number of small ones: ``global_0``, ``global_1``, ``local_0``, ...

    Parameters
    ----------
    size : int
        Side of the large crops, pixels.
    local_crops : int
    local_size : int
        Side of the small crops, pixels.
    global_scale, local_scale : (float, float)
        Share of the area.
    seed, device, dtype, normalize
        See ``Recipe.pipelines``.

    Notes
    -----
    Source: Caron et al., "Emerging properties in self-supervised vision transformers", ICCV 2021,
    and its code, which resizes bicubically. ``global_0`` is always blurred, ``global_1`` rarely and
    solarised at times, the small ones are blurred by half.
    """
    _check_count("local_crops", local_crops, 0)
    endings = {
        "global_0": (size, global_scale, [steps.blur(1.0, PILLOW_BLUR)]),
        "global_1": (size, global_scale, [steps.blur(0.1, PILLOW_BLUR), steps.solarize()]),
        **{
            f"local_{number}": (local_size, local_scale, [steps.blur(0.5, PILLOW_BLUR)])
            for number in range(local_crops)
        },
    }
    views: dict[str, View] = {}
    for name, (side, scale, ending) in endings.items():
        views |= random_views([name], side, scale, steps.RATIO, [*colors(), *ending])
    recipe = Recipe("dino", "Caron et al. 2021", views)
    return recipe.pipelines(seed=seed, device=device, dtype=dtype, normalize=normalize)
