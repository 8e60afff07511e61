"""Separable filters with a kernel for each sample; borders are reflected."""

from __future__ import annotations

import torch
from torch.nn import functional as tnf


def gaussian_kernels(sigmas: torch.Tensor, size: int) -> torch.Tensor:
    """Gaussians sampled at whole pixels, each with sum 1, shape (B, size); ``size`` is odd."""
    offsets = torch.arange(size, device=sigmas.device, dtype=torch.float32) - (size - 1) / 2
    weights = torch.exp(-0.5 * (offsets / sigmas.view(-1, 1)) ** 2)
    return weights / weights.sum(1, keepdim=True)


def filter_separable(images: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """Filter columns, then rows, with the same kernel; images (B, C, H, W), kernels (B, size)."""
    radius = kernels.shape[1] // 2
    mode = "reflect" if radius < min(images.shape[-2:]) else "replicate"
    padded = tnf.pad(images, (radius,) * 4, mode=mode)
    weights = kernels.to(images.dtype)
    return _filter_axis(_filter_axis(padded, weights, 2), weights, 3)


def _filter_axis(images: torch.Tensor, weights: torch.Tensor, axis: int) -> torch.Tensor:
    """Sum of weighted shifts: on the CPU several times as fast as a grouped convolution."""
    taps = weights.shape[1]
    length = images.shape[axis] - taps + 1
    columns = [weights[:, tap].view(-1, 1, 1, 1) for tap in range(taps)]
    result = images.narrow(axis, 0, length) * columns[0]
    for tap in range(1, taps):
        result.addcmul_(images.narrow(axis, tap, length), columns[tap])
    return result
