"""Rows of chroma at luma's resolution, as libjpeg makes them.

Chroma that is 2 times coarser goes through the triangle filter, in one or both directions; other
samplings, and images of at most two chroma samples across, repeat their samples.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.jpeg.parse import HEIGHT, RATIO_X, RATIO_Y, WIDTH
from slipstream_decoders._kernels.simd.chroma import (
    SAMPLES,
    double_across,
    double_both,
    double_down,
)
from slipstream_decoders._kernels.simd.memory import read_u8, write_u8

GUARD: Final = 16
"""Bytes to keep free on either side of a row of chroma: neighbours of the outermost samples."""
ROW_SLACK: Final = 2 * SAMPLES
"""Bytes after a plane that are read, and after a row of results that are written."""


class Chroma(NamedTuple):
    """A part of an image's chroma, and how it is sampled."""

    ratio_y: int
    ratio_x: int
    is_smooth: bool
    """Whether it goes through the triangle filter."""
    height: int
    """Samples of the whole image."""
    width: int
    top: int
    """First sample of the part, in the whole image."""
    left: int
    columns: int
    """Samples of a row of the part; those past the image's width are of no use."""
    pitch: int


@kernel
def is_smooth(header: NDArray[np.int64]) -> bool:
    """Whether libjpeg gives this image's chroma the triangle filter."""
    down, across = header[RATIO_Y], header[RATIO_X]
    return bool(max(down, across) == 2 and (across == 1 or header[WIDTH] > 4))


@kernel
def chroma_of(header: NDArray[np.int64], top: int, left: int, columns: int, pitch: int) -> Chroma:
    """The chroma of a part that begins at a luma pixel and has ``columns`` chroma samples a row."""
    down, across = header[RATIO_Y], header[RATIO_X]
    return Chroma(
        down,
        across,
        is_smooth(header),
        (header[HEIGHT] + down - 1) // down,
        (header[WIDTH] + across - 1) // across,
        top // down,
        left // across,
        columns,
        pitch,
    )


@kernel
def guard_rows(chroma: Chroma, plane: int, rows: int) -> None:
    """Repeat the outermost samples of the image beside them, where the filter looks for more."""
    if not chroma.is_smooth or chroma.ratio_x == 1:
        return
    after = min(chroma.width - chroma.left, chroma.columns)
    for row in range(rows):
        start = plane + row * chroma.pitch
        write_u8(start - 1, read_u8(start))
        write_u8(start + after, read_u8(start + after - 1))


@kernel
def upsample_row(chroma: Chroma, plane: int, x: int, y: int, width: int, target: int) -> int:
    """Chroma of the luma pixels ``x`` .. ``x + width - 1`` of luma row ``y``; its address.

    Parameters
    ----------
    chroma : Chroma
    plane : int
        Address of the part's first sample, after ``guard_rows``.
    x, y, width : int
        Luma pixels of the whole image. The part has their samples, and the neighbours of these.
    target : int
        Room for ``width + ROW_SLACK`` bytes; not used where chroma has luma's resolution.
    """
    column = x // chroma.ratio_x
    row = y // chroma.ratio_y
    source = plane + (row - chroma.top) * chroma.pitch + column - chroma.left
    if chroma.ratio_x * chroma.ratio_y == 1:
        return source
    before = x - column * chroma.ratio_x
    if not chroma.is_smooth:
        for i in range(before + width):
            write_u8(target + i, read_u8(source + i // chroma.ratio_x))
        return target + before
    is_lower = y & 1
    nearer_row = min(max(row + 2 * is_lower - 1, 0), chroma.height - 1)
    nearer = source + (nearer_row - row) * chroma.pitch
    samples = (before + width + chroma.ratio_x - 1) // chroma.ratio_x
    if chroma.ratio_x == 1:
        for i in range(0, samples, SAMPLES):
            double_down(source + i, nearer + i, 1 + is_lower, target + i)
    elif chroma.ratio_y == 1:
        for i in range(0, samples, SAMPLES):
            double_across(source + i, target + 2 * i)
    else:
        for i in range(0, samples, SAMPLES):
            double_both(source + i, nearer + i, target + 2 * i)
    return target + before
