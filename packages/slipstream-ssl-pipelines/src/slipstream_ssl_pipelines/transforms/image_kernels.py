"""The operations on one image that are compiled, each the twin of a function in ``functional``."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slipstream_ssl_pipelines._kernels import blur as blur_kernels
from slipstream_ssl_pipelines._kernels import color as color_kernels
from slipstream_ssl_pipelines._kernels import flip as flip_kernels
from slipstream_ssl_pipelines._kernels import tone as tone_kernels
from slipstream_ssl_pipelines._kernels import warp as warp_kernels
from slipstream_ssl_pipelines._kernels.pixels import BLOCK, Grid
from slipstream_ssl_pipelines.errors import ImageBatchError
from slipstream_ssl_pipelines.transforms.compiled import Frame

_NOTHING: Final = 1e-8
"""A weight below this changes no pixel."""

BRIGHTNESS: Final = color_kernels.BRIGHTNESS
CONTRAST: Final = color_kernels.CONTRAST
SATURATION: Final = color_kernels.SATURATION
HUE: Final = color_kernels.HUE


def _require(fits: bool, frame: Frame) -> None:
    """Kernels refuse what does not fit; nothing here should."""
    if not fits:
        raise ImageBatchError(
            f"a kernel refused an image of {frame.channels} x {frame.height} x {frame.width}, "
            f"{frame.source.dtype}, and its parameters"
        )


def _lines(num: int) -> NDArray[np.float32]:
    return np.empty((num, BLOCK), np.float32)


def adjust_colors(frame: Frame, steps: int, factors: NDArray[np.float32]) -> None:
    """Brightness, contrast, saturation and hue: those of ``steps``, with ``factors`` (4,)."""
    fits = color_kernels.adjust_colors(
        frame.source,
        frame.is_planar,
        steps,
        factors,
        *frame.levels,
        frame.target,
        _lines(4),
    )
    _require(fits, frame)


def adjust_one(frame: Frame, step: int, factor: float) -> None:
    """One of the steps of ``adjust_colors``."""
    adjust_colors(frame, step, np.full(4, factor, np.float32))


def mix_colors(frame: Frame, matrix: NDArray[np.float32]) -> None:
    """``matrix @ (pixel, 1)``, clipped; (3, 4)."""
    fits = color_kernels.mix_colors(
        frame.source,
        frame.is_planar,
        matrix,
        *frame.levels,
        frame.target,
        _lines(3),
    )
    _require(fits, frame)


def to_luma(frame: Frame) -> None:
    """In as many channels as the target has."""
    fits = color_kernels.to_luma(
        frame.source, frame.is_planar, frame.levels[2], frame.target, _lines(3)
    )
    _require(fits, frame)


def blur(frame: Frame, weights: NDArray[np.float32]) -> None:
    """Filter rows and columns with the same symmetric weights, (2 * radius + 1,)."""
    source = frame.image(frame.source)
    width, step = source.shape[2:]
    half = np.ascontiguousarray(weights[len(weights) // 2 :])
    is_reflected = len(half) <= min(frame.height, frame.width)
    half = half[: np.flatnonzero(half >= _NOTHING)[-1] + 1]
    radius = len(half) - 1
    fits = blur_kernels.filter_image(
        source,
        half,
        is_reflected,
        *frame.levels[1:],
        frame.image(frame.target),
        np.empty((2 * radius + 1, width * step), np.float32),
        np.empty((2, (width + 2 * radius) * step), np.float32),
    )
    _require(fits, frame)


def solarize(frame: Frame, threshold: float) -> None:
    """Invert numbers that reach a threshold in [0, 1]."""
    if frame.is_bytes:
        limit, top = np.ceil(np.float32(threshold) * np.float32(255)).astype(np.uint8), 255
        fits = tone_kernels.solarize(frame.source, limit, np.uint8(top), frame.target)
    else:
        fits = tone_kernels.solarize(
            frame.source, np.float32(threshold), np.float32(1), frame.target
        )
    _require(fits, frame)


def posterize(frame: Frame, bits: int) -> None:
    """Keep the upper bits of bytes; floats get as many levels."""
    if frame.is_bytes:
        mask = np.uint8((256 - 2 ** (8 - bits)) % 256)
        fits = tone_kernels.mask_bits(frame.source, mask, frame.target)
    else:
        fits = tone_kernels.keep_levels(frame.source, np.float32(2**bits), frame.target)
    _require(fits, frame)


def sharpen(frame: Frame, factor: float) -> None:
    """Blend with a smoothed image: 0 is smooth, 1 the image."""
    source = frame.image(frame.source)
    ring = np.empty((5, source.shape[2] * source.shape[3]), np.float32)
    fits = tone_kernels.sharpen(
        source,
        np.float32(factor),
        frame.levels[1],
        frame.levels[2],
        frame.image(frame.target),
        ring,
    )
    _require(fits, frame)


def warp_nearest(frame: Frame, matrix: NDArray[np.float64]) -> None:
    """Resample through a map (2, 3) from output to input pixels."""
    _require(warp_kernels.warp_nearest(_apart(frame), _grid(frame), matrix, frame.target), frame)


def warp_bilinear(frame: Frame, matrix: NDArray[np.float64]) -> None:
    """The same, from four pixels each."""
    source = frame.source.astype(np.float32)  # bytes would be converted four times
    fits = warp_kernels.warp_bilinear(source, _grid(frame), matrix, frame.levels[2], frame.target)
    _require(fits, frame)


def _apart(frame: Frame) -> NDArray[Any]:
    """The source, in memory of its own."""
    is_shared = frame.source.ctypes.data == frame.target.ctypes.data
    return frame.source.copy() if is_shared else frame.source


def _grid(frame: Frame) -> Grid:
    num = frame.height * frame.width
    hop, step = (num, 1) if frame.is_planar else (1, frame.channels)
    return Grid(frame.channels, frame.height, frame.width, hop, step)


def mirror(frame: Frame) -> None:
    """Left and right change places."""
    _require(flip_kernels.mirror(_apart(frame), _grid(frame), frame.target), frame)


def autocontrast(frame: Frame) -> None:
    """Stretch each channel to [0, 1]; constant ones stay."""
    source, target = _by_pixel(frame, frame.source), _by_pixel(frame, frame.target)
    if not frame.is_bytes:
        ends = np.empty((2, frame.channels, BLOCK), np.float32)
        _require(tone_kernels.stretch(source, target, ends), frame)
        return
    table = np.empty((frame.channels, 256), np.uint8)
    for counts, row in zip(_histograms(frame, source), table, strict=True):
        low, high = np.flatnonzero(counts)[[0, -1]]
        low, gain = (low, 255 / (high - low)) if high > low else (0, 1.0)
        row[:] = np.clip((np.arange(256) - low) * gain + 0.5, 0, 255.5).astype(np.uint8)
    _require(tone_kernels.map_channels(source, table, target), frame)


def equalize(frame: Frame) -> None:
    """Equalise the histogram of each channel: Pillow's rule."""
    source, target = _by_pixel(frame, frame.source), _by_pixel(frame, frame.target)
    if not frame.is_bytes:
        source = (source * np.float32(255.999)).astype(np.uint8)
    counts = _histograms(frame, source)
    table = np.arange(256, dtype=np.uint8) + np.zeros((frame.channels, 1), np.uint8)
    num = frame.height * frame.width
    for row, of_channel in zip(table, counts, strict=True):
        step = (num - of_channel[np.flatnonzero(of_channel)[-1]]) // 255
        if step > 0:
            before = np.cumsum(of_channel) - of_channel
            row[:] = np.clip((before + step // 2) // step, 0, 255).astype(np.uint8)
    if frame.is_bytes:
        _require(tone_kernels.map_channels(source, table, target), frame)
    else:
        floats = table.astype(np.float32) / np.float32(255)
        _require(tone_kernels.map_channels(source, floats, target), frame)


def _by_pixel(frame: Frame, pixels: NDArray[Any]) -> NDArray[Any]:
    """In shape (planes, pixels, channels of a plane)."""
    planes = frame.image(pixels)
    return planes.reshape(planes.shape[0], -1, planes.shape[3])


def _histograms(frame: Frame, source: NDArray[np.uint8]) -> NDArray[np.int64]:
    counts = np.empty((frame.channels, 256), np.int64)
    _require(tone_kernels.count_values(source, counts), frame)
    return counts
