"""Random resized crops without rejection."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders.boxes import Boxes, direct_random_resized_boxes
from slipstream_decoders.context import BatchContext
from slipstream_decoders.stages.random_resized import DecodeRandomResizedCrop


class DecodeDirectRandomResizedCrop(DecodeRandomResizedCrop):
    """Decode, crop at random by RandomResizedCrop's law without its fallback, and resize.

    torchvision tries ten times and then takes a fixed crop of the centre: often for long images and
    narrow laws. Here area and aspect ratio are drawn at once from those that fit. Where every try
    of torchvision's would fit, the two laws are one. Parameters are those of
    ``DecodeRandomResizedCrop``; ``estimate_rejection_fallback_rate`` says how far the laws differ
    on a data set.

    Notes
    -----
    The box depends on (seed, epoch, sample id, occurrence, view, stage name) only.
    """

    def boxes(
        self, heights: NDArray[np.int32], widths: NDArray[np.int32], context: BatchContext
    ) -> Boxes:
        """See ``CropStage``."""
        return direct_random_resized_boxes(
            heights,
            widths,
            self.scale,
            self.ratio,
            context.key(self.seed),
            context.sample_ids,
            context.sample_occurrences,
        )
