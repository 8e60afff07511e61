"""Centre crops."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders.boxes import Boxes, center_boxes
from slipstream_decoders.context import BatchContext
from slipstream_decoders.engines.base import Quality
from slipstream_decoders.engines.choose import CropEngineName
from slipstream_decoders.stages.crop import CropStage, DecodeOptions, Exif, check_size


class DecodeCenterCrop(CropStage):
    """Decode and take the centred square of side ``min(size, height, width)``, scaled to ``size``.

    Parameters
    ----------
    size : int
        Side of the output, pixels.
    device : device, optional
        Where the result goes; default: the CPU.
    quality : {"fast", "exact"}
        ``exact`` equals Pillow's decode, crop and bilinear resize.
    engine : {"auto", "cpu", "planes", "nvimgcodec", "native", "turbojpeg", "pillow"}
    exif : {"ignore", "apply"}
        Whether EXIF orientation is applied.
    """

    def __init__(
        self,
        size: int = 224,
        *,
        device: Any = None,
        quality: Quality = "fast",
        engine: CropEngineName = "auto",
        exif: Exif = "ignore",
    ) -> None:
        super().__init__(check_size("size", size), device, DecodeOptions(quality, engine, exif))

    def boxes(
        self, heights: NDArray[np.int32], widths: NDArray[np.int32], context: BatchContext
    ) -> Boxes:
        """See ``CropStage``."""
        del context
        return center_boxes(heights, widths, int(self.size))  # type: ignore[arg-type]
