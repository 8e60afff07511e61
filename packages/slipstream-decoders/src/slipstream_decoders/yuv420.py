"""Planar YUV420 images: their layout, and conversion from and to interleaved pixels.

A payload holds Y (height x width), then U and V (ceil(height / 2) x ceil(width / 2)), 8 bits a
sample, one row after another. Colours are BT.601 full range, as in JPEG files (JFIF):
R = Y + 1.402 V, G = Y - 0.344136 U - 0.714136 V, B = Y + 1.772 U, with U and V less 128.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._kernels.yuv420 import interleave, pack_rgb

_Size = TypeVar("_Size", int, NDArray[np.int64])


def yuv420_size(height: _Size, width: _Size) -> _Size:
    """Bytes of the payload of an image of this size, or of images of these sizes."""
    return height * width + 2 * ((height + 1) // 2) * ((width + 1) // 2)


def rgb_to_yuv420(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert RGB pixels to a payload, rounded to nearest.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (H, W, 3)
        Any size, also odd ones.

    Returns
    -------
    ndarray of uint8, shape (yuv420_size(H, W),)
        New memory. A chroma sample is that of the mean of its 2 x 2 pixels; at an odd edge the last
        row or column counts twice.

    Raises
    ------
    ValueError
        If the pixels have another dtype or shape.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"expected uint8 of shape (H, W, 3), got {rgb.dtype} of {rgb.shape}")
    source = np.ascontiguousarray(rgb)
    height, width = source.shape[:2]
    payload = np.empty(yuv420_size(height, width), np.uint8)
    pack_rgb(source.ctypes.data, height, width, payload.ctypes.data)
    return payload


def yuv420_planes(
    payload: NDArray[np.uint8], height: int, width: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """The planes Y, U and V of a payload: views of it.

    Parameters
    ----------
    payload : ndarray of uint8, shape (yuv420_size(height, width),)
    height, width : int

    Returns
    -------
    (ndarray, ndarray, ndarray)
        Shapes (height, width) and twice (ceil(height / 2), ceil(width / 2)).

    Raises
    ------
    ValueError
        If the payload has another size.
    """
    _check_size(payload, height, width)
    shape = (height + 1) // 2, (width + 1) // 2
    chroma = payload[height * width :].reshape(2, *shape)
    return payload[: height * width].reshape(height, width), chroma[0], chroma[1]


def yuv420_to_rgb(payload: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Convert a payload to RGB pixels, chroma repeated.

    Parameters
    ----------
    payload : ndarray of uint8, shape (yuv420_size(height, width),)
    height, width : int

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        New memory, rounded to nearest: what libjpeg makes of the same planes without smooth
        ("fancy") upsampling.

    Raises
    ------
    ValueError
        If the payload has another size.
    """
    return _interleaved(payload, height, width, to_rgb=True)


def yuv420_to_yuv(payload: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The pixels Y, U, V of a payload, chroma repeated: (height, width, 3), new memory.

    Parameters and errors are those of ``yuv420_to_rgb``.
    """
    return _interleaved(payload, height, width, to_rgb=False)


def _interleaved(
    payload: NDArray[np.uint8], height: int, width: int, *, to_rgb: bool
) -> NDArray[np.uint8]:
    _check_size(payload, height, width)
    source = np.ascontiguousarray(payload)
    out = np.empty((height, width, 3), np.uint8)
    interleave(source.ctypes.data, height, width, 0, 0, width, height, to_rgb, out.ctypes.data)
    return out


def _check_size(payload: NDArray[np.uint8], height: int, width: int) -> None:
    expected = yuv420_size(height, width)
    if payload.dtype != np.uint8 or payload.shape != (expected,) or min(height, width) < 0:
        raise ValueError(
            f"expected {expected} bytes of uint8 for {height} x {width} pixels, got "
            f"{payload.dtype} of shape {payload.shape}"
        )
