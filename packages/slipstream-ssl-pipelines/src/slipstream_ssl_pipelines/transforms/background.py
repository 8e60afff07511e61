"""Images on backgrounds: placed on a canvas, or blended where they are transparent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch

from slipstream_decoders import IMAGENET_MEAN, IMAGENET_STD, BatchContext
from slipstream_ssl_pipelines.functional.noise import power_law_noise
from slipstream_ssl_pipelines.transforms.base import ImageTransform
from slipstream_ssl_pipelines.transforms.chunks import Params, Work
from slipstream_ssl_pipelines.transforms.draws import Draws
from slipstream_ssl_pipelines.transforms.ranges import RangeLike, as_range, points

Background = Literal["zeros", "constant", "power_law"]
"""Black, one colour, or noise with the spectrum of photos."""
FadeMode = Literal["circular", "cosine"]
"""How the rim of a round window falls: linearly, or as half a period of a cosine."""


def round_window(
    size: tuple[int, int], mode: FadeMode, width: float, inset: float, device: torch.device
) -> torch.Tensor:
    """A disc of ones whose rim falls to 0 at the inscribed circle less ``inset``; float32 (H, W).

    Parameters
    ----------
    size : (int, int)
        Height and width.
    mode : {"circular", "cosine"}
    width : float
        Of the rim, pixels.
    inset : float
        Pixels.
    device : device
    """
    height, across = size
    y = torch.arange(height, device=device) + 0.5 - height / 2
    x = torch.arange(across, device=device) + 0.5 - across / 2
    radius = torch.hypot(y[:, None], x[None])
    ramp = ((min(size) / 2 - inset - radius) / max(width, 1e-6)).clamp(0, 1)
    return ramp if mode == "circular" else 0.5 - 0.5 * torch.cos(torch.pi * ramp)


class _OnBackground(ImageTransform):
    channels = (3, 4)
    work: ClassVar[Work] = "planes"

    def __init__(
        self,
        background: Background,
        fill: float | Sequence[float] | None,
        alpha_range: RangeLike,
        color_noise: bool,
        *,
        seed: int | None,
        device: Any,
    ) -> None:
        super().__init__(device=device)
        if background not in ("zeros", "constant", "power_law"):
            raise ValueError(f"background must be zeros, constant or power_law, got {background!r}")
        if background == "constant" and fill is None:
            raise ValueError("background='constant' needs fill: a number or three, in [0, 1]")
        self.background: Background = background
        colour = (
            (0.0,) * 3 if fill is None else (fill,) * 3 if isinstance(fill, (int, float)) else fill
        )
        if len(colour) != 3:
            raise ValueError(f"fill must be one number or three, got {fill!r}")
        self.fill = tuple(colour)
        self.alpha_range = as_range("alpha_range", alpha_range)
        self.color_noise = color_noise
        self.mean: Sequence[float] = IMAGENET_MEAN
        self.std: Sequence[float] = IMAGENET_STD
        self.seed = seed

    def noise_params(self, draws: Draws) -> Params:
        """Draw ``noise`` (a seed) and ``alpha`` (the exponent) of the background."""
        return {"noise": draws.words(), "alpha": draws.uniform(*self.alpha_range)}

    def behind(self, images: torch.Tensor, size: tuple[int, int], params: Params) -> torch.Tensor:
        """The background of each sample, (B, 3, *size), in [0, 1]."""
        if self.background != "power_law":
            return self.colour(images).expand(len(images), 3, *size)
        shape = (3 if self.color_noise else 1, *size)
        field = power_law_noise(params["noise"], params["alpha"], shape)
        mean, std = (torch.tensor(v, device=images.device) for v in (self.mean, self.std))
        return (field * std.view(3, 1, 1) + mean.view(3, 1, 1)).clamp_(0, 1)

    def colour(self, images: torch.Tensor) -> torch.Tensor:
        """The fill, (1, 3, 1, 1)."""
        fill = self.fill if self.background == "constant" else (0.0,) * 3
        return torch.tensor(fill, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)


def _split_alpha(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Colours (B, 3, H, W) and opacity (B, 1, H, W) of RGB or RGBA."""
    colours = images[:, :3]
    return colours, images[:, 3:] if images.shape[1] == 4 else torch.ones_like(images[:, :1])


class RandomEmbed(_OnBackground):
    """Place the image on a canvas; what goes over the edge is cut off. RGB or RGBA -> RGB.

    Parameters
    ----------
    canvas_size : int
        Height and width of the result, pixels.
    x_range, y_range : float or (float, float)
        Where the image's centre goes, as fractions of the canvas.
    coords : sequence of (float, float), optional
        Centres (x, y) in pixels of the canvas: each sample gets one of them instead.
    background : {"zeros", "constant", "power_law"}
        ``power_law`` is noise with ImageNet's mean and deviation.
    fill : float or three floats, optional
        Colour of a constant background, in [0, 1].
    alpha_range : float or (float, float)
        Exponent of the noise: power falls as frequency to this.
    color_noise : bool
        Whether the channels' noises are independent.
    fade_radius : float, optional
        Width of a soft round rim of the image, pixels. Default: the image stays square.
    p_fade : float
        Probability of the rim.
    seed, device
        See ``RandomTransform``.
    """

    def __init__(
        self,
        canvas_size: int,
        x_range: RangeLike = 0.5,
        y_range: RangeLike = 0.5,
        coords: Sequence[tuple[float, float]] | None = None,
        background: Background = "zeros",
        fill: float | Sequence[float] | None = None,
        alpha_range: RangeLike = 2.0,
        color_noise: bool = True,
        fade_radius: float | None = None,
        p_fade: float = 1.0,
        *,
        seed: int | None = None,
        device: Any = None,
    ) -> None:
        super().__init__(background, fill, alpha_range, color_noise, seed=seed, device=device)
        self.canvas_size = canvas_size
        self.x_range, self.y_range = as_range("x_range", x_range), as_range("y_range", y_range)
        self.coords = None if coords is None else torch.tensor(list(coords), dtype=torch.float32)
        if self.coords is not None and not len(self.coords):
            raise ValueError("coords must be one or more pairs (x, y), got none")
        self.fade_radius = fade_radius
        self.p_fade = p_fade

    def draw(self, context: BatchContext, height: int, width: int) -> Params:
        """Draw ``center`` (x, y in pixels), ``fade``, ``noise`` and ``alpha``."""
        del height, width
        draws = Draws(context, self.seed)
        center = points(draws, self.x_range, self.y_range) * self.canvas_size
        fade = draws.bernoulli(self.p_fade).float()
        if self.coords is not None:
            center = self.coords[draws.integers(0, len(self.coords))]
        return {"center": center, "fade": fade, **self.noise_params(draws)}

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        colours, opacity = _split_alpha(images)
        num, _, height, width = images.shape
        if self.fade_radius is not None:
            rim = round_window((height, width), "cosine", self.fade_radius, 0.0, images.device)
            opacity = opacity * (1 - params["fade"].view(-1, 1, 1, 1) * (1 - rim))
        size = torch.tensor([width, height], device=images.device)
        corner = (params["center"] - size / 2 + 0.5).floor().long()
        canvas = torch.arange(self.canvas_size, device=images.device)
        x, y = canvas - corner[:, :1], canvas - corner[:, 1:]
        inside = ((y >= 0) & (y < height)).unsqueeze(2) & ((x >= 0) & (x < width)).unsqueeze(1)
        rows, columns = y.clamp(0, height - 1).unsqueeze(2), x.clamp(0, width - 1).unsqueeze(1)
        samples = torch.arange(num, device=images.device).view(-1, 1, 1)
        layers = torch.cat([colours, opacity], 1).permute(0, 2, 3, 1)[samples, rows, columns]
        layers = layers.permute(0, 3, 1, 2)
        opacity = layers[:, 3:] * inside.unsqueeze(1)
        behind = self.behind(images, (self.canvas_size, self.canvas_size), params)
        return torch.lerp(behind, layers[:, :3], opacity)


class RandomBackgroundBlend(_OnBackground):
    """Put a background behind the transparent part of RGBA images. RGB or RGBA -> RGB.

    Parameters
    ----------
    background : {"zeros", "constant", "power_law"}
    fill : float or three floats, optional
        Colour of a constant background, in [0, 1].
    mean, std : sequence of float
        Of the noise, for each channel.
    alpha_range : float or (float, float)
        Exponent of the noise.
    color_noise : bool
        Whether the channels' noises are independent.
    noise_scale : float
        The noise's deviation is multiplied by this.
    fade_mode : {"circular", "cosine"}, optional
        Makes the image round with a rim that falls linearly or as a cosine.
    fade_radius : float
        Width of the rim, pixels.
    inset : float
        Distance of the rim's end from the inscribed circle, pixels.
    p_fade, p_background : float
        Probability of the rim; of the background. Without it: black.
    seed, device
        See ``RandomTransform``.
    """

    def __init__(
        self,
        background: Background = "power_law",
        fill: float | Sequence[float] | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        alpha_range: RangeLike = 2.0,
        color_noise: bool = True,
        noise_scale: float = 1.0,
        fade_mode: FadeMode | None = None,
        fade_radius: float = 0.0,
        inset: float = 0.0,
        p_fade: float = 1.0,
        p_background: float = 1.0,
        *,
        seed: int | None = None,
        device: Any = None,
    ) -> None:
        super().__init__(background, fill, alpha_range, color_noise, seed=seed, device=device)
        if fade_mode not in (None, "circular", "cosine"):
            raise ValueError(f"fade_mode must be circular, cosine or None, got {fade_mode!r}")
        self.mean = tuple(mean)
        self.std = tuple(noise_scale * value for value in std)
        self.fade_mode: FadeMode | None = fade_mode
        self.fade_radius = fade_radius
        self.inset = inset
        self.p_fade, self.p_background = p_fade, p_background

    def draw(self, context: BatchContext, height: int, width: int) -> Params:
        """Draw ``fade``, ``with_background``, ``noise`` and ``alpha``."""
        del height, width
        draws = Draws(context, self.seed)
        fade, behind = (draws.bernoulli(p).float() for p in (self.p_fade, self.p_background))
        return {"fade": fade, "with_background": behind, **self.noise_params(draws)}

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        colours, opacity = _split_alpha(images)
        size = (images.shape[-2], images.shape[-1])
        if self.fade_mode is not None:
            rim = round_window(size, self.fade_mode, self.fade_radius, self.inset, images.device)
            opacity = opacity * (1 - params["fade"].view(-1, 1, 1, 1) * (1 - rim))
        behind = self.behind(images, size, params)
        behind = behind * params["with_background"].view(-1, 1, 1, 1)
        return torch.lerp(behind, colours, opacity)
