"""Separable symmetric filters: rows first, into a ring of as many rows as there are taps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel


@kernel
def _outside(index: int, size: int, is_reflected: bool) -> int:
    """Which pixel stands for one that may lie outside of a line."""
    if is_reflected:
        return abs((size - 1) - abs((size - 1) - index))
    return min(max(index, 0), size - 1)


@kernel
def _pad_row(
    row: NDArray[Any], step: int, radius: int, is_reflected: bool, line: NDArray[np.float32]
) -> None:
    """A row of numbers, and at both ends what lies outside of it."""
    middle = line[radius * step : radius * step + row.size]
    for i in range(row.size):
        middle[i] = row[i]
    width = row.size // step
    for number in range(1, radius + 1):
        before = _outside(-number, width, is_reflected) * step
        after = _outside(width - 1 + number, width, is_reflected) * step
        for channel in range(step):
            line[(radius - number) * step + channel] = row[before + channel]
            line[(radius + width - 1 + number) * step + channel] = row[after + channel]


@kernel
def _filter_row(
    line: NDArray[np.float32], step: int, half: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """``half``: the weight of the pixel itself, then those of its neighbours on either side."""
    radius = half.size - 1
    weight = half[0]
    middle = line[radius * step : radius * step + out.size]
    for i in range(out.size):
        out[i] = middle[i] * weight
    for number in range(1, radius + 1):
        weight = half[number]
        before = line[(radius - number) * step : (radius - number) * step + out.size]
        after = line[(radius + number) * step : (radius + number) * step + out.size]
        for i in range(out.size):
            out[i] += (before[i] + after[i]) * weight


@kernel
def _filter_column(
    ring: NDArray[np.float32],
    row: int,
    height: int,
    half: NDArray[np.float32],
    is_reflected: bool,
    out: NDArray[np.float32],
) -> None:
    taps = ring.shape[0]
    weight = half[0]
    middle = ring[row % taps]
    for i in range(out.size):
        out[i] = middle[i] * weight
    for number in range(1, half.size):
        weight = half[number]
        before = ring[_outside(row - number, height, is_reflected) % taps]
        after = ring[_outside(row + number, height, is_reflected) % taps]
        for i in range(out.size):
            out[i] += (before[i] + after[i]) * weight


@kernel
def filter_image(
    source: NDArray[Any],
    half: NDArray[np.float32],
    is_reflected: bool,
    top: Any,
    bias: Any,
    target: NDArray[Any],
    ring: NDArray[np.float32],
    lines: NDArray[np.float32],
) -> bool:
    """Filter rows and columns of an image with the same weights.

    Parameters
    ----------
    source, target : ndarray of uint8 or float32, shape (planes, height, width, step)
        Planes are filtered on their own, and so are the ``step`` channels of their pixels. The two
        may be the same.
    half : ndarray of float32, shape (radius + 1,)
        Weights of a pixel and of its neighbours on either side.
    is_reflected : bool
        Whether borders are reflected (which takes images larger than the radius), or repeated.
    top, bias : float32
        Results are clipped to [0, top] where ``bias`` is not 0, which is then added.
    ring : ndarray of float32, shape (2 * radius + 1, width * step)
        Scratch memory.
    lines : ndarray of float32, shape (2, (width + 2 * radius) * step)
        Scratch memory.

    Returns
    -------
    bool
    """
    planes, height, width, step = source.shape
    radius, length = half.size - 1, width * step
    if (
        source.shape != target.shape
        or radius < 0
        or min(height, width) < 1
        or (is_reflected and radius >= min(height, width))
        or ring.shape != (2 * radius + 1, length)
        or lines.shape[0] != 2
        or lines.shape[1] != (width + 2 * radius) * step
    ):
        return False
    line, out = lines[0], lines[1, :length]
    for plane in range(planes):
        rows = source[plane].reshape((height, length))
        results = target[plane].reshape((height, length))
        made = 0
        for row in range(height):
            while made < min(row + radius + 1, height):
                _pad_row(rows[made], step, radius, is_reflected, line)
                _filter_row(line, step, half, ring[made % ring.shape[0]])
                made += 1
            _filter_column(ring, row, height, half, is_reflected, out)
            result = results[row]
            if bias != 0:
                for i in range(length):
                    result[i] = min(max(out[i], np.float32(0)), top) + bias
            else:
                for i in range(length):
                    result[i] = out[i]
    return True
