"""Left and right change places."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.simd.memory import read_i32, write_i32
from slipstream_ssl_pipelines._kernels.pixels import Grid, is_grid_of


@kernel
def _mirror_rgb(source: NDArray[np.uint8], width: int, target: NDArray[np.uint8]) -> None:
    """One row of pixels of three bytes, four bytes at a time: the next pixel mends the fourth.

    The last pixel of the row is read, and its first one written, as bytes.
    """
    of, to = source.ctypes.data, target.ctypes.data
    last = 3 * (width - 1)
    target[0], target[1], target[2] = source[last], source[last + 1], source[last + 2]
    for pixel in range(1, width - 1):
        write_i32(to + 3 * pixel, read_i32(of + last - 3 * pixel))
    target[last], target[last + 1], target[last + 2] = source[0], source[1], source[2]


@kernel
def mirror(source: NDArray[np.uint8], grid: Grid, target: NDArray[np.uint8]) -> bool:
    """Write the pixels of each row in the opposite order.

    Parameters
    ----------
    source, target : ndarray of uint8, shape (channels * height * width,)
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
            _mirror_rgb(row, grid.width, result)
        else:
            for pixel in range(grid.width):
                for channel in range(grid.step):
                    to = (grid.width - 1 - pixel) * grid.step + channel
                    result[to] = row[pixel * grid.step + channel]
    return True
