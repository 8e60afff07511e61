"""``Boxes``: the crop of each image of a batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Boxes:
    """The crop of each image, in source pixels: x, y, width, height of the displayed image."""

    window: NDArray[np.float64]
    """Shape (B, 4): what is resampled to the output; edges may lie between pixels."""
    bounds: NDArray[np.int32]
    """Shape (B, 4): the pixels that the resampling filter may touch; it holds the window.

    A crop that is made before the resize has bounds equal to the window; a resize of the whole
    image of which only a part is kept has the whole image.
    """

    def __len__(self) -> int:
        return int(self.bounds.shape[0])

    @classmethod
    def of_crops(cls, crops: NDArray[np.int32]) -> Boxes:
        """Crop first, then resize: ``crops`` has shape (B, 4)."""
        return cls(window=crops.astype(np.float64), bounds=crops)


def whole_image_boxes(heights: NDArray[np.int32], widths: NDArray[np.int32]) -> Boxes:
    """The whole of each image."""
    crops = np.zeros((heights.shape[0], 4), np.int32)
    crops[:, 2] = widths
    crops[:, 3] = heights
    return Boxes.of_crops(crops)
