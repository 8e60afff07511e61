"""From displays to early vision: cone responses and the channels of the LGN.

Sources: IEC 61966-2-1 (sRGB); CIE CAT02 (Moroney et al. 2002) for the cone fundamentals; centre
and surround as differences of Gaussians (Rodieck 1965).
"""

from __future__ import annotations

import math
from typing import Final

import torch

from slipstream_ssl_pipelines.functional.blur import filter_separable, gaussian_kernels
from slipstream_ssl_pipelines.functional.color import mix_channels

RGB_TO_XYZ: Final = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
"""Linear sRGB with white D65 to CIE 1931 XYZ."""
XYZ_TO_LMS: Final = (
    (0.7328, 0.4296, -0.1624),
    (-0.7036, 1.6975, 0.0061),
    (0.0030, 0.0136, 0.9834),
)
"""CAT02."""


def srgb_to_linear(images: torch.Tensor) -> torch.Tensor:
    """Undo the transfer curve of sRGB, [0, 1] to [0, 1]."""
    curve = ((images + 0.055) / 1.055).clamp(min=0).pow(2.4)
    return torch.where(images <= 0.04045, images / 12.92, curve)


def srgb_to_lms(images: torch.Tensor) -> torch.Tensor:
    """sRGB in [0, 1] to responses of L, M and S cones, (B, 3, H, W); white is about (1, 1, 1)."""
    matrix = torch.tensor(XYZ_TO_LMS, dtype=torch.float64) @ torch.tensor(
        RGB_TO_XYZ, dtype=torch.float64
    )
    matrix = matrix.to(images.device, images.dtype).expand(len(images), 3, 3)
    return mix_channels(srgb_to_linear(images), matrix)


def smooth(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian filter, cut at three sigmas, in pixels."""
    size = 2 * math.ceil(3 * sigma) + 1
    kernel = gaussian_kernels(torch.tensor([sigma], device=images.device), size)
    return filter_separable(images, kernel.expand(len(images), -1))


def parvo(lms: torch.Tensor, center: float, surround: float) -> torch.Tensor:
    """Red-on and green-on cells, (B, 2, H, W): centre L - surround M, centre M - surround L."""
    cones = lms[:, :2]
    return (smooth(cones, center) - smooth(cones.flip(1), surround)).clamp_(min=0)


def magno(lms: torch.Tensor, center: float, surround: float) -> torch.Tensor:
    """On- and off-centre cells of (L + M) / 2, (B, 2, H, W)."""
    light = lms[:, :2].mean(1, keepdim=True)
    difference = smooth(light, center) - smooth(light, surround)
    return torch.cat([difference, -difference], 1).clamp_(min=0)


def konio(lms: torch.Tensor, center: float, surround: float) -> torch.Tensor:
    """Blue-on cells, (B, 1, H, W): centre S - surround (L + M) / 2."""
    light = lms[:, :2].mean(1, keepdim=True)
    return (smooth(lms[:, 2:], center) - smooth(light, surround)).clamp_(min=0)
