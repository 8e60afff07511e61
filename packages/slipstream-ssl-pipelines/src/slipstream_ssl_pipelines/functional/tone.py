"""Changes of tone: each pixel, channel or neighbourhood on its own. RGB in [0, 1] or bytes.

Each function equals its namesake in torchvision's ``transforms.v2.functional``.
"""

from __future__ import annotations

import torch

from slipstream_ssl_pipelines.functional.color import per_sample, reached


def solarize(images: torch.Tensor, thresholds: torch.Tensor) -> torch.Tensor:
    """Invert pixels that reach a threshold in [0, 1], (B,)."""
    limits = per_sample(thresholds)
    if images.dtype == torch.uint8:
        limits = (limits * 255).ceil().to(torch.uint8)
        return images ^ reached(images, limits).mul_(255)
    return torch.addcmul(images, reached(images, limits.to(images.dtype)), 1 - 2 * images)


def posterize(images: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
    """Keep the upper ``bits`` of each byte, int64 in [0, 8], (B,); floats get 2**bits levels."""
    if images.dtype == torch.uint8:
        masks = (256 - 2 ** (8 - bits)).to(torch.uint8)
        return images & per_sample(masks)
    levels = per_sample((2**bits).to(images.dtype))
    return (images * levels).floor_().clamp_(max=levels - 1).mul_(1 / levels)


def autocontrast(images: torch.Tensor) -> torch.Tensor:
    """Stretch each channel of each image to [0, 1]; constant channels stay. Floats only."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    flat = high <= low
    gain = torch.where(flat, 1.0, 1 / (high - low).clamp(min=1e-10))
    return ((images - torch.where(flat, 0.0, low)) * gain).clamp_(0, 1)


def equalize(images: torch.Tensor) -> torch.Tensor:
    """Equalise the histogram of each channel of each image: Pillow's rule, on bytes."""
    if images.dtype != torch.uint8:
        levels = (images.to(torch.float32) * 255.999).to(torch.uint8)
        return (equalize(levels).to(torch.float32) / 255).to(images.dtype)
    num, channels, height, width = images.shape
    flat = images.reshape(num * channels, height * width).long()
    counts = torch.zeros(num * channels, 256, dtype=torch.int64, device=images.device)
    counts.scatter_add_(1, flat, torch.ones_like(flat))
    # the number of pixels without those of the brightest value
    brightest = 255 - counts.flip(1).ne(0).int().argmax(1)
    steps = (height * width - counts.gather(1, brightest[:, None])) // 255
    before = counts.cumsum(1) - counts
    table = torch.div(before + steps // 2, steps.clamp(min=1), rounding_mode="floor").clamp_(0, 255)
    table = torch.where(steps > 0, table, torch.arange(256, device=images.device))
    return table.gather(1, flat).to(torch.uint8).view(images.shape)


def adjust_sharpness(images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Blend with a 3 x 3 smoothing of all but the border: 0 is smooth, 1 the image. Floats only."""
    if min(images.shape[-2:]) <= 2:
        return images
    inner = images[..., 1:-1, 1:-1]
    rows = images[..., :-2, :] + images[..., 1:-1, :] + images[..., 2:, :]
    box = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smooth = box.add_(inner, alpha=4).mul_(1 / 13)
    factors = per_sample(factors)
    result = images.clone()
    result[..., 1:-1, 1:-1] = inner * factors + smooth.mul_(1 - factors)
    return result.clamp_(0, 1)
