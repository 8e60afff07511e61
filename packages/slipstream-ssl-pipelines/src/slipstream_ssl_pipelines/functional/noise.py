"""Random fields that are functions of a seed and an index: equal on any device, in any batch.

The words are those of SplitMix64, whose n-th output needs no state but n.

Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
"""

from __future__ import annotations

import math
from typing import Final

import torch

_GAMMA: Final = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1: Final = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2: Final = 0x94D049BB133111EB - (1 << 64)


def _shifted(words: torch.Tensor, bits: int) -> torch.Tensor:
    """Logical shift to the right: torch's keeps the sign."""
    return (words >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _mixed(words: torch.Tensor, bits: int) -> torch.Tensor:
    """``words ^ (words >> bits)``, in place."""
    return words.bitwise_xor_(_shifted(words, bits))


def random_words(seeds: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Output number ``index`` (from 0) of SplitMix64 seeded with ``seeds``; int64, broadcast."""
    words = (index + 1).mul_(_GAMMA) + seeds
    return _mixed(_mixed(_mixed(words, 30).mul_(_MIX_1), 27).mul_(_MIX_2), 31)


def uniform_noise(seeds: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Uniform in [0, 1), float32, multiples of 2**-24."""
    return _shifted(random_words(seeds, index), 40).to(torch.float32) * 2.0**-24


def normal_noise(seeds: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Standard normal, float32: numbers 2n and 2n + 1 come from word n (Box and Muller 1958)."""
    radius, angle = _polar(random_words(seeds, index >> 1))
    return radius * (angle - (index & 1) * (math.pi / 2)).cos_()


def normal_sequence(seeds: torch.Tensor, count: int) -> torch.Tensor:
    """Numbers 0 to ``count`` of ``normal_noise``, to within rounding; seeds (B,) -> (B, count)."""
    index = torch.arange((count + 1) // 2, device=seeds.device)
    radius, angle = _polar(random_words(seeds.view(-1, 1), index))
    pairs = torch.stack([angle.cos(), angle.sin()], 2).mul_(radius.unsqueeze(2))
    return pairs.view(len(seeds), -1)[:, :count]


def _polar(words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    uniform = _shifted(words, 40).to(torch.float32).add_(0.5).mul_(2.0**-24)
    angle = words.bitwise_and(0xFFFFFF).to(torch.float32).mul_(2 * math.pi * 2.0**-24)
    return uniform.log_().mul_(-2).sqrt_(), angle


def power_law_noise(
    seeds: torch.Tensor, alphas: torch.Tensor, shape: tuple[int, int, int]
) -> torch.Tensor:
    """Noise whose power falls as frequency to the power -alpha: 0 white, 1 pink, 2 as in photos.

    Parameters
    ----------
    seeds : Tensor of int64, shape (B,)
    alphas : Tensor, shape (B,)
    shape : (int, int, int)
        Channels, height, width.

    Returns
    -------
    Tensor of float32, shape (B, channels, height, width)
        Each channel with mean 0 and standard deviation 1.
    """
    channels, height, width = shape
    white = normal_sequence(seeds, channels * height * width).view(-1, *shape)
    vertical = torch.fft.fftfreq(height, device=seeds.device)[:, None]
    horizontal = torch.fft.rfftfreq(width, device=seeds.device)[None]
    frequency: torch.Tensor = torch.hypot(vertical, horizontal)
    frequency[0, 0] = 1.0
    gain: torch.Tensor = frequency ** (-alphas.view(-1, 1, 1, 1) / 2)
    gain[..., 0, 0] = 0
    field: torch.Tensor = torch.fft.irfft2(torch.fft.rfft2(white) * gain, s=(height, width))
    deviation = field.square().mean((2, 3), keepdim=True).sqrt_()
    return field / deviation.clamp_(min=1e-12)
