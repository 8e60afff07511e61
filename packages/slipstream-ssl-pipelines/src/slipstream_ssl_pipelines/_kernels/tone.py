"""Changes of tone: those of ``functional.tone``, each number, channel or neighbourhood its own."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
from slipstream_ssl_pipelines._kernels.pixels import BLOCK

_ZERO, _ONE, _FOUR = (np.float32(number) for number in (0, 1, 4))
_THIRTEENTH: Final = np.float32(1 / 13)
_TINY: Final = np.float32(1e-10)


@kernel
def solarize(source: NDArray[Any], threshold: Any, top: Any, target: NDArray[Any]) -> bool:
    """``top - x`` for numbers x that reach the threshold, which have the numbers' type.

    Parameters
    ----------
    source, target : ndarray of uint8 or float32, shape (numbers,)
        They may be the same.
    threshold, top : uint8 or float32

    Returns
    -------
    bool
    """
    if source.size != target.size:
        return False
    line = np.empty(BLOCK, source.dtype)  # what is read does not overlap what is written
    for first in range(0, source.size, BLOCK):
        count = min(BLOCK, source.size - first)
        block, result = source[first : first + count], target[first : first + count]
        for i in range(count):
            line[i] = block[i]
        for i in range(count):
            result[i] = top - line[i] if line[i] >= threshold else line[i]
    return True


@kernel
def mask_bits(source: NDArray[np.uint8], mask: Any, target: NDArray[np.uint8]) -> bool:
    """``x & mask``, uint8."""
    if source.size != target.size:
        return False
    for i in range(source.size):
        target[i] = source[i] & mask
    return True


@kernel
def keep_levels(source: NDArray[np.float32], levels: Any, target: NDArray[np.float32]) -> bool:
    """Floats in [0, 1] cut down to ``levels`` of them, a float32."""
    if source.size != target.size:
        return False
    step, most = _ONE / levels, levels - _ONE
    line = np.empty(BLOCK, np.float32)
    for first in range(0, source.size, BLOCK):
        count = min(BLOCK, source.size - first)
        block, result = source[first : first + count], target[first : first + count]
        for i in range(count):
            line[i] = block[i]
        for i in range(count):
            result[i] = min(np.floor(line[i] * levels), most) * step
    return True


@kernel
def map_channels(source: NDArray[np.uint8], table: NDArray[Any], target: NDArray[Any]) -> bool:
    """``table[channel, x]``; source and target (planes, pixels, step), table (channels, 256)."""
    planes, num, step = source.shape
    if source.shape != target.shape or table.shape != (planes * step, 256):
        return False
    for plane in range(planes):
        for pixel in range(num):
            for channel in range(step):
                value = source[plane, pixel, channel]
                target[plane, pixel, channel] = table[plane + channel, value]
    return True


@kernel
def count_values(source: NDArray[np.uint8], counts: NDArray[np.int64]) -> bool:
    """Histograms of the channels; source (planes, pixels, step), counts (channels, 256)."""
    planes, num, step = source.shape
    if counts.shape != (planes * step, 256):
        return False
    counts[:] = 0
    for plane in range(planes):
        for pixel in range(num):
            for channel in range(step):
                counts[plane + channel, source[plane, pixel, channel]] += 1
    return True


@kernel
def sharpen(
    source: NDArray[Any],
    factor: Any,
    top: Any,
    bias: Any,
    target: NDArray[Any],
    ring: NDArray[np.float32],
) -> bool:
    """Blend with a 3 x 3 smoothing of all but the border: factor 0 is smooth, 1 the image.

    Parameters
    ----------
    source, target : ndarray of uint8 or float32, shape (planes, height, width, step)
        They may be the same.
    factor, top, bias : float32
        Results are clipped to [0, top]; then ``bias`` is added.
    ring : ndarray of float32, shape (5, width * step)
        Scratch memory.

    Returns
    -------
    bool
    """
    planes, height, width, step = source.shape
    length = width * step
    if source.shape != target.shape or ring.shape != (5, length):
        return False
    inner, rest = max(length - 2 * step, 0), _ONE - factor
    sums, out = ring[3], ring[4]
    for plane in range(planes):
        rows = source[plane].reshape((height, length))
        results = target[plane].reshape((height, length))
        for row in range(min(2, height)):
            line = ring[row]
            for i in range(length):
                line[i] = rows[row, i]
        for row in range(height):
            middle = ring[row % 3]
            for i in range(length):
                out[i] = middle[i]
            if 0 < row < height - 1 and height > 2 and width > 2:
                before, after = ring[(row - 1) % 3], ring[(row + 1) % 3]
                block = rows[row + 1]
                for i in range(length):
                    after[i] = block[i]
                for i in range(length):
                    sums[i] = before[i] + middle[i] + after[i]
                left, center, right = sums[:inner], sums[step : step + inner], sums[2 * step :]
                own, smooth = middle[step : step + inner], out[step : step + inner]
                for i in range(inner):
                    box = left[i] + center[i] + right[i] + _FOUR * own[i]
                    smooth[i] = own[i] * factor + box * (_THIRTEENTH * rest)
            result = results[row]
            for i in range(length):
                result[i] = min(max(out[i], _ZERO), top) + bias
    return True


@kernel
def stretch(
    source: NDArray[np.float32], target: NDArray[np.float32], ends: NDArray[np.float32]
) -> bool:
    """Bring each channel to [0, 1], but constant ones; source and target (planes, pixels, step).

    ``ends``: scratch memory, (2, channels, BLOCK).
    """
    planes, num, step = source.shape
    if source.shape != target.shape or ends.shape != (2, planes * step, BLOCK):
        return False
    low, high = ends[0], ends[1]
    low[:], high[:] = np.inf, -np.inf
    for plane in range(planes):
        for first in range(0, num, BLOCK):
            count = min(BLOCK, num - first)
            block = source[plane, first : first + count].reshape(count * step)
            for channel in range(step):
                least, most = low[plane + channel], high[plane + channel]
                for i in range(count):
                    least[i] = min(least[i], block[i * step + channel])
                    most[i] = max(most[i], block[i * step + channel])
    for plane in range(planes):
        for channel in range(step):
            bottom, top = low[plane + channel].min(), high[plane + channel].max()
            is_flat = top <= bottom
            start = _ZERO if is_flat else bottom
            gain = _ONE if is_flat else _ONE / max(top - bottom, _TINY)
            for i in range(num):
                value = (source[plane, i, channel] - start) * gain
                target[plane, i, channel] = min(max(value, _ZERO), _ONE)
    return True
