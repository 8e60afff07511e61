"""Centred squares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders.boxes.base import Boxes


def center_boxes(heights: NDArray[np.int32], widths: NDArray[np.int32], size: int) -> Boxes:
    """Centred squares of side ``min(size, height, width)``.

    Parameters
    ----------
    heights, widths : ndarray of int32, shape (B,)
    size : int
        Source pixels.

    Returns
    -------
    Boxes
        An odd margin is rounded to even, as in torchvision's ``center_crop``.
    """
    side = np.minimum(np.minimum(heights, widths), size)
    crops = np.empty((heights.shape[0], 4), np.int32)
    crops[:, 0] = np.rint((widths - side) / 2.0)
    crops[:, 1] = np.rint((heights - side) / 2.0)
    crops[:, 2] = side
    crops[:, 3] = side
    return Boxes.of_crops(crops)
