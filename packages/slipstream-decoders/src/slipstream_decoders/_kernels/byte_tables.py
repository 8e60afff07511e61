"""Bytes -> whatever a table says, channel by channel.

A byte has 256 values, so a table of what becomes of each is exact for any conversion: the numbers
are made once in double precision and only looked up here. Values are integers of the output's
width, which makes one kernel for every kind of float.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from slipstream_decoders._jit import kernel


@kernel
def map_bytes(source: NDArray[Any], table: NDArray[Any], out: NDArray[Any]) -> bool:
    """``out[pixel, channel] = table[channel, source[pixel, channel]]``.

    Parameters
    ----------
    source : ndarray of uint8, shape (pixels, channels)
    table : ndarray, shape (channels, 256)
    out : ndarray of the table's dtype, shape (pixels, channels)

    Returns
    -------
    bool
        False, and nothing is done, if the shapes do not fit together.
    """
    channels = source.shape[1]
    if out.shape != source.shape or table.shape[0] != channels or table.shape[1] != 256:
        return False
    if channels == 3:
        for pixel in range(source.shape[0]):
            out[pixel, 0] = table[0, source[pixel, 0]]
            out[pixel, 1] = table[1, source[pixel, 1]]
            out[pixel, 2] = table[2, source[pixel, 2]]
    else:
        for pixel in range(source.shape[0]):
            for channel in range(channels):
                out[pixel, channel] = table[channel, source[pixel, channel]]
    return True
