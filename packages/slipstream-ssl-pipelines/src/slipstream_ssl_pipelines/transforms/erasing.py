"""Rectangles of the image that are filled with something else."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from slipstream_ssl_pipelines.functional.noise import NORMAL, UNIFORM, noise_at, noise_sequence
from slipstream_ssl_pipelines.transforms.base import RandomTransform
from slipstream_ssl_pipelines.transforms.chunks import Params, Work, narrow
from slipstream_ssl_pipelines.transforms.draws import Draws
from slipstream_ssl_pipelines.transforms.ranges import as_range

_TRIES = 10


class _BoxFill(RandomTransform):
    """``box`` holds top, left, height and width in pixels, int64, (B, 4)."""

    work: ClassVar[Work] = "whole"

    @abstractmethod
    def fill_of_box(
        self, params: Params, row: int, shape: tuple[int, int, int], dtype: torch.dtype
    ) -> torch.Tensor:
        """What fills the box of one sample: a tensor that fits (C, h, w)."""

    @abstractmethod
    def fill_everywhere(
        self, params: Params, index: torch.Tensor, images: torch.Tensor
    ) -> torch.Tensor:
        """The same at every pixel of the images; ``index`` numbers the pixels of the boxes."""

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        if images.device.type != "cpu":
            return self.by_mask(images, params)
        result = images.clone()
        for row, (top, left, height, width) in enumerate(params["box"].tolist()):
            if height > 0 and width > 0:
                box = result[row, :, top : top + height, left : left + width]
                fill = self.fill_of_box(params, row, (box.shape[0], height, width), images.dtype)
                box.copy_(fill)
        return result

    def by_mask(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """The same without a look at the boxes from the CPU."""
        top, left, height, width = params["box"].view(-1, 4, 1, 1).unbind(1)
        y = torch.arange(images.shape[-2], device=images.device).view(1, -1, 1) - top
        x = torch.arange(images.shape[-1], device=images.device).view(1, 1, -1) - left
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        channel = torch.arange(images.shape[1], device=images.device).view(1, -1, 1, 1)
        index = (y * width + x).unsqueeze(1) * images.shape[1] + channel
        fill = self.fill_everywhere(params, index, images)
        return torch.where(inside.unsqueeze(1), fill, images)


class RandomErasing(_BoxFill):
    """Fill a random rectangle: torchvision's and timm's law.

    Up to ten tries of an area (uniform fraction of the image) and an aspect (height / width,
    log-uniform); the first that is smaller than the image is placed uniformly.

    Parameters
    ----------
    p : float
    area_range : (float, float)
        Fractions of the image.
    aspect_range : (float, float)
    mode : {"random_color_pixel", "random_color_uniform", "zeros"}
        Noise, one random colour, or black.
    fill : {"randn", "uniform"}
        Law of the noise: standard normal (for normalised images), or uniform in [0, 1).
    max_value : float
        The noise is multiplied by this.
    seed, device, inplace
        See ``RandomTransform``.

    Notes
    -----
    Source: Zhong et al., "Random erasing data augmentation", AAAI 2020.
    """

    def __init__(
        self,
        p: float = 0.5,
        area_range: tuple[float, float] = (0.02, 1 / 3),
        aspect_range: tuple[float, float] = (0.3, 3.3),
        mode: Literal["random_color_pixel", "random_color_uniform", "zeros"] = "random_color_pixel",
        fill: Literal["randn", "uniform"] = "randn",
        max_value: float = 1.0,
        *,
        seed: int | None = None,
        device: Any = None,
        inplace: bool = False,
    ) -> None:
        super().__init__(p, seed=seed, device=device, inplace=inplace)
        self.area_range = as_range("area_range", area_range, 0)
        self.aspect_range = as_range("aspect_range", aspect_range, 1e-6)
        if mode not in ("random_color_pixel", "random_color_uniform", "zeros"):
            raise ValueError(f"unknown mode {mode!r}")
        if fill not in ("randn", "uniform"):
            raise ValueError(f"fill must be randn or uniform, got {fill!r}")
        self.mode, self.fill, self.max_value = mode, fill, float(max_value)
        self._fills: dict[torch.dtype, torch.Tensor] = {}

    def sample(self, draws: Draws, height: int, width: int) -> Params:
        """Draw ``box`` (empty where no try fits) and ``noise``, the seed of the fill."""
        u = draws.numbers(2 * _TRIES).reshape(-1, _TRIES, 2)
        low, high = self.area_range
        area = (low + (high - low) * u[..., 0]) * height * width
        least, most = np.log(self.aspect_range)
        aspect = np.exp(least + (most - least) * u[..., 1])
        h, w = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
        fits = (h < height) & (w < width)
        first = (np.arange(len(u)), fits.argmax(1))
        h, w = np.where(fits.any(1), h[first], 0), np.where(fits.any(1), w[first], 0)
        place = draws.numbers(2)
        top = np.floor(place[:, 0] * (height - h + 1))
        left = np.floor(place[:, 1] * (width - w + 1))
        box = np.stack([top, left, h, w], 1).astype(np.int64)
        return {"box": torch.from_numpy(box), "noise": draws.words()}

    def fill_of_box(
        self, params: Params, row: int, shape: tuple[int, int, int], dtype: torch.dtype
    ) -> torch.Tensor:
        """See ``_BoxFill``."""
        if self.mode == "zeros":
            return torch.zeros((), dtype=dtype)
        seed = params["noise"][row : row + 1]
        channels, height, width = shape if self.mode == "random_color_pixel" else (shape[0], 1, 1)
        count = channels * height * width
        noise = noise_sequence(seed, count, self._quantiles(dtype))
        return noise.view(height, width, channels).permute(2, 0, 1)

    def fill_everywhere(
        self, params: Params, index: torch.Tensor, images: torch.Tensor
    ) -> torch.Tensor:
        """See ``_BoxFill``."""
        if self.mode == "zeros":
            return torch.zeros((), device=images.device, dtype=images.dtype)
        if self.mode == "random_color_uniform":
            index = torch.arange(images.shape[1], device=images.device).view(1, -1, 1, 1)
        quantiles = self._quantiles(images.dtype).to(images.device)
        return noise_at(params["noise"].view(-1, 1, 1, 1), index, quantiles)

    def _quantiles(self, dtype: torch.dtype) -> torch.Tensor:
        """Those of the fill's law as pixels of some type."""
        if dtype not in self._fills:
            law = NORMAL if self.fill == "randn" else UNIFORM
            self._fills[dtype] = narrow(law * self.max_value, dtype)
        return self._fills[dtype]

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_fills": {}}


class Cutout(_BoxFill):
    """Fill a square that lies at random within the image.

    Parameters
    ----------
    crop_size : int
        Side, pixels.
    fill : float
        As a pixel of the input: in [0, 255] for bytes.
    p : float
    seed, device, inplace
        See ``RandomTransform``.
    """

    def __init__(
        self,
        crop_size: int,
        fill: float = 0,
        p: float = 1.0,
        *,
        seed: int | None = None,
        device: Any = None,
        inplace: bool = False,
    ) -> None:
        super().__init__(p, seed=seed, device=device, inplace=inplace)
        if crop_size < 1:
            raise ValueError(f"crop_size must be a positive number of pixels, got {crop_size}")
        self.crop_size = crop_size
        self.fill = fill

    def sample(self, draws: Draws, height: int, width: int) -> Params:
        """Draw ``box``."""
        side_y, side_x = min(self.crop_size, height), min(self.crop_size, width)
        top, left = draws.integers(0, height - side_y + 1), draws.integers(0, width - side_x + 1)
        sides = torch.tensor([side_y, side_x]).expand(draws.num_samples, 2)
        return {"box": torch.cat([top[:, None], left[:, None], sides], 1)}

    def fill_of_box(
        self, params: Params, row: int, shape: tuple[int, int, int], dtype: torch.dtype
    ) -> torch.Tensor:
        """See ``_BoxFill``."""
        del params, row, shape
        return torch.tensor(self.fill).to(dtype)

    def fill_everywhere(
        self, params: Params, index: torch.Tensor, images: torch.Tensor
    ) -> torch.Tensor:
        """See ``_BoxFill``."""
        del params, index
        return torch.tensor(self.fill, device=images.device).to(images.dtype)
