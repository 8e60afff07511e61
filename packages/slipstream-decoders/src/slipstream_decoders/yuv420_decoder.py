"""Whole images out of planes: for stages, and for code that holds payloads in arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slipstream_decoders.batch import CODEC_YUV420, EncodedBatch
from slipstream_decoders.context import BatchContext
from slipstream_decoders.engines.base import MAX_PIXELS
from slipstream_decoders.yuv420 import (
    yuv420_planes,
    yuv420_size,
    yuv420_to_rgb,
    yuv420_to_yuv,
)
from slipstream_decoders.yuv420_encoding import as_yuv420

_Image = TypeVar("_Image")
_Planes = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


def convert_yuv420(
    batch: EncodedBatch,
    context: BatchContext,
    convert: Callable[[NDArray[np.uint8], int, int], _Image],
) -> list[_Image]:
    """Apply a function to the payload of each image; other codecs are brought to planes first.

    Parameters
    ----------
    batch : EncodedBatch
    context : BatchContext
    convert : callable
        ``convert(payload, height, width)``, called from several threads. The payload is read-only
        and lives no longer than the call.

    Returns
    -------
    list
        What it returned for each image; where an image failed and the context notes failures, for
        zeros in its size, or one pixel of them if it has none that can be.

    Raises
    ------
    CorruptImageError, UnsupportedImageError
        With the ids of all samples that failed.
    """
    encoded = as_yuv420(batch, context)
    images: list[Any] = [None] * len(encoded)

    def run(begin: int, end: int) -> None:
        for row in range(begin, end):
            images[row] = convert(*_payload(encoded, row))

    context.threads.run(run, len(encoded))
    return images


def _payload(encoded: EncodedBatch, row: int) -> tuple[NDArray[np.uint8], int, int]:
    height, width = int(encoded.heights[row]), int(encoded.widths[row])
    if encoded.codecs[row] == CODEC_YUV420:
        return np.frombuffer(encoded.payload(row), np.uint8), height, width
    if not 0 < height * width <= MAX_PIXELS:  # a hostile header must not exhaust the memory
        height, width = 1, 1
    return np.zeros(yuv420_size(height, width), np.uint8), height, width


def copied_planes(payload: NDArray[np.uint8], height: int, width: int) -> _Planes:
    """The planes of a payload as ``yuv420_planes`` gives them, in memory of their own."""
    return yuv420_planes(payload.copy(), height, width)


class YUV420NumbaBatchDecoder:
    """Decodes planar YUV420 payloads that lie in arrays.

    Parameters
    ----------
    num_threads : int
        0: as many as the process may use.

    Notes
    -----
    The threads are the process's own, so there is nothing to shut down.
    """

    def __init__(self, num_threads: int = 0) -> None:
        self.num_threads = num_threads

    def decode_batch(
        self, data: ArrayLike, sizes: ArrayLike, heights: ArrayLike, widths: ArrayLike
    ) -> list[NDArray[np.uint8]]:
        """Decode to RGB: BT.601 full range, rounded to nearest, each chroma sample repeated.

        Parameters
        ----------
        data : array of uint8
            Payloads one after another, or one padded payload a row (shape (B, longest)).
        sizes, heights, widths : array of int, shape (B,)

        Returns
        -------
        list of ndarray of uint8, shape (height, width, 3)
            New memory.

        Raises
        ------
        CorruptImageError
            With the rows whose size does not fit their image.
        ValueError
            If a payload would lie outside ``data`` or the shapes differ.
        """
        return self._convert(data, sizes, heights, widths, yuv420_to_rgb)

    def decode_batch_yuv_fullres(
        self, data: ArrayLike, sizes: ArrayLike, heights: ArrayLike, widths: ArrayLike
    ) -> list[NDArray[np.uint8]]:
        """The same with pixels Y, U, V."""
        return self._convert(data, sizes, heights, widths, yuv420_to_yuv)

    def decode_batch_yuv_planes(
        self, data: ArrayLike, sizes: ArrayLike, heights: ArrayLike, widths: ArrayLike
    ) -> list[_Planes]:
        """The planes Y (height x width), U and V (half of that, rounded up) of each image."""
        return self._convert(data, sizes, heights, widths, copied_planes)

    def shutdown(self) -> None:
        """Nothing: code that was written for decoders with threads of their own calls it."""

    def _convert(
        self,
        data: ArrayLike,
        sizes: ArrayLike,
        heights: ArrayLike,
        widths: ArrayLike,
        convert: Callable[[NDArray[np.uint8], int, int], _Image],
    ) -> list[_Image]:
        codecs = np.full(np.shape(sizes), CODEC_YUV420, np.uint8)
        columns = {"sizes": sizes, "heights": heights, "widths": widths, "codecs": codecs}
        batch = EncodedBatch.from_mapping({"data": data, **columns})
        ids = np.arange(len(batch), dtype=np.int64)
        context = BatchContext(ids, seed=0, num_threads=self.num_threads or None)
        return convert_yuv420(batch, context, convert)
