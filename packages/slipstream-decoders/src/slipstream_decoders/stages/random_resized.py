"""Random resized crops: the usual training transform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders.boxes import Boxes, random_resized_boxes
from slipstream_decoders.context import BatchContext
from slipstream_decoders.engines.base import Quality
from slipstream_decoders.engines.choose import CropEngineName
from slipstream_decoders.stages.crop import CropStage, DecodeOptions, Exif


class DecodeRandomResizedCrop(CropStage):
    """Decode, crop at random by torchvision's RandomResizedCrop law, and resize.

    Parameters
    ----------
    size : int or (int, int)
        Output side, or height and width, pixels. It may be changed between epochs.
    scale : (float, float)
        Area of the crop as a fraction of the image's, drawn uniformly.
    ratio : (float, float)
        Width / height of the crop, drawn log-uniformly.
    seed : int, optional
        Replaces the loader's seed: equal seeds give equal boxes whatever the loader's.
    device : device, optional
        Where the result goes; default: the CPU.
    quality : {"fast", "exact"}
        ``exact`` equals Pillow's decode, crop and bilinear resize.
    engine : {"auto", "cpu", "planes", "nvimgcodec", "native", "turbojpeg", "pillow"}
    exif : {"ignore", "apply"}

    Notes
    -----
    The box depends on (seed, epoch, sample id, occurrence, view, stage name) only.
    """

    def __init__(
        self,
        size: int | Sequence[int] = 224,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        *,
        seed: int | None = None,
        device: Any = None,
        quality: Quality = "fast",
        engine: CropEngineName = "auto",
        exif: Exif = "ignore",
    ) -> None:
        super().__init__(size, device, DecodeOptions(quality, engine, exif))
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"scale must be 0 < smallest <= largest <= 1, got {scale!r}")
        if not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f"ratio must be 0 < smallest <= largest, got {ratio!r}")
        self.scale = (float(scale[0]), float(scale[1]))
        self.ratio = (float(ratio[0]), float(ratio[1]))
        self.seed = seed

    def boxes(
        self, heights: NDArray[np.int32], widths: NDArray[np.int32], context: BatchContext
    ) -> Boxes:
        """See ``CropStage``."""
        return random_resized_boxes(
            heights,
            widths,
            self.scale,
            self.ratio,
            context.key(self.seed),
            context.sample_ids,
            context.sample_occurrences,
        )
