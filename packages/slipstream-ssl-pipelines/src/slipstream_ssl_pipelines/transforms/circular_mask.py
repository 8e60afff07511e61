"""A round window with a soft rim."""

from __future__ import annotations

import math
from typing import Any

import torch

from slipstream_ssl_pipelines.errors import ImageBatchError
from slipstream_ssl_pipelines.transforms.base import ImageTransform
from slipstream_ssl_pipelines.transforms.chunks import Params


class CircularMask(ImageTransform):
    """Multiply by a disc that fills the image and falls to 0 at its rim.

    The disc is ``1 / (1 + exp(k (r - c)))`` of the distance r to the centre: ``tol`` at the
    inscribed circle and ``1 - tol`` at ``blur_span`` pixels inside it.

    Parameters
    ----------
    output_size : int
        Height and width of the images, pixels.
    blur_span : float
        Width of the rim, pixels.
    tol : float
        In (0, 0.5).
    device : device, optional
    """

    def __init__(
        self, output_size: int, blur_span: float = 8, tol: float = 5e-4, *, device: Any = None
    ) -> None:
        super().__init__(device=device)
        if not blur_span > 0 or not 0 < tol < 0.5:
            raise ValueError(
                f"blur_span must be positive and tol in (0, 0.5), got {blur_span}, {tol}"
            )
        self.output_size = output_size
        offsets = torch.arange(output_size, dtype=torch.float64) + 0.5 - output_size / 2
        radius = torch.hypot(offsets[:, None], offsets[None])
        slope = 2 * math.log((1 - tol) / tol) / blur_span
        disc = torch.sigmoid(-slope * (radius - (output_size / 2 - blur_span / 2)))
        self.mask = disc.to(torch.float32)

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        del params
        if images.shape[-2:] != self.mask.shape:
            raise ImageBatchError(
                f"CircularMask of size {self.output_size} got images of {tuple(images.shape[-2:])}"
            )
        return images * self.mask.to(images)
