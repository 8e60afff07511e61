"""A resize of the shorter side and a square crop of the result, as one resampling."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slipstream_decoders.boxes.base import Boxes

_GRID = 2.0**32
"""Window edges are multiples of 1 / _GRID pixels: far below what pixels can show, and exact in sums
and differences, so that it does not matter which part of an image is decoded."""


def resize_crop_boxes(
    heights: NDArray[np.int32],
    widths: NDArray[np.int32],
    resize_sizes: ArrayLike,
    crop_sizes: ArrayLike,
    x: float | NDArray[np.float64],
    y: float | NDArray[np.float64],
) -> Boxes:
    """The part of each image that survives a resize of its shorter side and a square crop.

    Parameters
    ----------
    heights, widths : ndarray of int32, shape (B,)
    resize_sizes : int or array of int, shape (B,)
        Length of the shorter side after the resize, output pixels.
    crop_sizes : int or array of int, shape (B,)
        Side of the crop, output pixels; at most ``resize_sizes``.
    x, y : float or array of float, shape (B,)
        Place of the crop in [0, 1]: 0 is left or top, 1 right or bottom, 0.5 the centre.

    Returns
    -------
    Boxes
        Windows are fractional; bounds are the whole image, since the crop comes last.

    Notes
    -----
    Source: torchvision ``_compute_resized_output_size`` (the longer side is truncated to an
    integer) and ``center_crop`` (margins are rounded half to even).
    """
    shape = heights.shape
    resized = np.broadcast_to(np.asarray(resize_sizes, np.int64), shape)
    crops = np.broadcast_to(np.asarray(crop_sizes, np.int64), shape)
    if not ((crops > 0) & (crops <= resized)).all():
        raise ValueError("crop sizes must be positive and at most the resized shorter sides")
    tall = heights > widths
    shorter = np.maximum(np.where(tall, widths, heights).astype(np.float64), 1.0)
    longer = np.maximum(np.where(tall, heights, widths).astype(np.int64), 1)
    resized_longer = (resized * longer / shorter).astype(np.int64)
    resized_heights = np.where(tall, resized_longer, resized)
    resized_widths = np.where(tall, resized, resized_longer)

    window = np.empty((*shape, 4), np.float64)
    window[:, 0] = np.rint((resized_widths - crops) * x) * widths / resized_widths
    window[:, 1] = np.rint((resized_heights - crops) * y) * heights / resized_heights
    window[:, 2] = crops * (widths / resized_widths)
    window[:, 3] = crops * (heights / resized_heights)
    bounds = np.zeros((*shape, 4), np.int32)
    bounds[:, 2] = widths
    bounds[:, 3] = heights
    return Boxes(window=np.rint(window * _GRID) / _GRID, bounds=bounds)
