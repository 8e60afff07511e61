"""Sums of pixels and of their squares, channel by channel, in integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel

_LANES = 768  # independent sums; a multiple of 3 channels and of any vector's length
_ROUNDS = 65_536  # squares of bytes that fit a 32-bit sum: 65536 * 255**2 < 2**32


@kernel
def add_channel_sums(pixels: NDArray[Any], sums: NDArray[Any]) -> bool:
    """Add the sums over an image's pixels to ``sums``.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (values,)
        Interleaved, three channels.
    sums : ndarray of int64, shape (2, 3)
        Of the values and of their squares.

    Returns
    -------
    bool
        False, and nothing is done, if the shapes are wrong.
    """
    if pixels.size % 3 != 0 or sums.shape != (2, 3):
        return False
    first = np.zeros(_LANES, np.uint32)
    second = np.zeros(_LANES, np.uint32)
    num_tiles = pixels.size // _LANES
    for begin in range(0, num_tiles, _ROUNDS):
        for tile in range(begin, min(begin + _ROUNDS, num_tiles)):
            values = pixels[tile * _LANES : (tile + 1) * _LANES]
            for lane in range(_LANES):
                value = np.uint32(values[lane])
                first[lane] += value
                second[lane] += value * value
        for lane in range(_LANES):
            sums[0, lane % 3] += first[lane]
            sums[1, lane % 3] += second[lane]
            first[lane] = second[lane] = 0
    for position in range(num_tiles * _LANES, pixels.size):
        rest = np.int64(pixels[position])
        sums[0, position % 3] += rest
        sums[1, position % 3] += rest * rest
    return True
