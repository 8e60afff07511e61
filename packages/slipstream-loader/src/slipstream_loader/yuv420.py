"""Images as planar YUV420, which crops take without decoding anything.

They are the derived field ``<field>.yuv420``, 1.5 bytes a pixel, made from the planes that JPEGs
hold. A field that is stored like that needs no other.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slipstream_cache import (
    Codec,
    Condition,
    DerivedNotFoundError,
    DerivedReader,
    FieldSpec,
    ImageFlag,
    Payloads,
    Recipe,
    SampleCache,
    SampleReader,
    derive,
)
from slipstream_cache.layout import IMAGE_SAMPLE_DTYPE
from slipstream_decoders import BufferPool, DecodeStatus, EncodedBatch, build_yuv420
from slipstream_loader.encoded import encoded
from slipstream_loader.found_fields import find_derived
from slipstream_loader.progress import advance_to, progress_bar
from slipstream_loader.sample_runs import runs_of

ImageFormat = Literal["jpeg", "yuv420"]
"""``jpeg``: images as they are stored. ``yuv420``: their planes."""

NAME = "yuv420"

RECIPE = Recipe("yuv420-planes", 1, FieldSpec("image"))

_BUFFERS_KEPT = 8
"""Each holds a run of images that is decoded or waits to be written."""


@dataclass(frozen=True)
class PlanarImages:
    """An image field in planar YUV420."""

    cache: SampleReader
    field: str
    derived: DerivedReader | None
    """None: the field itself is stored so."""

    def __len__(self) -> int:
        return len(self.cache)

    @property
    def num_bytes(self) -> int:
        """What they take on disk beside the stored images; of a view, all of its caches' planes."""
        return 0 if self.derived is None else self.derived.num_bytes

    def payloads(self, ids: ArrayLike) -> Payloads:
        """Return where images are in memory, without copying them.

        An image that cannot be decoded has no bytes, codec UNKNOWN and condition DAMAGED or
        UNREADABLE.
        """
        if self.derived is None:
            return self.cache.payloads(self.field, ids)
        return self.derived.payloads(ids)

    def batch(self, ids: NDArray[np.int64]) -> EncodedBatch:
        """The images of some samples as decoders take them; nothing is copied."""
        return encoded(self.payloads(ids))

    def load_batch(self, ids: ArrayLike) -> dict[str, NDArray[Any]]:
        """Copy images out.

        Parameters
        ----------
        ids : array-like of int, shape (B,)

        Returns
        -------
        dict
            As ``SampleCache.load_batch`` gives an image field: ``data``, ``offsets``, ``sizes``,
            ``heights``, ``widths``, ``codecs``, ``orientations``.
        """
        if self.derived is None:
            found: dict[str, NDArray[Any]] = self.cache.load_batch(ids, [self.field])[self.field]
        else:
            found = self.derived.load(ids)
        return found


def write_yuv420(
    cache: SampleReader,
    field: str = "image",
    *,
    num_workers: int | None = None,
    verbose: bool = True,
) -> PlanarImages:
    """Make the planes of an image field, or find that they are there.

    An interrupted run is resumed. Several processes may do it at once: one works, others wait.

    Parameters
    ----------
    cache : SampleReader
        A view gets them in each of its caches.
    field : str
    num_workers : int, optional
        Threads.
    verbose : bool
        Whether progress is shown (on a terminal or in a notebook only).

    Raises
    ------
    FieldNotFoundError
        If there is no such image field.
    CacheWriteError
        If the cache cannot be written to, or there is no space.
    """
    found = find_yuv420(cache, field)
    if found is not None:
        return found
    planes = partial(_planes, BufferPool(_BUFFERS_KEPT))
    for one in cache.caches:
        with progress_bar(len(one), "yuv420 planes", verbose=verbose) as bar:
            derive(
                one, field, NAME, RECIPE, planes, num_workers=num_workers, progress=advance_to(bar)
            )
    return PlanarImages(cache, field, cache.derived(field, NAME, RECIPE))


def find_yuv420(cache: SampleReader, field: str = "image") -> PlanarImages | None:
    """The planes of an image field, or None.

    Raises
    ------
    FieldNotFoundError
        If there is no such image field.
    """
    if _is_stored_so(cache, field):
        return PlanarImages(cache, field, None)
    found = find_derived(cache, field, NAME, RECIPE)
    return None if found is None else PlanarImages(cache, field, found)


def _is_stored_so(cache: SampleReader, field: str) -> bool:
    """Whether all images that can be decoded are planes as they are stored."""
    for ids in runs_of(len(cache)):
        if not np.isin(cache.payloads(field, ids).codecs, (Codec.YUV420, Codec.UNKNOWN)).all():
            return False
    return True


def _planes(
    buffers: BufferPool, payloads: Payloads
) -> tuple[list[NDArray[np.uint8]], NDArray[Any]]:
    """A run of images in the form in which ``derive`` takes it."""
    images = build_yuv420(encoded(payloads), num_threads=1, buffers=buffers)
    is_sound = images.statuses == DecodeStatus.OK
    rows = np.zeros(len(payloads), IMAGE_SAMPLE_DTYPE)
    rows["size"] = [payload.size for payload in images.payloads]
    rows["height"], rows["width"] = payloads.heights, payloads.widths
    rows["orientation"] = payloads.orientations
    rows["codec"] = np.where(is_sound, Codec.YUV420, Codec.UNKNOWN)
    unsound = np.maximum(payloads.conditions, Condition.DAMAGED)
    rows["condition"] = np.where(is_sound, Condition.SOUND, unsound)
    rows["flags"] = ImageFlag.TRANSCODED
    return images.payloads, rows


def planar_field(image_fields: Sequence[str], chosen: str | None) -> str:
    """The image field of which a loader takes the planes.

    Parameters
    ----------
    image_fields : sequence of str
        Those that are read.
    chosen : str or None
        What the user said.

    Raises
    ------
    ValueError
        If there is no such field, or none was named and there is not exactly one.
    """
    if chosen is None and len(image_fields) == 1:
        return image_fields[0]
    if chosen is None or chosen not in image_fields:
        said = "is not named" if chosen is None else f"{chosen!r} is not one of them"
        raise ValueError(
            f"image_format='yuv420' needs one image field; those that are read are "
            f"{list(image_fields)}, and image_field {said}"
        )
    return chosen


def build_yuv420_cache(
    cache_dir: str | os.PathLike[str], image_field: str = "image", verbose: bool = True
) -> PlanarImages:
    """Make the planes of the images of a cache directory; see `write_yuv420`."""
    return write_yuv420(SampleCache.open(cache_dir), image_field, verbose=verbose)


def load_yuv420_cache(
    cache_dir: str | os.PathLike[str], image_field: str = "image"
) -> PlanarImages:
    """Open the planes of the images of a cache directory.

    Raises
    ------
    DerivedNotFoundError
        If there are none, or they are out of date.
    CacheNotFoundError
        If there is no cache.
    """
    found = find_yuv420(SampleCache.open(cache_dir), image_field)
    if found is None:
        raise DerivedNotFoundError(
            f"{cache_dir} has no planes of {image_field!r}: make them with build_yuv420_cache, "
            "with image_format='yuv420' of a loader, or with slipstream build --derive yuv420"
        )
    return found
