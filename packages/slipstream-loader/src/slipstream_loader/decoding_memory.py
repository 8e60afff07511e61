"""The memory that Pillow takes for an image: told before it is decoded, limited, and in turns.

It is told from format, mode and size, in bytes for each pixel, as measured with Pillow 13: what the
library of the format holds beside the pixels, the pixels, and what converting, shrinking and
storing them copies.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from slipstream_loader.after_fork import restart_now_and_after_fork

_LIBRARY_BYTES: Final = {"WEBP": 12, "AVIF": 8, "JPEG2000": 4, "SGI": 4}
"""By format: the canvases of an animation, or wider samples."""

_TILE_WIDTH, _TILE_LENGTH, _SAMPLES, _SAMPLE_BITS = 322, 323, 277, 258
"""Tags of a TIFF."""

_COEFFICIENT_BYTES: Final = 2
"""For each sample of a progressive JPEG; all are held, however small it is decoded."""

_PIXEL_BYTES: Final = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
"""By mode; four in others."""

_CONVERTED_BYTES: Final = {"L": 0, "RGB": 0, "1": 1, "LA": 1, "I": 1, "F": 1}
"""By mode, to grey or RGB; four in others, which are RGB or 16 bits of grey then."""

_STORED_BYTES: Final = {"jpeg": 1, "smart": 1}
"""By codec; six where pixels are stored as they are, and copied for that."""

_BYTES_OF_PIXEL_LIMIT: Final = 9
"""What an image may take for each of ``PIL.Image.MAX_IMAGE_PIXELS``: 805 MB if that is not set."""

_BYTES_AT_A_TIME: Final = 256 << 20
"""Taken by all threads together; an image that takes more is decoded alone."""

_KEPT_FREE_BYTES: Final = 64 << 20
"""Freed at most before it is given back: glibc keeps what each thread freed, for that thread."""

_malloc_trim: Final = (
    getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
)


def bytes_to_decode(
    image: Image.Image, size: tuple[int, int], codec: str, target: tuple[int, int] | None
) -> int:
    """About the most memory that decoding an image and storing it takes, beside its file.

    Parameters
    ----------
    image : PIL.Image.Image
        Opened and not loaded; what was asked of ``draft`` counts.
    size : (int, int)
        Width and height of the file, without a draft.
    codec : str
        Of the stored form.
    target : (int, int), optional
        Width and height that it is shrunk to.

    Returns
    -------
    int
        Bytes.
    """
    num_pixels = num_stored = image.width * image.height
    library = num_pixels * _LIBRARY_BYTES.get(str(image.format), 0)
    if isinstance(image, TiffImageFile):
        library = _tile_bytes(image)
    if "progressive" in image.info:
        library = _COEFFICIENT_BYTES * len(image.getbands()) * size[0] * size[1]
    pixels = num_pixels * _PIXEL_BYTES.get(image.mode, 4)
    copies = num_pixels * _CONVERTED_BYTES.get(image.mode, 4)
    if target is not None:
        copies += 4 * target[0] * (image.height + target[1])
        num_stored = target[0] * target[1]
    return pixels + max(library, copies + num_stored * _STORED_BYTES.get(codec, 6))


def _tile_bytes(image: TiffImageFile) -> int:
    """Of a strip, which may have all rows, or of a tile, which may be larger than its image."""
    width, length, samples = (
        image.tag_v2.get(tag, 1) for tag in (_TILE_WIDTH, _TILE_LENGTH, _SAMPLES)
    )
    sample_bytes = -(-max(image.tag_v2.get(_SAMPLE_BITS, (1,))) // 8)
    num_bytes: int = max(4, samples * sample_bytes)
    num_bytes *= max(image.width * image.height, width * length)
    return num_bytes


def excess(image: Image.Image, size: tuple[int, int], num_bytes: int) -> str | None:
    """What is wrong with an image that takes so many bytes; None if memory is meant for it.

    Parameters
    ----------
    image, size
        See `bytes_to_decode`.
    num_bytes : int
        What that returns.
    """
    if Image.MAX_IMAGE_PIXELS is None:
        return None
    limit = _BYTES_OF_PIXEL_LIMIT * Image.MAX_IMAGE_PIXELS
    if num_bytes <= limit:
        return None
    return (
        f"{size[0]} x {size[1]} pixels of {image.format} take {num_bytes:,} bytes to decode; at "
        f"most {limit:,} are taken; raise PIL.Image.MAX_IMAGE_PIXELS if the image is meant to be "
        "that large"
    )


class DecodingTurns:
    """Lets threads decode as much at a time as memory is meant for."""

    def __init__(self) -> None:
        restart_now_and_after_fork(self)

    def restart(self) -> None:
        """See ``after_fork``: the parent's threads end their turns in the parent alone."""
        self._changed = threading.Condition()
        self._num_bytes = self._num_freed = 0

    @contextmanager
    def turn(self, num_bytes: int) -> Iterator[None]:
        """Wait for the turn of an image that takes so many bytes; they are free at its end."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._num_bytes or self._num_bytes + num_bytes <= _BYTES_AT_A_TIME
            )
            self._num_bytes += num_bytes
        try:
            yield
        finally:
            self._free(num_bytes)
            with self._changed:
                self._num_bytes -= num_bytes
                self._changed.notify_all()

    def _free(self, num_bytes: int) -> None:
        with self._changed:
            self._num_freed += num_bytes
            is_much = self._num_freed > _KEPT_FREE_BYTES
            if is_much:
                self._num_freed = 0
        if is_much and _malloc_trim is not None:
            _malloc_trim(0)
