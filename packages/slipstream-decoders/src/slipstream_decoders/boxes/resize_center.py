"""torchvision's ``Resize(resize_size)`` + ``CenterCrop(crop_size)``, in one resampling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders.boxes.base import Boxes


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

    Notes
    -----
    Source: torchvision ``_compute_resized_output_size`` (the longer side is truncated to an
    integer) and ``center_crop`` (margins are rounded half to even).
    """
    if not 0 < crop_size <= resize_size:
        raise ValueError(f"crop_size {crop_size} must be in 1..resize_size, which is {resize_size}")
    tall = heights > widths
    shorter = np.maximum(np.where(tall, widths, heights).astype(np.float64), 1.0)
    longer = np.where(tall, heights, widths).astype(np.int64)
    resized_longer = (resize_size * longer / shorter).astype(np.int64)
    resized_heights = np.where(tall, resized_longer, resize_size)
    resized_widths = np.where(tall, resize_size, resized_longer)

    window = np.empty((heights.shape[0], 4), np.float64)
    window[:, 0] = np.rint((resized_widths - crop_size) / 2.0) * widths / resized_widths
    window[:, 1] = np.rint((resized_heights - crop_size) / 2.0) * heights / resized_heights
    window[:, 2] = crop_size * (widths / resized_widths)
    window[:, 3] = crop_size * (heights / resized_heights)
    bounds = np.zeros((heights.shape[0], 4), np.int32)
    bounds[:, 2] = widths
    bounds[:, 3] = heights
    return Boxes(window=window, bounds=bounds)
