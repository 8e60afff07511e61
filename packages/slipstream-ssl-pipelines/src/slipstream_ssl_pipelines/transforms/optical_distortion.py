"""A lens in front of the image."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch.nn import functional as tnf

from slipstream_ssl_pipelines.functional.geometry import radial_grid
from slipstream_ssl_pipelines.transforms.base import ImageTransform
from slipstream_ssl_pipelines.transforms.chunks import Params, Work


class FixedOpticalDistortion(ImageTransform):
    """The same radial distortion for every image; what lies outside is black.

    Parameters
    ----------
    output_size : int or (int, int)
        Of the result, pixels: (height, width).
    distortion : float
        See ``functional.geometry.radial_grid``.
    dx, dy : float
        Shift of the optical centre, pixels of the output.
    device : device, optional
    """

    work: ClassVar[Work] = "planes"

    def __init__(
        self,
        output_size: int | tuple[int, int],
        distortion: float = -0.5,
        dx: float = 0.0,
        dy: float = 0.0,
        *,
        device: Any = None,
    ) -> None:
        super().__init__(device=device)
        height, width = (output_size,) * 2 if isinstance(output_size, int) else output_size
        self.grid = radial_grid((height, width), distortion, dx, dy, torch.device("cpu"))

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        del params
        grid = self.grid.to(images).expand(len(images), -1, -1, -1)
        return tnf.grid_sample(images, grid, "bilinear", "zeros", align_corners=False)
