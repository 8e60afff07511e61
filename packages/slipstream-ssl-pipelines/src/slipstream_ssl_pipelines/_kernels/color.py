"""Colour adjustments of RGB pixels: those of ``functional.color``, a block after another."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._jit import kernel
from slipstream_ssl_pipelines._kernels.pixels import (
    BLOCK,
    Lines,
    are_rgb,
    load_block,
    store_block,
)

BRIGHTNESS: Final = 1
"""Step of ``adjust_colors``: multiply by a factor and clip."""
CONTRAST: Final = 2
"""Step of ``adjust_colors``: blend with the mean luma and clip."""
SATURATION: Final = 4
"""Step of ``adjust_colors``: blend with the luma and clip."""
HUE: Final = 8
"""Step of ``adjust_colors``: turn the hue."""

_RED, _GREEN, _BLUE = (np.float32(part) for part in (0.2989, 0.587, 0.114))
_ZERO, _ONE, _FOUR, _SIX = (np.float32(number) for number in (0, 1, 4, 6))
_SIXTH: Final = np.float32(1 / 6)
_TINY: Final = np.float32(1e-10)


@kernel
def _clip(value: Any) -> Any:
    return min(max(value, _ZERO), _ONE)


@kernel
def _scale_lines(lines: Lines, count: int, factor: Any) -> None:
    """``x * factor``, clipped."""
    red, green, blue = lines[0], lines[1], lines[2]
    for i in range(count):
        red[i] = _clip(red[i] * factor)
        green[i] = _clip(green[i] * factor)
        blue[i] = _clip(blue[i] * factor)


@kernel
def _blend_with(lines: Lines, count: int, factor: Any, rest: Any) -> None:
    """``x * factor + rest``, clipped."""
    red, green, blue = lines[0], lines[1], lines[2]
    for i in range(count):
        red[i] = _clip(red[i] * factor + rest)
        green[i] = _clip(green[i] * factor + rest)
        blue[i] = _clip(blue[i] * factor + rest)


@kernel
def _blend_with_luma(lines: Lines, count: int, factor: Any) -> None:
    red, green, blue = lines[0], lines[1], lines[2]
    rest = _ONE - factor
    for i in range(count):
        luma = (red[i] * _RED + green[i] * _GREEN + blue[i] * _BLUE) * rest
        red[i] = _clip(red[i] * factor + luma)
        green[i] = _clip(green[i] * factor + luma)
        blue[i] = _clip(blue[i] * factor + luma)


@kernel
def _channel_at(sixths: Any, high: Any, chroma: Any) -> Any:
    """A channel of a colour, from its distance along the circle of hues in sixths."""
    k = sixths - _SIX * np.floor(sixths * _SIXTH)
    return high - chroma * _clip(min(k, _FOUR - k))


@kernel
def _turn_hue(lines: Lines, count: int, turns: Any) -> None:
    red, green, blue = lines[0], lines[1], lines[2]
    base = _SIX * turns + np.float32(12)
    for i in range(count):
        r, g, b = red[i], green[i], blue[i]
        high = max(max(r, g), b)
        chroma = high - min(min(r, g), b)
        inverse = _ONE / max(chroma, _TINY)
        of_green = (b - r) * inverse + np.float32(2)
        of_blue = (r - g) * inverse + np.float32(4)
        other = of_green if g == high else of_blue
        sixths = ((g - b) * inverse if r == high else other) + base
        red[i] = _channel_at(sixths + np.float32(5), high, chroma)
        green[i] = _channel_at(sixths + np.float32(3), high, chroma)
        blue[i] = _channel_at(sixths + np.float32(1), high, chroma)


@kernel
def _mean_luma(
    source: NDArray[Any], is_planar: bool, scale: Any, steps: int, brightness: Any, lines: Lines
) -> float:
    """Of the image after the step of brightness, if it is one of the steps."""
    sums = lines[3]
    sums[:] = _ZERO
    red, green, blue = lines[0], lines[1], lines[2]
    num = source.size // 3
    for first in range(0, num, BLOCK):
        count = min(BLOCK, num - first)
        load_block(source, is_planar, first, count, scale, lines)
        if steps & BRIGHTNESS:
            _scale_lines(lines, count, brightness)
        for i in range(count):
            sums[i] += red[i] * _RED + green[i] * _GREEN + blue[i] * _BLUE
    total = 0.0
    for i in range(BLOCK):
        total += sums[i]
    return total / max(num, 1)


@kernel
def adjust_colors(
    source: NDArray[Any],
    is_planar: bool,
    steps: int,
    factors: NDArray[np.float32],
    scale: Any,
    top: Any,
    bias: Any,
    target: NDArray[Any],
    lines: Lines,
) -> bool:
    """Brightness, contrast, saturation and hue, in this order.

    Parameters
    ----------
    source, target : ndarray of uint8 or float32, shape (3 * pixels,)
        They may be the same.
    is_planar : bool
    steps : int
        Sum of ``BRIGHTNESS``, ``CONTRAST``, ``SATURATION`` and ``HUE``: which are done.
    factors : ndarray of float32, shape (4,)
        Of brightness, contrast and saturation, and the turns of the hue.
    scale, top, bias : float32
        Pixels times ``scale`` are in [0, 1]; results are those times ``top``, plus ``bias``.
    lines : ndarray of float32, shape (4, BLOCK)

    Returns
    -------
    bool
    """
    if not are_rgb(source, target, lines) or lines.shape[0] < 4 or factors.size != 4:
        return False
    rest = _ZERO
    if steps & CONTRAST:
        mean = _mean_luma(source, is_planar, scale, steps, factors[0], lines)
        rest = (_ONE - factors[1]) * np.float32(mean)
    num = source.size // 3
    for first in range(0, num, BLOCK):
        count = min(BLOCK, num - first)
        load_block(source, is_planar, first, count, scale, lines)
        if steps & BRIGHTNESS:
            _scale_lines(lines, count, factors[0])
        if steps & CONTRAST:
            _blend_with(lines, count, factors[1], rest)
        if steps & SATURATION:
            _blend_with_luma(lines, count, factors[2])
        if steps & HUE:
            _turn_hue(lines, count, factors[3])
        store_block(lines, top, bias, is_planar, first, count, target)
    return True


@kernel
def mix_colors(
    source: NDArray[Any],
    is_planar: bool,
    matrix: NDArray[np.float32],
    scale: Any,
    top: Any,
    bias: Any,
    target: NDArray[Any],
    lines: Lines,
) -> bool:
    """``matrix @ (pixel, 1)``, clipped to [0, 1].

    Parameters
    ----------
    source, target, is_planar, scale, top, bias
        As for ``adjust_colors``.
    matrix : ndarray of float32, shape (3, 4)
    lines : ndarray of float32, shape (3, BLOCK)

    Returns
    -------
    bool
    """
    if not are_rgb(source, target, lines) or matrix.shape != (3, 4):
        return False
    red, green, blue = lines[0], lines[1], lines[2]
    num = source.size // 3
    a, b, c, d = matrix[0, 0], matrix[0, 1], matrix[0, 2], matrix[0, 3]
    e, f, g, h = matrix[1, 0], matrix[1, 1], matrix[1, 2], matrix[1, 3]
    j, k, m, n = matrix[2, 0], matrix[2, 1], matrix[2, 2], matrix[2, 3]
    for first in range(0, num, BLOCK):
        count = min(BLOCK, num - first)
        load_block(source, is_planar, first, count, scale, lines)
        for i in range(count):
            x, y, z = red[i], green[i], blue[i]
            red[i] = _clip(a * x + b * y + c * z + d)
            green[i] = _clip(e * x + f * y + g * z + h)
            blue[i] = _clip(j * x + k * y + m * z + n)
        store_block(lines, top, bias, is_planar, first, count, target)
    return True


@kernel
def to_luma(
    source: NDArray[Any], is_planar: bool, bias: Any, target: NDArray[Any], lines: Lines
) -> bool:
    """The luma of each pixel, once or in each of three channels.

    Parameters
    ----------
    source : ndarray of uint8 or float32, shape (3 * pixels,)
    is_planar : bool
    bias : float32
        Added to the results, which are in the scale of the source.
    target : ndarray of the source's type, shape (pixels,) or (3 * pixels,)
        It may be the source.
    lines : ndarray of float32, shape (3, BLOCK)

    Returns
    -------
    bool
    """
    if not are_rgb(source, source, lines) or target.size not in (source.size, source.size // 3):
        return False
    red, green, blue = lines[0], lines[1], lines[2]
    num = source.size // 3
    for first in range(0, num, BLOCK):
        count = min(BLOCK, num - first)
        load_block(source, is_planar, first, count, _ONE, lines)
        for i in range(count):
            luma = red[i] * _RED + green[i] * _GREEN + blue[i] * _BLUE
            red[i] = luma
            green[i] = luma
            blue[i] = luma
        if target.size == source.size:
            store_block(lines, _ONE, bias, is_planar, first, count, target)
        else:
            for i in range(count):
                target[first + i] = red[i] + bias
    return True
