"""Random fields that are functions of a seed and an index: equal on any device, in any batch.

Each number is one of 4,096 quantiles of its law, chosen by 12 bits of a random word: a table that
stays in the nearest cache, and finer than bytes. The words are those of SplitMix64, whose n-th
output needs no state but n.

Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
"""

from __future__ import annotations

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


_LEVELS: Final = 1 << 12
_PER_WORD: Final = 4
UNIFORM: Final = (torch.arange(_LEVELS, dtype=torch.float64) + 0.5).div_(_LEVELS).float()
"""Quantiles of the uniform law on [0, 1], float32."""
NORMAL: Final = torch.special.ndtri(UNIFORM.double()).float()
"""Quantiles of the standard normal law, float32: within 3.7 of 0."""


def noise_at(seeds: torch.Tensor, index: torch.Tensor, quantiles: torch.Tensor) -> torch.Tensor:
    """Number ``index`` of the noise of ``seeds``; broadcast, in the quantiles' type."""
    words = random_words(seeds, index >> 2)
    digits = words << (48 - 16 * (index & 3)) >> 52  # signed: the top bit chooses the half
    return quantiles[digits + _LEVELS // 2]


def noise_sequence(seeds: torch.Tensor, count: int, quantiles: torch.Tensor) -> torch.Tensor:
    """Numbers 0 to ``count`` of the noise of each seed (B,), (B, count)."""
    index = torch.arange(-(-count // _PER_WORD), device=seeds.device)
    words = random_words(seeds.view(-1, 1), index)
    digits = (words.view(torch.int16) >> 4).to(torch.int32).add_(_LEVELS // 2)
    return quantiles.index_select(0, digits.view(-1)).view(len(seeds), -1)[:, :count]


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
    normal = NORMAL.to(seeds.device)
    white = noise_sequence(seeds, channels * height * width, normal).view(-1, *shape)
    vertical = torch.fft.fftfreq(height, device=seeds.device)[:, None]
    horizontal = torch.fft.rfftfreq(width, device=seeds.device)[None]
    frequency: torch.Tensor = torch.hypot(vertical, horizontal)
    frequency[0, 0] = 1.0
    gain: torch.Tensor = frequency ** (-alphas.view(-1, 1, 1, 1) / 2)
    gain[..., 0, 0] = 0
    field: torch.Tensor = torch.fft.irfft2(torch.fft.rfft2(white) * gain, s=(height, width))
    deviation = field.square().mean((2, 3), keepdim=True).sqrt_()
    return field / deviation.clamp_(min=1e-12)
