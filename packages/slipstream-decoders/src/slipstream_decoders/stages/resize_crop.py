"""Resize, then centre crop: the usual validation transform."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders.boxes import Boxes, resize_center_boxes
from slipstream_decoders.context import BatchContext
from slipstream_decoders.engines.base import Quality
from slipstream_decoders.engines.choose import CropEngineName
from slipstream_decoders.stages.crop import CropStage, DecodeOptions, Exif, check_size


class DecodeResizeCrop(CropStage):
    """Decode, resize the shorter side to ``resize_size`` and take the centre: one resampling.

    Equal to torchvision's ``Resize(resize_size)`` + ``CenterCrop(crop_size)`` on Pillow images with
    ``quality="exact"``.

    Parameters
    ----------
    resize_size : int
        Shorter side after the resize, pixels.
    crop_size : int
        Side of the output, at most ``resize_size``.
    device : device, optional
        Where the result goes; default: the CPU.
    quality : {"fast", "exact"}
    engine : {"auto", "cpu", "planes", "nvimgcodec", "native", "turbojpeg", "pillow"}
    exif : {"ignore", "apply"}

    Raises
    ------
    ValueError
        If ``crop_size`` is larger than ``resize_size``: torchvision would pad with black.
    """

    def __init__(
        self,
        resize_size: int = 256,
        crop_size: int = 224,
        *,
        device: Any = None,
        quality: Quality = "fast",
        engine: CropEngineName = "auto",
        exif: Exif = "ignore",
    ) -> None:
        self.resize_size = check_size("resize_size", resize_size)
        if crop_size > resize_size:
            raise ValueError(
                f"crop_size {crop_size} is larger than resize_size {resize_size}: "
                "there would be nothing to fill the border with"
            )
        super().__init__(
            check_size("crop_size", crop_size), device, DecodeOptions(quality, engine, exif)
        )

    def boxes(
        self, heights: NDArray[np.int32], widths: NDArray[np.int32], context: BatchContext
    ) -> Boxes:
        """See ``CropStage``."""
        del context
        return resize_center_boxes(heights, widths, self.resize_size, int(self.size))  # type: ignore[arg-type]
