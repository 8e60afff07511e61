"""Sums over pixels, from which means and deviations of a data set are made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._kernels.channel_sums import add_channel_sums


def channel_sums(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Sum the pixels of an image and their squares, channel by channel.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)

    Returns
    -------
    ndarray of int64, shape (2, 3)
        Sums of the values 0..255 and of their squares: exact, so sums of many images do not depend
        on their order.

    Raises
    ------
    ValueError
        If it is not such an image.

    Examples
    --------
    >>> channel_sums(np.full((2, 2, 3), 10, np.uint8)).tolist()
    [[40, 40, 40], [400, 400, 400]]
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected uint8 (H, W, 3), got {image.dtype} of shape {image.shape}")
    sums = np.zeros((2, 3), np.int64)
    add_channel_sums(np.ascontiguousarray(image).reshape(-1), sums)
    return sums
