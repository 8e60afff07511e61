"""``CropJob`` and ``Engine``: the boundary between a batch and an engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._kernels.crops import Crops
from slipstream_decoders.batch import EncodedBatch

Quality = Literal["exact", "fast"]
"""``exact``: equal to Pillow's decode, crop and resize. ``fast``: planes are resized, colour is
converted at the output size. What nvImageCodec decodes is its own in both."""

Colors = Literal["rgb", "yuv"]
"""``yuv``: Y, U and V, which payloads of planes alone can give."""

MAX_PIXELS = 1 << 29
"""Images of more pixels are refused: a hostile header must not exhaust the memory."""

SCRATCH_KEPT_BYTES = 64 << 20
"""A thread's scratch memory above this is given back after the image that needed it."""


@dataclass
class CropJob:
    """Crop and resize the images of a batch; each row is written by one thread."""

    batch: EncodedBatch
    crops: Crops
    """One or more crops of each image, on the images as stored. Whoever makes the job keeps the
    outputs alive."""
    quality: Quality
    statuses: NDArray[np.int32]
    """Shape (B,): ``DecodeStatus``."""
    reasons: dict[int, str] = field(default_factory=dict)
    """Row -> an engine's own words about a failure."""
    colors: Colors = "rgb"


class Engine(Protocol):
    """Decodes one or more codecs. Thread-safe: scratch memory belongs to the calling thread."""

    name: str

    def crop(self, job: CropJob, rows: NDArray[np.int64]) -> None:
        """Write the outputs and ``job.statuses`` of ``rows``, in the calling thread.

        Each image is decoded once, however many crops there are of it.
        """

    def whole(self, batch: EncodedBatch, row: int, out: NDArray[np.uint8]) -> tuple[int, str]:
        """Decode one image whole into ``out`` (height, width, 3); its status and reason."""


class Scratch:
    """Memory of one thread's decoding: it grows to what the largest image needs."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[np.uint8]] = {}

    def get(self, name: str, num_bytes: int) -> NDArray[np.uint8]:
        """An uninitialised array of at least ``num_bytes``, the same one while it is enough."""
        array = self._arrays.get(name)
        if array is None or array.nbytes < num_bytes:
            array = self._arrays[name] = np.empty(num_bytes, np.uint8)
        return array

    def shrink(self) -> None:
        """Give back what an outlier needed."""
        for name in [n for n, a in self._arrays.items() if a.nbytes > SCRATCH_KEPT_BYTES]:
            del self._arrays[name]
