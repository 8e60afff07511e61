"""RandAugment and TrivialAugment: operations and strengths drawn from a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from slipstream_decoders import BatchContext
from slipstream_ssl_pipelines.functional import color, geometry, tone
from slipstream_ssl_pipelines.functional.geometry import Interpolation
from slipstream_ssl_pipelines.transforms.base import RandomTransform
from slipstream_ssl_pipelines.transforms.chunks import Params, Work, empty_images, run_rows
from slipstream_ssl_pipelines.transforms.draws import Draws

Operation = Callable[[torch.Tensor, torch.Tensor, Interpolation], torch.Tensor]


@dataclass(frozen=True)
class _Row:
    """One operation of the table."""

    name: str
    apply: Operation
    """(images, strengths of shape (B,), interpolation) -> images."""
    strongest: float
    """Strength of the last bin; the first bin's is 0, or 8 bits, or a threshold of 1."""
    signed: bool
    work: Work = "planes"


def _warp(
    images: torch.Tensor, linear: torch.Tensor, anchor: float, interpolation: Interpolation
) -> torch.Tensor:
    """Around the image's centre (anchor 0) or its upper left corner (-0.5)."""
    size = torch.tensor([images.shape[-1], images.shape[-2]], device=images.device)
    point = (size * anchor).expand(len(images), 2)
    maps = geometry.inverse_map(linear, point, point)
    return geometry.warp_affine(images, maps, "zeros", interpolation)


def _shear(axis: int) -> Operation:
    def apply(images: torch.Tensor, level: torch.Tensor, how: Interpolation) -> torch.Tensor:
        linear = torch.eye(2, device=images.device).repeat(len(images), 1, 1)
        linear[:, axis, 1 - axis] = level
        return _warp(images, linear, -0.5, how)

    return apply


def _translate(axis: int, relative: bool) -> Operation:
    """Whole pixels; ``relative``: levels are fractions of width or height."""

    def apply(images: torch.Tensor, level: torch.Tensor, how: Interpolation) -> torch.Tensor:
        pixels = (level * images.shape[-1 - axis] if relative else level).trunc()
        maps = torch.eye(2, 3, device=images.device).repeat(len(images), 1, 1)
        maps[:, axis, 2] = -pixels
        return geometry.warp_affine(images, maps, "zeros", how)

    return apply


def _rotate(images: torch.Tensor, level: torch.Tensor, how: Interpolation) -> torch.Tensor:
    return _warp(images, geometry.rotation(-level), 0.0, how)


def _tone(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Operation:
    def apply(images: torch.Tensor, level: torch.Tensor, how: Interpolation) -> torch.Tensor:
        del how
        return function(images, level)

    return apply


def _factor(adjust: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Operation:
    return _tone(lambda images, level: adjust(images, 1 + level))


def _plain(function: Callable[[torch.Tensor], torch.Tensor]) -> Operation:
    def apply(images: torch.Tensor, level: torch.Tensor, how: Interpolation) -> torch.Tensor:
        del level, how
        return function(images)

    return apply


def _table(
    shear: float, shift: float, relative: bool, degrees: float, factor: float, bits: float
) -> tuple[_Row, ...]:
    return (
        _Row("Identity", _plain(lambda images: images), 0, False, "native"),
        _Row("ShearX", _shear(0), shear, True),
        _Row("ShearY", _shear(1), shear, True),
        _Row("TranslateX", _translate(0, relative), shift, True),
        _Row("TranslateY", _translate(1, relative), shift, True),
        _Row("Rotate", _rotate, degrees, True),
        _Row("Brightness", _factor(color.adjust_brightness), factor, True, "float"),
        _Row("Color", _factor(color.adjust_saturation), factor, True),
        _Row("Contrast", _factor(color.adjust_contrast), factor, True),
        _Row("Sharpness", _factor(tone.adjust_sharpness), factor, True),
        _Row("Posterize", _tone(lambda x, n: tone.posterize(x, n.long())), bits, False, "native"),
        _Row("Solarize", _tone(tone.solarize), 0, False, "native"),
        _Row("AutoContrast", _plain(tone.autocontrast), 0, False, "planes"),
        _Row("Equalize", _plain(tone.equalize), 0, False, "native"),
    )


class _AutoAugment(RandomTransform):
    table: ClassVar[tuple[_Row, ...]]

    def __init__(
        self,
        num_ops: int,
        num_magnitude_bins: int,
        interpolation: Interpolation,
        **options: Any,
    ) -> None:
        super().__init__(1.0, **options)
        if num_ops < 1 or num_magnitude_bins < 2:
            raise ValueError(
                f"num_ops must be positive and num_magnitude_bins at least 2, got {num_ops}, "
                f"{num_magnitude_bins}"
            )
        self.num_ops = num_ops
        self.num_magnitude_bins = num_magnitude_bins
        self.interpolation: Interpolation = interpolation

    def bins(self, draws: Draws) -> torch.Tensor:
        """Which bin of strength, int64, (B,)."""
        return draws.integers(0, self.num_magnitude_bins)

    def sample(self, draws: Draws, height: int, width: int) -> Params:
        """Draw ``operation`` (row of ``table``) and ``magnitude``, each of shape (B, num_ops)."""
        del height, width
        operations, magnitudes = [], []
        strongest = torch.tensor([row.strongest for row in self.table])
        signed = torch.tensor([row.signed for row in self.table])
        names = [row.name for row in self.table]
        for _ in range(self.num_ops):
            operation = draws.integers(0, len(self.table))
            fraction = self.bins(draws).float() / (self.num_magnitude_bins - 1)
            negative = draws.bernoulli(0.5) & signed[operation]
            level = strongest[operation] * fraction * torch.where(negative, -1.0, 1.0)
            level = torch.where(operation == names.index("Posterize"), 8 - level.round(), level)
            level = torch.where(operation == names.index("Solarize"), 1 - fraction, level)
            operations.append(operation)
            magnitudes.append(level)
        return {"operation": torch.stack(operations, 1), "magnitude": torch.stack(magnitudes, 1)}

    def _run(self, images: torch.Tensor, params: Params, context: BatchContext) -> torch.Tensor:
        if len(images) == 0:
            return images
        out = images
        if not self.inplace:
            out = empty_images(tuple(images.shape), images, context.buffers).copy_(images)
        for operations, levels in zip(
            params["operation"].unbind(1), params["magnitude"].unbind(1), strict=True
        ):
            for number in operations.unique().tolist():
                row = self.table[number]
                rows = (operations == number).nonzero()[:, 0]
                level = {"level": levels}
                run_rows(out, rows, level, self._of(row), row.work, out, context.buffers)
        return out

    def _of(self, row: _Row) -> Callable[[torch.Tensor, Params], torch.Tensor]:
        return lambda images, params: row.apply(images, params["level"], self.interpolation)

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """Not used: each operation runs on the samples that drew it."""
        return self._run(images, params, BatchContext.standalone(0))


class RandAugment(_AutoAugment):
    """``num_ops`` operations, drawn with replacement, all of one strength.

    Parameters
    ----------
    num_ops : int
    magnitude : int
        Bin of the strength, in [0, num_magnitude_bins).
    num_magnitude_bins : int
    interpolation : {"nearest", "bilinear"}
        Of shears, shifts and rotations.
    seed, device, inplace
        See ``RandomTransform``.

    Notes
    -----
    The table is torchvision's. Source: Cubuk et al., "RandAugment", 2019.
    """

    table = _table(0.3, 150.0 / 331.0, True, 30.0, 0.9, 4)

    def __init__(
        self,
        num_ops: int = 2,
        magnitude: int = 9,
        num_magnitude_bins: int = 31,
        interpolation: Interpolation = "nearest",
        *,
        seed: int | None = None,
        device: Any = None,
        inplace: bool = False,
    ) -> None:
        options = {"seed": seed, "device": device, "inplace": inplace}
        super().__init__(num_ops, num_magnitude_bins, interpolation, **options)
        if not 0 <= magnitude < num_magnitude_bins:
            raise ValueError(f"magnitude must lie in [0, {num_magnitude_bins}), got {magnitude}")
        self.magnitude = magnitude

    def bins(self, draws: Draws) -> torch.Tensor:
        """Always ``magnitude``."""
        return torch.full((draws.num_samples,), self.magnitude)


class TrivialAugment(_AutoAugment):
    """One operation of any strength.

    Parameters
    ----------
    num_magnitude_bins : int
    interpolation : {"nearest", "bilinear"}
        Of shears, shifts and rotations.
    seed, device, inplace
        See ``RandomTransform``.

    Notes
    -----
    The wide table of torchvision's ``TrivialAugmentWide``. Source: Müller and Hutter,
    "TrivialAugment", ICCV 2021.
    """

    table = _table(0.99, 32.0, False, 135.0, 0.99, 6)

    def __init__(
        self,
        num_magnitude_bins: int = 31,
        interpolation: Interpolation = "nearest",
        *,
        seed: int | None = None,
        device: Any = None,
        inplace: bool = False,
    ) -> None:
        options = {"seed": seed, "device": device, "inplace": inplace}
        super().__init__(1, num_magnitude_bins, interpolation, **options)
