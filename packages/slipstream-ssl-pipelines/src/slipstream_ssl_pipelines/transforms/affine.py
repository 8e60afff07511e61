"""Affine transforms: rotate, zoom, translate, and all at once.

Pixels are interpolated; ``interpolation="nearest"`` is for masks. A second instance of the same
class, in the pipeline of another field of the sample, draws the same parameters: that is how an
image and its mask turn together.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn import functional as tnf

from slipstream_ssl_pipelines.functional import geometry
from slipstream_ssl_pipelines.functional.geometry import Interpolation, Padding
from slipstream_ssl_pipelines.transforms.base import RandomOptions, RandomTransform
from slipstream_ssl_pipelines.transforms.chunks import Params, Work
from slipstream_ssl_pipelines.transforms.compiled import ImageKernel
from slipstream_ssl_pipelines.transforms.draws import Draws
from slipstream_ssl_pipelines.transforms.image_kernels import warp_bilinear, warp_nearest
from slipstream_ssl_pipelines.transforms.ranges import RangeLike, as_range, points

if TYPE_CHECKING:
    from typing_extensions import Unpack


class _Warp(RandomTransform):
    """Resampling through a map a sample, relative to points given as fractions of the image."""

    work: ClassVar[Work] = "planes"

    def __init__(
        self,
        p: float,
        pad_mode: Padding,
        interpolation: Interpolation,
        **options: Unpack[RandomOptions],
    ) -> None:
        super().__init__(p, **options)
        if pad_mode not in ("zeros", "border", "reflection"):
            raise ValueError(f"pad_mode must be zeros, border or reflection, got {pad_mode!r}")
        if interpolation not in ("bilinear", "nearest"):
            raise ValueError(f"interpolation must be bilinear or nearest, got {interpolation!r}")
        self.pad_mode: Padding = pad_mode
        self.interpolation: Interpolation = interpolation

    @abstractmethod
    def maps(self, params: Params, height: int, width: int) -> torch.Tensor:
        """Maps from output to input pixels, (B, 2, 3)."""

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        maps = self.maps(params, *images.shape[-2:])
        return geometry.warp_affine(images, maps, self.pad_mode, self.interpolation)

    def kernel(self, params: Params, images: torch.Tensor) -> ImageKernel | None:
        """See ``ImageTransform``."""
        if self.pad_mode != "zeros":
            return None
        maps = self.maps(params, *images.shape[-2:]).double().numpy()
        warp = warp_nearest if self.interpolation == "nearest" else warp_bilinear
        return lambda row, frame: warp(frame, maps[row])


def _in_pixels(fractions: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Points (x, y) in [0, 1] -> pixels from the image's centre."""
    return (fractions - 0.5) * torch.tensor([width, height], device=fractions.device)


def _signed(name: str, value: RangeLike) -> tuple[float, float]:
    return as_range(name, (-value, value) if isinstance(value, (int, float)) else value)


class RandomRotate(_Warp):
    """Turn counter-clockwise around a point.

    Parameters
    ----------
    p : float
    max_deg : float or (float, float)
        Degrees: d means (-d, d).
    x, y : float or (float, float)
        The point that stays, as fractions of width and height.
    angles : sequence of float, optional
        Degrees to choose from, instead of ``max_deg``.
    pad_mode : {"zeros", "border", "reflection"}
        What lies outside of the image.
    interpolation : {"bilinear", "nearest"}
    seed, device, inplace
        See ``RandomTransform``.
    """

    def __init__(
        self,
        p: float = 0.5,
        max_deg: RangeLike = 45.0,
        x: RangeLike = 0.5,
        y: RangeLike = 0.5,
        angles: Sequence[float] | None = None,
        pad_mode: Padding = "zeros",
        interpolation: Interpolation = "bilinear",
        **options: Unpack[RandomOptions],
    ) -> None:
        super().__init__(p, pad_mode, interpolation, **options)
        self.max_deg = _signed("max_deg", max_deg)
        self.x, self.y = as_range("x", x), as_range("y", y)
        self.angles = None if angles is None else list(angles)
        if self.angles == []:
            raise ValueError("angles must be at least one, or None for any within max_deg")

    def sample(self, draws: Draws, height: int, width: int) -> Params:
        """Draw ``angle`` (degrees) and ``point`` (x, y in fractions)."""
        del height, width
        angle = draws.uniform(*self.max_deg) if self.angles is None else draws.choice(self.angles)
        return {"angle": angle, "point": points(draws, self.x, self.y)}

    def maps(self, params: Params, height: int, width: int) -> torch.Tensor:
        """See ``_Warp``."""
        point = _in_pixels(params["point"], height, width)
        linear = geometry.rotation(-params["angle"])
        return geometry.inverse_map(linear, point, point)


class RandomZoom(_Warp):
    """Magnify or shrink around a point.

    Parameters
    ----------
    p : float
    zoom : float or (float, float)
        Side of the part that is shown relative to the image's: 0.5 magnifies twice, 1 changes
        nothing, above 1 shrinks.
    x, y : float or (float, float)
        The point that stays, as fractions of width and height.
    pad_mode : {"zeros", "border", "reflection"}
    interpolation : {"bilinear", "nearest"}
    seed, device, inplace
        See ``RandomTransform``.
    """

    def __init__(
        self,
        p: float = 0.5,
        zoom: RangeLike = (0.5, 1.0),
        x: RangeLike = 0.5,
        y: RangeLike = 0.5,
        pad_mode: Padding = "zeros",
        interpolation: Interpolation = "bilinear",
        **options: Unpack[RandomOptions],
    ) -> None:
        super().__init__(p, pad_mode, interpolation, **options)
        self.zoom = as_range("zoom", zoom, 1e-6)
        self.x, self.y = as_range("x", x), as_range("y", y)

    def sample(self, draws: Draws, height: int, width: int) -> Params:
        """Draw ``zoom`` and ``point`` (x, y in fractions)."""
        del height, width
        return {"zoom": draws.uniform(*self.zoom), "point": points(draws, self.x, self.y)}

    def maps(self, params: Params, height: int, width: int) -> torch.Tensor:
        """See ``_Warp``."""
        point = _in_pixels(params["point"], height, width)
        linear = torch.diag_embed(params["zoom"].view(-1, 1).expand(-1, 2))
        return geometry.inverse_map(linear, point, point)


class RandomRotateObject(_Warp):
    """Turn the image around an object's centre, scale it, and move that centre elsewhere.

    Parameters
    ----------
    p : float
    max_deg : float or (float, float)
        Degrees, counter-clockwise: d means (-d, d).
    ctr_x, ctr_y : float or (float, float)
        Centre of the object, as fractions of width and height.
    scale : float or (float, float)
        As ``RandomZoom``'s ``zoom``: 2 shrinks to half.
    dest_x, dest_y : float or (float, float)
        Where the centre goes.
    pad_mode : {"zeros", "border", "reflection"}
    interpolation : {"bilinear", "nearest"}
    seed, device, inplace
        See ``RandomTransform``.
    """

    def __init__(
        self,
        p: float = 0.5,
        max_deg: RangeLike = 45.0,
        ctr_x: RangeLike = 0.5,
        ctr_y: RangeLike = 0.5,
        scale: RangeLike = (1.0, 2.0),
        dest_x: RangeLike = (0.25, 0.75),
        dest_y: RangeLike = (0.25, 0.75),
        pad_mode: Padding = "border",
        interpolation: Interpolation = "bilinear",
        **options: Unpack[RandomOptions],
    ) -> None:
        super().__init__(p, pad_mode, interpolation, **options)
        self.max_deg = _signed("max_deg", max_deg)
        self.scale = as_range("scale", scale, 1e-6)
        self.ctr_x, self.ctr_y = as_range("ctr_x", ctr_x), as_range("ctr_y", ctr_y)
        self.dest_x, self.dest_y = as_range("dest_x", dest_x), as_range("dest_y", dest_y)

    def sample(self, draws: Draws, height: int, width: int) -> Params:
        """Draw ``angle``, ``scale``, ``center`` and ``destination`` (x, y in fractions)."""
        del height, width
        return {
            "angle": draws.uniform(*self.max_deg),
            "scale": draws.uniform(*self.scale),
            "center": points(draws, self.ctr_x, self.ctr_y),
            "destination": points(draws, self.dest_x, self.dest_y),
        }

    def maps(self, params: Params, height: int, width: int) -> torch.Tensor:
        """See ``_Warp``."""
        linear = geometry.rotation(-params["angle"]) * params["scale"].view(-1, 1, 1)
        source = _in_pixels(params["center"], height, width)
        target = _in_pixels(params["destination"], height, width)
        return geometry.inverse_map(linear, source, target)


class RandomAffine(_Warp):
    """torchvision's RandomAffine: turn clockwise, shear, scale around the centre, then shift.

    Parameters
    ----------
    p : float
    degrees : float or (float, float)
        d means (-d, d).
    translate : (float, float)
        Largest shift as fractions of width and height; shifts are whole pixels.
    scale : float or (float, float)
        Above 1 magnifies.
    shear : (float, float) or (float, float, float, float)
        Degrees: range along x, and along y if there are four numbers.
    pad_mode : {"zeros", "border", "reflection"}
    interpolation : {"bilinear", "nearest"}
    seed, device, inplace
        See ``RandomTransform``.
    """

    def __init__(
        self,
        p: float = 1.0,
        degrees: RangeLike = 0.0,
        translate: tuple[float, float] = (0.0, 0.0),
        scale: RangeLike = 1.0,
        shear: Sequence[float] = (0.0, 0.0),
        pad_mode: Padding = "zeros",
        interpolation: Interpolation = "bilinear",
        **options: Unpack[RandomOptions],
    ) -> None:
        super().__init__(p, pad_mode, interpolation, **options)
        self.degrees = _signed("degrees", degrees)
        if not all(0 <= part <= 1 for part in translate):
            raise ValueError(f"translate must be two fractions in [0, 1], got {translate!r}")
        self.translate = translate
        self.scale = as_range("scale", scale, 1e-6)
        if len(shear) not in (2, 4):
            raise ValueError(f"shear must be two or four numbers, got {shear!r}")
        self.shear = as_range("shear", shear[:2]), as_range("shear", shear[2:] or 0.0)

    def sample(self, draws: Draws, height: int, width: int) -> Params:
        """Draw ``angle``, ``scale``, ``shear`` (x, y in degrees), ``shift`` (x, y in pixels)."""
        most = self.translate[0] * width, self.translate[1] * height
        return {
            "angle": draws.uniform(*self.degrees),
            "scale": draws.uniform(*self.scale),
            "shear": points(draws, *self.shear),
            "shift": points(draws, (-most[0], most[0]), (-most[1], most[1])).round(),
        }

    def maps(self, params: Params, height: int, width: int) -> torch.Tensor:
        """See ``_Warp``."""
        del height, width
        return geometry.affine_matrices(
            params["angle"], params["shift"], params["scale"], params["shear"]
        )


class RandomTranslate(RandomTransform):
    """Shift by whole pixels, each way up to ``padding``; what comes in is ``fill``.

    Parameters
    ----------
    padding : int
        Largest shift, pixels.
    fill : float
        As a pixel of the input: in [0, 255] for bytes.
    p : float
    seed, device, inplace
        See ``RandomTransform``.

    Notes
    -----
    The same as padding by so many pixels and cropping at random (He et al. 2016, for CIFAR).
    """

    work: ClassVar[Work] = "native"

    def __init__(
        self,
        padding: int,
        fill: float = 0,
        p: float = 1.0,
        **options: Unpack[RandomOptions],
    ) -> None:
        super().__init__(p, **options)
        if padding < 0:
            raise ValueError(f"padding must not be negative, got {padding}")
        self.padding = padding
        self.fill = fill

    def sample(self, draws: Draws, height: int, width: int) -> Params:
        """Draw ``shift``: x, y in pixels, int64."""
        del height, width
        x, y = (draws.integers(-self.padding, self.padding + 1) for _ in range(2))
        return {"shift": torch.stack([x, y], 1)}

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        if images.device.type != "cpu":
            return self.by_index(images, params)
        height, width = images.shape[-2:]
        result = torch.full_like(images, self.fill)
        for row, (x, y) in enumerate(params["shift"].tolist()):
            to = result[row, :, max(y, 0) : max(height + y, 0), max(x, 0) : max(width + x, 0)]
            of = images[row, :, max(-y, 0) : max(height - y, 0), max(-x, 0) : max(width - x, 0)]
            to.copy_(of)
        return result

    def by_index(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """The same without a look at the shifts from the CPU."""
        num, _, height, width = images.shape
        padded = tnf.pad(images, (self.padding,) * 4, value=self.fill)
        start = self.padding - params["shift"]
        rows = start[:, 1:] + torch.arange(height, device=images.device)
        columns = start[:, :1] + torch.arange(width, device=images.device)
        samples = torch.arange(num, device=images.device).view(-1, 1, 1)
        return padded.permute(0, 2, 3, 1)[samples, rows.unsqueeze(2), columns.unsqueeze(1)].permute(
            0, 3, 1, 2
        )
