"""torchvision's ``Resize(resize_size)`` + ``CenterCrop(crop_size)``, in one resampling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders.boxes.base import Boxes
from slipstream_decoders.boxes.resize_crop import resize_crop_boxes


def resize_center_boxes(
    heights: NDArray[np.int32], widths: NDArray[np.int32], resize_size: int, crop_size: int
) -> Boxes:
    """The part of each image that survives a resize of its shorter side and a centre crop.

    Parameters
    ----------
    heights, widths : ndarray of int32, shape (B,)
    resize_size : int
        Length of the shorter side after the resize, output pixels.
    crop_size : int
        Side of the centre crop, output pixels; at most ``resize_size``.

    Returns
    -------
    Boxes
        Windows are fractional; bounds are the whole image, since torchvision crops last.
    """
    if not 0 < crop_size <= resize_size:
        raise ValueError(f"crop_size {crop_size} must be in 1..resize_size, which is {resize_size}")
    return resize_crop_boxes(heights, widths, resize_size, crop_size, 0.5, 0.5)
