"""Blocks of RGB pixels as lines of float32 that stay in the first cache, and back."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel

BLOCK: Final = 256
"""Pixels of a block: its lines are 3 KiB."""

Lines = NDArray[np.float32]
"""Shape (3 or more, BLOCK): red, green, blue; further ones are scratch memory."""


class Grid(NamedTuple):
    """Where the numbers of an image are in its flat array."""

    channels: int
    height: int
    width: int
    hop: int
    """From one channel of a pixel to the next."""
    step: int
    """From one pixel of a row to the next."""


@kernel
def is_grid_of(source: NDArray[Any], grid: Grid, target: NDArray[Any]) -> bool:
    """Whether two arrays are images of such a grid, which leaves no gaps."""
    num = grid.height * grid.width
    is_planar = grid.hop == num and grid.step == 1
    return (
        min(grid.channels, grid.height, grid.width) > 0
        and source.size == target.size == grid.channels * num
        and (is_planar or (grid.hop == 1 and grid.step == grid.channels))
    )


@kernel
def are_rgb(source: NDArray[Any], target: NDArray[Any], lines: Lines) -> bool:
    """Whether the arrays hold as many RGB pixels, and the lines a block."""
    return (
        source.size == target.size
        and source.size % 3 == 0
        and lines.shape[0] >= 3
        and lines.shape[1] == BLOCK
    )


@kernel
def load_block(
    source: NDArray[Any], is_planar: bool, first: int, count: int, scale: Any, lines: Lines
) -> None:
    """Pixels ``first`` to ``first + count``, times ``scale``, a float32."""
    red, green, blue = lines[0], lines[1], lines[2]
    if is_planar:
        plane = source.size // 3
        reds = source[first : first + count]
        greens = source[plane + first : plane + first + count]
        blues = source[2 * plane + first : 2 * plane + first + count]
        for i in range(count):
            red[i] = reds[i] * scale
            green[i] = greens[i] * scale
            blue[i] = blues[i] * scale
    else:
        pixels = source[3 * first : 3 * (first + count)]
        for i in range(count):
            red[i] = pixels[3 * i] * scale
            green[i] = pixels[3 * i + 1] * scale
            blue[i] = pixels[3 * i + 2] * scale


@kernel
def store_block(
    lines: Lines,
    scale: Any,
    bias: Any,
    is_planar: bool,
    first: int,
    count: int,
    target: NDArray[Any],
) -> None:
    """``value * scale + bias``, float32, in the target's type, which cuts off what it cannot hold.

    The numbers are in the range of that type.
    """
    red, green, blue = lines[0], lines[1], lines[2]
    if is_planar:
        plane = target.size // 3
        reds = target[first : first + count]
        greens = target[plane + first : plane + first + count]
        blues = target[2 * plane + first : 2 * plane + first + count]
        for i in range(count):
            reds[i] = red[i] * scale + bias
            greens[i] = green[i] * scale + bias
            blues[i] = blue[i] * scale + bias
    else:
        pixels = target[3 * first : 3 * (first + count)]
        for i in range(count):
            pixels[3 * i] = red[i] * scale + bias
            pixels[3 * i + 1] = green[i] * scale + bias
            pixels[3 * i + 2] = blue[i] * scale + bias
