"""Mean and standard deviation of a data set's pixels, for ``Normalize``.

Sums of bytes and of their squares are integers, so they are exact, and so is what they add up to,
in any order. Rounding happens once, at the end. Welford's method, which is the answer to rounding
in floating point sums, rounds at each of its steps and depends on their order; here there is
nothing for it to repair.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from slipstream_cache import Payloads, SampleReader
from slipstream_decoders import (
    BatchContext,
    EncodedBatch,
    channel_sums,
    decode_images,
    default_num_threads,
)
from slipstream_loader.encoded import encoded
from slipstream_loader.errors import LoaderError
from slipstream_loader.prepare import open_samples
from slipstream_loader.progress import progress_bar
from slipstream_loader.stored_source import StoredSource
from slipstream_loader.yuv420 import ImageFormat, write_yuv420

_PIXELS_PER_THREAD = 1 << 22
"""Pixels that are decoded at once, for each thread: 12 MiB."""


@dataclass(frozen=True)
class ChannelSums:
    """What the statistics of a set of images are made of: exact, and added in any order."""

    num_pixels: int = 0
    values: tuple[int, ...] = (0, 0, 0)
    """Sum of the bytes of each channel."""
    squares: tuple[int, ...] = (0, 0, 0)
    """Sum of their squares."""

    def plus(self, num_pixels: int, sums: NDArray[np.int64]) -> ChannelSums:
        """With more pixels, whose sums have shape (2, 3)."""
        values, squares = sums.tolist()
        return ChannelSums(
            self.num_pixels + num_pixels,
            tuple(map(int.__add__, self.values, values)),
            tuple(map(int.__add__, self.squares, squares)),
        )

    def stats(self) -> dict[str, tuple[float, float, float]]:
        """Mean and standard deviation (of the population) of pixels in [0, 1]."""
        num = self.num_pixels
        # the variance times num**2 is an integer: the difference cancels nothing
        variances = [num * q - v * v for v, q in zip(self.values, self.squares, strict=True)]
        red, green, blue = (v / (255 * num) for v in self.values)
        deviations = [math.sqrt(variance) / (255 * num) for variance in variances]
        return {
            "mean": (red, green, blue),
            "std": (deviations[0], deviations[1], deviations[2]),
        }


def compute_normalization_stats(
    cache: Any,
    image_field: str = "image",
    image_format: ImageFormat = "jpeg",
    num_samples: int | None = None,
    batch_size: int = 256,
    num_threads: int | None = None,
    verbose: bool = True,
) -> dict[str, tuple[float, float, float]]:
    """Mean and standard deviation of each channel, over all pixels of whole images.

    Parameters
    ----------
    cache : SampleReader, SlipstreamLoader, SlipstreamDataset, path or whatever a data set takes
        A data set's cache is built if there is none.
    image_field : str
    image_format : {"jpeg", "yuv420"}
        "jpeg": the images as they are stored, with Pillow's pixels. "yuv420": their planes, which
        are made if the cache has none; each chroma sample counts for its 2 x 2 pixels.
    num_samples : int, optional
        Only the first so many samples; default: all.
    batch_size : int
        Samples that are looked up at once.
    num_threads : int, optional
        Default: the CPUs of this process.
    verbose : bool
        Whether progress is shown (on a terminal or in a notebook only).

    Returns
    -------
    dict
        ``mean`` and ``std``: three floats each, R, G, B, for pixels in [0, 1]. They are equal to
        the bit for any ``num_threads`` and ``batch_size``.

    Raises
    ------
    CorruptImageError, UnsupportedImageError
        With the ids of samples that cannot be decoded.
    LoaderError
        If there are no samples.
    FieldNotFoundError
        If there is no such image field.
    ValueError
        If an argument is wrong.
    """
    if image_format not in get_args(ImageFormat):
        raise ValueError(f"image_format must be 'jpeg' or 'yuv420', got {image_format!r}")
    for name, value in (("num_samples", num_samples), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be positive, got {value}")
    opened = _cache_of(cache, verbose)
    total = min(len(opened), len(opened) if num_samples is None else num_samples)
    if total == 0:
        raise LoaderError("there are no samples to take the statistics of")
    payloads: Callable[[NDArray[np.int64]], Payloads] = partial(opened.payloads, image_field)
    if image_format == "yuv420":
        payloads = write_yuv420(opened, image_field, verbose=verbose).payloads
    sums = ChannelSums()
    with progress_bar(total, "channel statistics", verbose=verbose) as bar:
        for begin in range(0, total, batch_size):
            ids = np.arange(begin, min(begin + batch_size, total))
            batch = encoded(payloads(ids))
            for rows in _groups(batch, num_threads):
                sums = _add_images(sums, batch.take(rows), ids[rows], num_threads)
                bar.update(rows.stop - rows.start)
    return sums.stats()


def _cache_of(source: Any, verbose: bool) -> SampleReader:
    """The cache or view itself, that of a loader, or that of a data set."""
    held = source if isinstance(source, SampleReader) else getattr(source, "cache", None)
    if isinstance(held, SampleReader):
        return held
    is_set = hasattr(source, "cache_path") and hasattr(source, "storage_options")
    return open_samples(source if is_set else StoredSource.open(source), verbose=verbose)


def _groups(batch: EncodedBatch, num_threads: int | None) -> Iterator[slice]:
    """Rows that are decoded at once: as many pixels as are allowed, but at least one image."""
    allowed = _PIXELS_PER_THREAD * (num_threads or default_num_threads())
    pixels = batch.heights.astype(np.int64) * batch.widths
    begin = taken = 0
    for row, count in enumerate(pixels.tolist()):
        if row > begin and taken + count > allowed:
            yield slice(begin, row)
            begin, taken = row, 0
        taken += count
    yield slice(begin, len(batch))


def _add_images(
    sums: ChannelSums, batch: EncodedBatch, ids: NDArray[np.int64], num_threads: int | None
) -> ChannelSums:
    context = BatchContext(sample_ids=ids, seed=0, num_threads=num_threads)
    images = decode_images(batch, context)
    parts = np.zeros((len(images), 2, 3), np.int64)

    def add(begin: int, end: int) -> None:
        for row in range(begin, end):
            parts[row] = channel_sums(images[row])

    context.threads.run(add, len(images))
    num_pixels = sum(image.shape[0] * image.shape[1] for image in images)
    return sums.plus(num_pixels, parts.sum(axis=0))
