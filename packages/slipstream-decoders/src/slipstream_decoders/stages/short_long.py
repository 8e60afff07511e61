"""Resize the shorter side, then crop the longer one, somewhere along it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders.boxes import Boxes, resize_crop_boxes
from slipstream_decoders.context import BatchContext
from slipstream_decoders.engines.base import Quality
from slipstream_decoders.engines.choose import CropEngineName
from slipstream_decoders.stages.crop import CropStage, DecodeOptions, Exif, check_size

SizeMode = Literal["per_batch", "per_image"]
"""Whether a size that is drawn is one for the whole batch, or one for each image."""

Range = float | tuple[float, float]
"""A number, or the bounds of a uniform law."""


def check_range(name: str, value: Any) -> tuple[float, float]:
    """Bounds in [0, 1] of a place that is drawn; one number stands for both."""
    low, high = (value, value) if isinstance(value, (int, float)) else value
    if not 0 <= low <= high <= 1:
        raise ValueError(f"{name} must be 0 <= lowest <= highest <= 1, got {value!r}")
    return float(low), float(high)


class DecodeRandomResizeShortCropLong(CropStage):
    """Decode, resize the shorter side to ``size`` and crop the longer one to a square.

    Parameters
    ----------
    size : int or (int, int)
        Side of the output, pixels; or the smallest and the largest of a uniform law.
    size_mode : {"per_batch", "per_image"}
        Whether one size is drawn for all images of a batch, by the first one's random numbers, or
        one for each image by its own.
    x_range, y_range : float or (float, float)
        Place of the crop along the longer side of a wide, or of a tall image, drawn uniformly: 0 is
        left or top, 1 right or bottom.
    seed : int, optional
        Replaces the loader's seed.
    device : device, optional
        Where the result goes; default: the CPU.
    quality : {"fast", "exact"}
    engine : {"auto", "cpu", "planes", "nvimgcodec", "native", "turbojpeg", "pillow"}
    exif : {"ignore", "apply"}

    Notes
    -----
    The result is a tensor, or with ``"per_image"`` a list of arrays (side, side, 3). Places, and
    sizes of images, depend on (seed, epoch, sample id, occurrence, view, stage name) only; the size
    of a batch depends on which sample is its first.
    """

    def __init__(
        self,
        size: int | Sequence[int] = 224,
        size_mode: SizeMode = "per_batch",
        x_range: Range = (0.5, 0.5),
        y_range: Range = (0.5, 0.5),
        *,
        seed: int | None = None,
        device: Any = None,
        quality: Quality = "fast",
        engine: CropEngineName = "auto",
        exif: Exif = "ignore",
    ) -> None:
        super().__init__(size, device, DecodeOptions(quality, engine, exif))
        if size_mode not in get_args(SizeMode):
            raise ValueError(f"size_mode must be one of {get_args(SizeMode)}, got {size_mode!r}")
        self.is_one_size = size_mode == "per_batch"
        self.x_range = check_range("x_range", x_range)
        self.y_range = check_range("y_range", y_range)
        self.seed = seed
        self.size_bounds()

    def size_bounds(self) -> tuple[int, int]:
        """Smallest and largest side of the output, pixels.

        Raises
        ------
        ValueError
            If ``size`` is neither a number nor two in order.
        """
        size = self.size
        low, high = (size, size) if isinstance(size, (int, np.integer)) else size
        low, high = check_size("smallest size", low), check_size("largest size", high)
        if low > high:
            raise ValueError(f"size must be (smallest, largest), got {self.size!r}")
        return low, high

    def sides(self, context: BatchContext) -> NDArray[np.int64]:
        """Side of each image's output, shape (B,)."""
        low, high = self.size_bounds()
        draws = context.uniforms(1, self.seed)[:, 0]
        if self.is_one_size:
            draws = np.broadcast_to(draws[:1], draws.shape)
        return low + np.floor(draws * (high + 1 - low)).astype(np.int64)

    def output_size(self, context: BatchContext) -> tuple[int, int] | NDArray[np.int64]:
        """See ``CropStage``."""
        sides = self.sides(context)
        if not self.is_one_size:
            return np.repeat(sides[:, None], 2, axis=1)
        side = int(sides[0]) if sides.size else self.size_bounds()[0]
        return side, side

    def boxes(
        self, heights: NDArray[np.int32], widths: NDArray[np.int32], context: BatchContext
    ) -> Boxes:
        """See ``CropStage``."""
        draws = context.uniforms(3, self.seed)
        x = self.x_range[0] + (self.x_range[1] - self.x_range[0]) * draws[:, 1]
        y = self.y_range[0] + (self.y_range[1] - self.y_range[0]) * draws[:, 2]
        sides = self.sides(context)
        return resize_crop_boxes(heights, widths, sides, sides, x, y)
