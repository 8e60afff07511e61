"""Random crop boxes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.philox import block, unit

_TRIES = 10


@kernel
def first_fit(
    key: Any, sample_id: Any, occurrence: Any, height: Any, width: Any, law: NDArray[np.float64]
) -> Any:
    """Width and height of the first of ten tries that fits the image; 0, 0 if none does.

    ``law``: smallest and largest area fraction, smallest and largest aspect ratio.
    """
    log_low = math.log(law[2])
    log_high = math.log(law[3])
    for number in range(_TRIES):
        w0, w1, w2, w3 = block(key, sample_id, occurrence, number)
        area = height * width * (law[0] + (law[1] - law[0]) * unit(w0, w1))
        aspect = math.exp(log_low + (log_high - log_low) * unit(w2, w3))
        w = np.int64(np.rint(math.sqrt(area * aspect)))
        h = np.int64(np.rint(math.sqrt(area / aspect)))
        if 0 < w <= width and 0 < h <= height:
            return w, h
    return np.int64(0), np.int64(0)


@kernel
def largest_crop(height: Any, width: Any, law: NDArray[np.float64]) -> Any:
    """Width and height of the largest crop whose aspect ratio is within the law's."""
    w = np.int64(width)
    h = np.int64(height)
    if width < law[2] * height:
        h = min(h, max(np.int64(1), np.int64(np.rint(width / law[2]))))
    elif width > law[3] * height:
        w = min(w, max(np.int64(1), np.int64(np.rint(height * law[3]))))
    return w, h


@kernel
def random_place(
    key: Any, sample_id: Any, occurrence: Any, number: Any, space_x: Any, space_y: Any
) -> Any:
    """A corner (x, y), uniform over 0 <= x <= space_x and 0 <= y <= space_y; uses one block."""
    w0, w1, w2, w3 = block(key, sample_id, occurrence, number)
    return np.int64(unit(w0, w1) * (space_x + 1)), np.int64(unit(w2, w3) * (space_y + 1))


@kernel
def random_resized(
    key: Any, sample_id: Any, occurrence: Any, height: Any, width: Any, law: NDArray[np.float64]
) -> Any:
    """One box (x, y, width, height) by torchvision's law: block n for try n, 10 for the place."""
    w, h = first_fit(key, sample_id, occurrence, height, width, law)
    if w > 0:
        x, y = random_place(key, sample_id, occurrence, _TRIES, width - w, height - h)
        return x, y, w, h
    w, h = largest_crop(height, width, law)
    return (width - w) // 2, (height - h) // 2, w, h


@kernel
def count_fallbacks(
    key: Any, heights: NDArray[np.int32], widths: NDArray[np.int32], law: NDArray[np.float64]
) -> Any:
    """How many of the images get torchvision's fallback, one draw an image."""
    count = 0
    for row in range(heights.size):
        sides = first_fit(key, row, 0, np.int64(heights[row]), np.int64(widths[row]), law)
        count += sides[0] == 0
    return count


@kernel
def fill_random_resized(
    key: Any,
    sample_ids: NDArray[np.int64],
    occurrences: NDArray[np.int64],
    heights: NDArray[np.int32],
    widths: NDArray[np.int32],
    law: NDArray[np.float64],
    out: NDArray[np.int32],
) -> None:
    """Fill ``out`` (B, 4) with the boxes of a batch; images of size 0 keep theirs."""
    for row in range(out.shape[0]):
        if heights[row] > 0 and widths[row] > 0:
            x, y, w, h = random_resized(
                key,
                sample_ids[row],
                occurrences[row],
                np.int64(heights[row]),
                np.int64(widths[row]),
                law,
            )
            out[row, 0] = x
            out[row, 1] = y
            out[row, 2] = w
            out[row, 3] = h
