"""Floats times a number a channel, plus a number a channel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel


@kernel
def scale_channels(
    source: NDArray[np.float32],
    scale: NDArray[np.float32],
    bias: NDArray[np.float32],
    out: NDArray[np.float32],
) -> bool:
    """``out[i] = source[i] * scale[i % period] + bias[i % period]``.

    Parameters
    ----------
    source, out : ndarray of float32, shape (numbers,)
    scale, bias : ndarray of float32, shape (period,)
        Some hundreds of numbers, so that the compiler's vectors fit: the channels' again and again.

    Returns
    -------
    bool
        False, and nothing is done, if the shapes do not fit together.
    """
    period = scale.size
    if out.size != source.size or bias.size != period or period == 0:
        return False
    for first in range(0, source.size, period):
        count = min(period, source.size - first)
        numbers, results = source[first : first + count], out[first : first + count]
        for i in range(count):
            results[i] = numbers[i] * scale[i] + bias[i]
    return True
