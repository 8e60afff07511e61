"""Resampling through an affine map from output pixels to input pixels; zeros from outside."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
from slipstream_ssl_pipelines._kernels.pixels import Grid, is_grid_of


@kernel
def _fits(
    source: NDArray[Any], grid: Grid, matrix: NDArray[np.float64], target: NDArray[Any]
) -> bool:
    is_finite = bool(np.isfinite(matrix).all())
    return is_grid_of(source, grid, target) and matrix.shape == (2, 3) and is_finite


@kernel
def _span(start: float, slope: float, low: float, high: float, num: int) -> tuple[int, int]:
    """Where ``low <= start + slope * n <= high`` may hold for n in [0, num): first, last + 1.

    Up to one more on either side.
    """
    first, last = 0.0, 1.0 * num
    if slope > 0:
        first, last = (low - start) / slope, (high - start) / slope + 1
    elif slope < 0:
        first, last = (high - start) / slope, (low - start) / slope + 1
    elif not low <= start <= high:
        last = 0.0
    begin = np.int64(math.floor(min(max(first, 0.0), 1.0 * num)))
    return begin, max(begin, np.int64(math.ceil(min(max(last, 0.0), 1.0 * num))))


@kernel
def _row_of_map(
    matrix: NDArray[np.float64], row: int, height: int, width: int, margin: float
) -> tuple[float, float, int, int]:
    """Input x, y of the row's first pixel, and which of its pixels may come from the input.

    ``margin``: how far outside of it they may come from, pixels.
    """
    center_x, center_y = (width - 1) / 2, (height - 1) / 2
    y = row - center_y
    start_x = matrix[0, 1] * y + matrix[0, 2] - matrix[0, 0] * center_x + center_x
    start_y = matrix[1, 1] * y + matrix[1, 2] - matrix[1, 0] * center_x + center_y
    begin, end = _span(start_x, matrix[0, 0], -margin, width - 1 + margin, width)
    begin_y, end_y = _span(start_y, matrix[1, 0], -margin, height - 1 + margin, width)
    begin = max(begin, begin_y)
    return start_x, start_y, begin, max(begin, min(end, end_y))


@kernel
def warp_nearest(
    source: NDArray[Any], grid: Grid, matrix: NDArray[np.float64], target: NDArray[Any]
) -> bool:
    """The nearest input pixel of each output pixel.

    Parameters
    ----------
    source, target : ndarray of uint8 or float32, shape (channels * height * width,)
        They do not overlap.
    grid : Grid
    matrix : ndarray of float64, shape (2, 3)
        From output to input positions: x, y in pixels from the image's centre.

    Returns
    -------
    bool
    """
    if not _fits(source, grid, matrix, target):
        return False
    target[:] = 0
    height, width, step, hop = grid.height, grid.width, grid.step, grid.hop
    for row in range(height):
        start_x, start_y, begin, end = _row_of_map(matrix, row, height, width, 0.5)
        for column in range(begin, end):
            x = np.int64(np.rint(start_x + matrix[0, 0] * column))
            y = np.int64(np.rint(start_y + matrix[1, 0] * column))
            if 0 <= x < width and 0 <= y < height:
                of, to = np.uint64((y * width + x) * step), np.uint64((row * width + column) * step)
                for _ in range(grid.channels):
                    target[to] = source[of]
                    of, to = of + np.uint64(hop), to + np.uint64(hop)
    return True


@kernel
def _blend(
    source: NDArray[Any],
    pixel: Any,
    right: Any,
    down: Any,
    weights: tuple[Any, Any, Any, Any],
) -> Any:
    """Four numbers of one channel, weighed; ``right`` and ``down`` lead to the neighbours."""
    left, beside, upper, lower = weights
    top = source[pixel] * left + source[pixel + right] * beside
    bottom = source[pixel + down] * left + source[pixel + down + right] * beside
    return top * upper + bottom * lower


@kernel
def warp_bilinear(
    source: NDArray[Any],
    grid: Grid,
    matrix: NDArray[np.float64],
    bias: Any,
    target: NDArray[Any],
) -> bool:
    """The four nearest input pixels of each output pixel, weighed by their distance.

    Parameters
    ----------
    source, grid, matrix, target
        As for ``warp_nearest``.
    bias : float32
        Added to the results.

    Returns
    -------
    bool
    """
    if not _fits(source, grid, matrix, target):
        return False
    target[:] = 0
    height, width, step = grid.height, grid.width, grid.step
    hop, one = np.uint64(grid.hop), np.float32(1)
    for row in range(height):
        start_x, start_y, begin, end = _row_of_map(matrix, row, height, width, 1.0)
        for column in range(begin, end):
            x = start_x + matrix[0, 0] * column
            y = start_y + matrix[1, 0] * column
            x0, y0 = np.int64(math.floor(x)), np.int64(math.floor(y))
            if not (-1 <= x0 < width and -1 <= y0 < height):
                continue
            # a neighbour outside weighs nothing, and one inside is read in its place
            beside, lower = np.float32(x - x0), np.float32(y - y0)
            left, upper = (one - beside) * np.float32(x0 >= 0), (one - lower) * np.float32(y0 >= 0)
            has_right, has_lower = x0 + 1 < width, y0 + 1 < height
            weights = left, beside * np.float32(has_right), upper, lower * np.float32(has_lower)
            right = np.uint64(step if has_right and x0 >= 0 else 0)
            down = np.uint64(step * width if has_lower and y0 >= 0 else 0)
            of = np.uint64((max(y0, 0) * width + max(x0, 0)) * step)
            to = np.uint64((row * width + column) * step)
            if grid.channels == 3:
                target[to] = _blend(source, of, right, down, weights) + bias
                second, third = of + hop, of + hop + hop
                target[to + hop] = _blend(source, second, right, down, weights) + bias
                target[to + hop + hop] = _blend(source, third, right, down, weights) + bias
            else:
                for _ in range(grid.channels):
                    target[to] = _blend(source, of, right, down, weights) + bias
                    of, to = of + hop, to + hop
    return True
