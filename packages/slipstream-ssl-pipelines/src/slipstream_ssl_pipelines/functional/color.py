"""Colour adjustments of planes: RGB in [0, 1], factors one a sample.

Each function equals its namesake in torchvision's ``transforms.v2.functional`` on float images, to
within rounding.
"""

from __future__ import annotations

from typing import Final

import torch

LUMA: Final = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in gray, those of torchvision (ITU-R BT.601)."""
RGB_TO_YIQ: Final = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.321), (0.211, -0.523, 0.311))
"""The matrix that DALI uses."""


def per_sample(values: torch.Tensor) -> torch.Tensor:
    """(B,) -> (B, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


def gray(images: torch.Tensor) -> torch.Tensor:
    """Luma, shape (B, 1, H, W)."""
    red, green, blue = (images[:, channel : channel + 1] for channel in range(3))
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def gray_as_stored(images: torch.Tensor) -> torch.Tensor:
    """Luma in the images' own type and scale, whatever their memory order; (B, 1, H, W)."""
    wide = torch.float64 if images.dtype == torch.float64 else torch.float32
    red, green, blue = (images[:, channel : channel + 1].to(wide) for channel in range(3))
    luma = (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])
    return (luma.add_(0.5) if images.dtype == torch.uint8 else luma).to(images.dtype)


def reached(values: torch.Tensor, limits: torch.Tensor) -> torch.Tensor:
    """1 where ``values >= limits``, else 0, in the type of the values.

    On the CPU, arithmetic with this is many times as fast as a bool mask with ``torch.where``.
    """
    return values.clone().ge_(limits)


def adjust_brightness(
    images: torch.Tensor, factors: torch.Tensor, top: float = 1.0
) -> torch.Tensor:
    """``factor * x``, clipped to [0, top]."""
    return (images * per_sample(factors)).clamp_(0, top)


def adjust_contrast(images: torch.Tensor, factors: torch.Tensor, top: float = 1.0) -> torch.Tensor:
    """Blend with the mean of the image's luma: 0 is that gray, 1 the image."""
    factors = per_sample(factors)
    means = images.mean((2, 3), keepdim=True)
    if images.shape[1] == 3:
        means = gray(means)
    return (images * factors).add_((1 - factors) * means).clamp_(0, top)


def adjust_saturation(
    images: torch.Tensor, factors: torch.Tensor, top: float = 1.0
) -> torch.Tensor:
    """Blend with the image's luma: 0 is gray, 1 the image."""
    factors = factors.view(-1, 1, 1)
    keep = factors * torch.eye(3, device=images.device)
    luma = (1 - factors) * torch.tensor(LUMA, device=images.device)
    return mix_channels(images, keep + luma).clamp_(0, top)


def adjust_hue(images: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Turn the hue of HSV by ``shift`` turns, in [-0.5, 0.5]; saturation and value are kept."""
    red, green, blue = (images[:, channel : channel + 1] for channel in range(3))
    high = torch.maximum(torch.maximum(red, green), blue)
    chroma = high - torch.minimum(torch.minimum(red, green), blue)
    inverse = chroma.clamp(min=1e-10).reciprocal_()
    is_red = reached(red, high)
    is_green = reached(green, high).mul_(1 - is_red)
    is_blue = 1 - is_red - is_green
    rise = is_red * (green - blue)
    rise = rise.addcmul_(is_green, blue - red).addcmul_(is_blue, red - green).mul_(inverse)
    sixths = rise.add_(is_green, alpha=2).add_(is_blue, alpha=4).add_(per_sample(6 * shifts + 12))
    offsets = torch.tensor([5.0, 3.0, 1.0], device=images.device, dtype=images.dtype)
    turns: torch.Tensor = (sixths + offsets.view(1, 3, 1, 1)).mul_(1 / 6)
    k = turns.sub_(turns.floor()).mul_(6)
    weight: torch.Tensor = torch.minimum(k, 4 - k).clamp_(0, 1)
    return torch.addcmul(high.expand_as(weight), weight, chroma, value=-1)


def yiq_matrices(hues: torch.Tensor, saturations: torch.Tensor) -> torch.Tensor:
    """Matrices on RGB that turn the chroma of YIQ by ``hue`` degrees and scale it, (B, 3, 3)."""
    to_yiq = torch.tensor(RGB_TO_YIQ, dtype=torch.float64, device=hues.device)
    radians = torch.deg2rad(hues.double())
    cosine, sine = saturations * radians.cos(), saturations * radians.sin()
    zero, one = torch.zeros_like(cosine), torch.ones_like(cosine)
    turn = torch.stack([one, zero, zero, zero, cosine, sine, zero, -sine, cosine], 1).view(-1, 3, 3)
    matrices: torch.Tensor = torch.linalg.inv(to_yiq) @ turn @ to_yiq
    return matrices.to(torch.float32)


def mix_channels(
    images: torch.Tensor, matrices: torch.Tensor, biases: torch.Tensor | None = None
) -> torch.Tensor:
    """``matrix @ pixel + bias``, a matrix (B, C', C) and a bias (B, C') for each image.

    The result is in the memory order of the images.
    """
    num, channels, height, width = images.shape
    matrices = matrices.to(images.dtype)
    if images.stride(1) == 1:  # pixels are rows
        rows = images.permute(0, 2, 3, 1).reshape(num, -1, channels)
        mixed = torch.bmm(rows, matrices.transpose(1, 2)).view(num, height, width, -1)
        mixed = mixed.permute(0, 3, 1, 2)
    else:
        columns = images.reshape(num, channels, -1)
        mixed = torch.bmm(matrices, columns).view(num, -1, height, width)
    return mixed if biases is None else mixed.add_(biases[..., None, None].to(mixed.dtype))
