"""Options that are a range to draw from, or one value."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from slipstream_ssl_pipelines.transforms.draws import Draws

RangeLike = float | Sequence[float]
"""One number, or (lowest, highest)."""


def as_range(name: str, value: RangeLike, least: float | None = None) -> tuple[float, float]:
    """A range, from (lowest, highest) or from one number.

    Raises
    ------
    ValueError
        If it is empty, or goes below ``least``.
    """
    low, high = (value, value) if isinstance(value, (int, float)) else value
    if not low <= high or (least is not None and low < least):
        limit = "" if least is None else f" and lowest >= {least}"
        raise ValueError(f"{name} must be lowest <= highest{limit}, got {value!r}")
    return float(low), float(high)


def factor_range(name: str, value: RangeLike) -> tuple[float, float]:
    """A range of factors: a strength s means (max(0, 1 - s), 1 + s), as in torchvision."""
    if isinstance(value, (int, float)):
        if value < 0:
            raise ValueError(f"{name} must not be negative, got {value!r}")
        return max(0.0, 1 - value), 1.0 + value
    return as_range(name, value, 0)


def hue_range(value: RangeLike) -> tuple[float, float]:
    """A range of hue shifts in turns: h means (-h, h)."""
    low, high = (-value, value) if isinstance(value, (int, float)) else value
    if not -0.5 <= low <= high <= 0.5:
        raise ValueError(f"hue must lie within -0.5 and 0.5 turns, got {value!r}")
    return float(low), float(high)


def points(draws: Draws, x: tuple[float, float], y: tuple[float, float]) -> torch.Tensor:
    """Points (x, y) drawn from two ranges, (B, 2)."""
    return torch.stack([draws.uniform(*x), draws.uniform(*y)], 1)
