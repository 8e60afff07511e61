"""Gaussian blur."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch

from slipstream_ssl_pipelines.functional.blur import filter_separable, gaussian_kernels
from slipstream_ssl_pipelines.transforms.base import RandomTransform
from slipstream_ssl_pipelines.transforms.chunks import Params, Work
from slipstream_ssl_pipelines.transforms.compiled import ImageKernel
from slipstream_ssl_pipelines.transforms.draws import Draws
from slipstream_ssl_pipelines.transforms.image_kernels import blur
from slipstream_ssl_pipelines.transforms.ranges import RangeLike, as_range


class RandomGaussianBlur(RandomTransform):
    """Blur with a Gaussian of random width; borders are reflected, as in torchvision.

    Parameters
    ----------
    p : float
    kernel_size : int
        Odd, pixels.
    sigma_range : float or (float, float)
        Standard deviation, pixels.
    num_sigmas : int, optional
        The width is one of so many values that divide the range evenly. Default: any in the range.
    seed, device, inplace
        See ``RandomTransform``.
    """

    work: ClassVar[Work] = "planes"

    def __init__(
        self,
        p: float = 0.5,
        kernel_size: int = 7,
        sigma_range: RangeLike = (0.1, 2.0),
        num_sigmas: int | None = None,
        *,
        seed: int | None = None,
        device: Any = None,
        inplace: bool = False,
    ) -> None:
        super().__init__(p, seed=seed, device=device, inplace=inplace)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        if num_sigmas is not None and num_sigmas < 1:
            raise ValueError(f"num_sigmas must be positive, got {num_sigmas}")
        self.kernel_size = kernel_size
        self.sigma_range = as_range("sigma_range", sigma_range, 1e-6)
        self.num_sigmas = num_sigmas

    def sample(self, draws: Draws, height: int, width: int) -> Params:
        """Draw ``sigma``, pixels."""
        del height, width
        if self.num_sigmas is None:
            return {"sigma": draws.uniform(*self.sigma_range)}
        return {"sigma": draws.choice(np.linspace(*self.sigma_range, self.num_sigmas).tolist())}

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        return filter_separable(images, gaussian_kernels(params["sigma"], self.kernel_size))

    def kernel(self, params: Params, images: torch.Tensor) -> ImageKernel | None:
        """See ``ImageTransform``."""
        del images
        weights = gaussian_kernels(params["sigma"], self.kernel_size).numpy()
        return lambda row, frame: blur(frame, weights[row])
