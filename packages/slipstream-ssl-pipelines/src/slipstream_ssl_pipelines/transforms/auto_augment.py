"""RandAugment and TrivialAugment: operations and strengths drawn from a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from slipstream_decoders import BatchContext
from slipstream_ssl_pipelines.functional import color, geometry, tone
from slipstream_ssl_pipelines.functional.geometry import Interpolation
from slipstream_ssl_pipelines.transforms import image_kernels as compiled
from slipstream_ssl_pipelines.transforms.base import RandomTransform
from slipstream_ssl_pipelines.transforms.chunks import Params, Work, empty_images, run_rows
from slipstream_ssl_pipelines.transforms.compiled import Frame, ImageKernel, can_run, run_images
from slipstream_ssl_pipelines.transforms.draws import Draws

Maps = Callable[[torch.Tensor, int, int], torch.Tensor]
"""(strengths of shape (B,), height, width) -> maps from output to input pixels, (B, 2, 3)."""


@dataclass(frozen=True)
class _Row:
    """One operation of the table, of which either ``maps`` or the other two functions are given."""

    name: str
    strongest: float
    """Strength of the last bin; the first bin's is 0, or 8 bits, or a threshold of 1."""
    signed: bool
    work: Work = "planes"
    apply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    """(images, strengths) -> images."""
    kernel: Callable[[Frame, float], None] | None = None
    """(image, strength)."""
    maps: Maps | None = None


def _around(linear: torch.Tensor, anchor: float, height: int, width: int) -> torch.Tensor:
    """Maps around the image's centre (anchor 0) or its upper left corner (-0.5)."""
    size = torch.tensor([width, height], device=linear.device)
    point = (size * anchor).expand(len(linear), 2)
    return geometry.inverse_map(linear, point, point)


def _shear(axis: int) -> Maps:
    def maps(level: torch.Tensor, height: int, width: int) -> torch.Tensor:
        linear = torch.eye(2, device=level.device).repeat(len(level), 1, 1)
        linear[:, axis, 1 - axis] = level
        return _around(linear, -0.5, height, width)

    return maps


def _translate(axis: int, relative: bool) -> Maps:
    """Whole pixels; ``relative``: levels are fractions of width or height."""

    def maps(level: torch.Tensor, height: int, width: int) -> torch.Tensor:
        pixels = (level * (width, height)[axis] if relative else level).trunc()
        maps = torch.eye(2, 3, device=level.device).repeat(len(level), 1, 1)
        maps[:, axis, 2] = -pixels
        return maps

    return maps


def _rotate(level: torch.Tensor, height: int, width: int) -> torch.Tensor:
    return _around(geometry.rotation(-level), 0.0, height, width)


def _copy(frame: Frame, level: float) -> None:
    del level
    if frame.source is not frame.target:
        frame.target[:] = frame.source


def _table(
    shear: float, shift: float, relative: bool, degrees: float, factor: float, bits: float
) -> tuple[_Row, ...]:
    return (
        _Row("Identity", 0, False, "native", lambda x, _: x, _copy),
        _Row("ShearX", shear, True, maps=_shear(0)),
        _Row("ShearY", shear, True, maps=_shear(1)),
        _Row("TranslateX", shift, True, maps=_translate(0, relative)),
        _Row("TranslateY", shift, True, maps=_translate(1, relative)),
        _Row("Rotate", degrees, True, maps=_rotate),
        _Row(
            "Brightness",
            factor,
            True,
            "float",
            lambda x, level: color.adjust_brightness(x, 1 + level),
            lambda frame, level: compiled.adjust_one(frame, compiled.BRIGHTNESS, 1 + level),
        ),
        _Row(
            "Color",
            factor,
            True,
            "planes",
            lambda x, level: color.adjust_saturation(x, 1 + level),
            lambda frame, level: compiled.adjust_one(frame, compiled.SATURATION, 1 + level),
        ),
        _Row(
            "Contrast",
            factor,
            True,
            "planes",
            lambda x, level: color.adjust_contrast(x, 1 + level),
            lambda frame, level: compiled.adjust_one(frame, compiled.CONTRAST, 1 + level),
        ),
        _Row(
            "Sharpness",
            factor,
            True,
            "planes",
            lambda x, level: tone.adjust_sharpness(x, 1 + level),
            lambda frame, level: compiled.sharpen(frame, 1 + level),
        ),
        _Row(
            "Posterize",
            bits,
            False,
            "native",
            lambda x, level: tone.posterize(x, level.long()),
            lambda frame, level: compiled.posterize(frame, int(level)),
        ),
        _Row("Solarize", 0, False, "native", tone.solarize, compiled.solarize),
        _Row(
            "AutoContrast",
            0,
            False,
            "planes",
            lambda x, _: tone.autocontrast(x),
            lambda frame, _: compiled.autocontrast(frame),
        ),
        _Row(
            "Equalize",
            0,
            False,
            "native",
            lambda x, _: tone.equalize(x),
            lambda frame, _: compiled.equalize(frame),
        ),
    )


class _AutoAugment(RandomTransform):
    channels = (3,)
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
        if can_run(images):
            kernel = self.kernel(params, images)
            return run_images(images, None, kernel, context, inplace=self.inplace)
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
        def apply(images: torch.Tensor, params: Params) -> torch.Tensor:
            level = params["level"]
            if row.maps is None:
                return images if row.apply is None else row.apply(images, level)
            maps = row.maps(level, *images.shape[-2:])
            return geometry.warp_affine(images, maps, "zeros", self.interpolation)

        return apply

    def kernel(self, params: Params, images: torch.Tensor) -> ImageKernel:
        """See ``ImageTransform``."""
        height, width = images.shape[-2:]
        operations, levels = params["operation"].numpy(), params["magnitude"].numpy()
        maps = {
            (number, place): row.maps(params["magnitude"][:, place], height, width).double().numpy()
            for number, row in enumerate(self.table)
            for place in range(operations.shape[1])
            if row.maps is not None and (operations[:, place] == number).any()
        }
        is_nearest = self.interpolation == "nearest"
        warp = compiled.warp_nearest if is_nearest else compiled.warp_bilinear

        def run(row: int, frame: Frame) -> None:
            for place, number in enumerate(operations[row].tolist()):
                function = self.table[number].kernel
                if function is None:
                    warp(frame, maps[number, place][row])
                else:
                    function(frame, levels[row, place])
                frame = frame.again()

        return run

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
