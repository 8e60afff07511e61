"""Random crop boxes without rejection.

Notation of docs/explanation/direct-random-resized-crop.md: t is the log of the aspect ratio, s the
area as a fraction of the image's. A crop fits where s is at most ``rise * exp(t)`` (its height) and
at most ``fall * exp(-t)`` (its width); both are 1 and a little more at the image's own aspect.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
from slipstream_decoders._kernels.boxes import largest_crop, random_place
from slipstream_decoders._kernels.philox import block, unit

_SMALL = 0.02  # below it the series of ``ramp_mass`` is exact to the last bit
_HALLEY_STEPS = 2  # they leave a relative error of 2e-12


class Law(NamedTuple):
    """Of a batch: what all its draws share."""

    smallest: float
    """Area, as a fraction of the image's."""
    largest: float
    log_smallest: float
    climb: float
    """Log of largest over smallest area: how far the density of t climbs."""
    level: float
    """Length of the area's interval where every area fits, over the smallest area."""
    climb_mass: float
    """``ramp_mass`` of ``climb``."""
    log_low: float
    """Log of the smallest aspect ratio."""
    log_high: float


@kernel
def ramp_mass(x: Any) -> Any:
    """The integral of ``exp(x) - 1`` from 0 to x, for x >= 0."""
    if x < _SMALL:
        return x * x * (0.5 + x * (1 / 6 + x * (1 / 24 + x * (1 / 120 + x * (1 / 720 + x / 5040)))))
    return math.expm1(x) - x


@kernel
def ramp_quantile(mass: Any) -> Any:
    """The x >= 0 whose ``ramp_mass`` is ``mass``, by Halley's method.

    The start is right to first order for small and for large masses.
    """
    if mass <= 0.0:
        return 0.0
    x = math.log1p(mass + math.sqrt(2.0 * mass))
    for _ in range(_HALLEY_STEPS):
        slope = math.expm1(x)
        excess = (ramp_mass(x) if x < _SMALL else slope - x) - mass
        step = excess / slope
        x -= step / (1.0 - 0.5 * step * (slope + 1.0) / slope)
    return x


@kernel
def law_of(numbers: NDArray[np.float64]) -> Any:
    """From smallest and largest area fraction, smallest and largest aspect ratio."""
    climb = math.log(numbers[1] / numbers[0])
    return Law(
        numbers[0],
        numbers[1],
        math.log(numbers[0]),
        climb,
        math.expm1(climb),
        ramp_mass(climb),
        math.log(numbers[2]),
        math.log(numbers[3]),
    )


@kernel
def draw_log_aspect(u: Any, law: Any, start: Any, end: Any, low: Any, high: Any) -> Any:
    """The u-quantile of t on [low, high]; its density is the length of s's interval at t.

    The density, over the smallest area, rises as ``exp(t - start) - 1``, stays at ``law.level`` and
    falls as ``exp(end - t) - 1``.
    """
    top_begin = min(max(start + law.climb, low), high)
    top_end = min(max(end - law.climb, low), high)
    before = after = rising = falling = 0.0
    if low < top_begin:
        before = ramp_mass(low - start)
        whole = ramp_mass(high - start) if top_begin == high else law.climb_mass
        rising = whole - before
    if top_end < high:
        after = ramp_mass(end - high)
        whole = ramp_mass(end - low) if top_end == low else law.climb_mass
        falling = whole - after
    level = law.level * (top_end - top_begin)
    mass = u * (rising + level + falling)
    if mass < rising:
        t = start + ramp_quantile(before + mass)
    elif mass < rising + level:
        t = top_begin + (mass - rising) / law.level
    elif falling > 0.0:
        t = end - ramp_quantile(after + falling - (mass - rising - level))
    else:  # one area or one aspect: in the limit, uniform
        t = low + u * (high - low)
    return min(max(t, low), high)


@kernel
def direct_random_resized(
    key: Any, sample_id: Any, occurrence: Any, height: Any, width: Any, law: Any
) -> Any:
    """Width and height of one crop; (0, 0) if none fits. Block 0 is used."""
    pixels = np.float64(height) * np.float64(width)
    rise = (height + 0.5) * (height + 0.5) / pixels
    fall = (width + 0.5) * (width + 0.5) / pixels
    start = law.log_smallest - math.log(rise)
    end = math.log(fall) - law.log_smallest
    low = max(law.log_low, start)
    high = min(law.log_high, end)
    if low > high:
        return np.int64(0), np.int64(0)
    w0, w1, w2, w3 = block(key, sample_id, occurrence, 0)
    aspect = math.exp(draw_log_aspect(unit(w2, w3), law, start, end, low, high))
    largest = min(law.largest, rise * aspect, fall / aspect)
    area = pixels * (law.smallest + max(largest - law.smallest, 0.0) * unit(w0, w1))
    w = np.int64(np.rint(math.sqrt(area * aspect)))
    h = np.int64(np.rint(math.sqrt(area / aspect)))
    return min(max(w, np.int64(1)), width), min(max(h, np.int64(1)), height)


@kernel
def fill_direct_random_resized(
    key: Any,
    sample_ids: NDArray[np.int64],
    occurrences: NDArray[np.int64],
    heights: NDArray[np.int32],
    widths: NDArray[np.int32],
    numbers: NDArray[np.float64],
    out: NDArray[np.int32],
) -> None:
    """Fill ``out`` (B, 4) with the boxes of a batch; images of size 0 keep theirs.

    The size uses block 0 of a sample's stream, the place block 1. ``numbers``: see ``law_of``.
    """
    law = law_of(numbers)
    for row in range(out.shape[0]):
        height, width = np.int64(heights[row]), np.int64(widths[row])
        if height > 0 and width > 0:
            sample_id, occurrence = sample_ids[row], occurrences[row]
            w, h = direct_random_resized(key, sample_id, occurrence, height, width, law)
            if w == 0:
                w, h = largest_crop(height, width, numbers)
            x, y = random_place(key, sample_id, occurrence, 1, width - w, height - h)
            out[row, 0] = x
            out[row, 1] = y
            out[row, 2] = w
            out[row, 3] = h
