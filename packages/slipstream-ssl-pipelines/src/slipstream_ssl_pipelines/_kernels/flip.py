"""Left and right change places."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
from slipstream_ssl_pipelines._kernels.pixels import Grid, is_grid_of


@kernel
def mirror(source: NDArray[Any], grid: Grid, target: NDArray[Any]) -> bool:
    """Write the pixels of each row in the opposite order.

    Parameters
    ----------
    source, target : ndarray, shape (channels * height * width,)
        They do not overlap.
    grid : Grid

    Returns
    -------
    bool
    """
    if not is_grid_of(source, grid, target):
        return False
    length = grid.width * grid.step
    for begin in range(0, source.size, length):
        row, result = source[begin : begin + length], target[begin : begin + length]
        if grid.step == 3:
            last = 3 * (grid.width - 1)
            for pixel in range(grid.width):
                result[last - 3 * pixel] = row[3 * pixel]
                result[last - 3 * pixel + 1] = row[3 * pixel + 1]
                result[last - 3 * pixel + 2] = row[3 * pixel + 2]
        else:
            for pixel in range(grid.width):
                for channel in range(grid.step):
                    to = (grid.width - 1 - pixel) * grid.step + channel
                    result[to] = row[pixel * grid.step + channel]
    return True
