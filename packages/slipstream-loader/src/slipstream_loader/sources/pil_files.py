"""Pillow images as the bytes of image files."""

from __future__ import annotations

import io
import threading
from typing import Final

from PIL import Image, ImageFile

from slipstream_loader.image_files import StrictPillow

_PNG_MODES: Final = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
_TIFF_MODES: Final = frozenset({"I", "F", "CMYK", "YCbCr", "LAB", "I;16B"})

_lock = threading.Lock()
"""Pillow images load lazily and may share a file: one thread at a time may touch them."""


def file_of(image: Image.Image) -> bytes:
    """Return the bytes of an image file that holds exactly the pixels of `image`.

    An image that Pillow opened and has not decoded yet gives the bytes of its own file. Any other
    is written without loss: as PNG, with its EXIF data, or as TIFF where PNG lacks the mode.

    Raises
    ------
    OSError, ValueError
        When the image is closed, or its own file cannot be read.
    """
    with StrictPillow():
        with _lock:
            original = _original_file(image)
            if original is not None:
                return original
            still = image.copy()
        if still.mode not in _PNG_MODES | _TIFF_MODES:
            still = still.convert("RGBA" if still.has_transparency_data else "RGB")
        file = io.BytesIO()
        if still.mode in _PNG_MODES:
            still.save(file, "PNG", compress_level=1, exif=image.info.get("exif", b""))
        else:
            still.save(file, "TIFF")
    return file.getvalue()


def content_of(image: Image.Image) -> tuple[bytes, ...]:
    """Return what makes up `image`, independent of Pillow's version.

    Raises
    ------
    OSError, ValueError
        As `file_of`.
    """
    with StrictPillow(), _lock:
        original = _original_file(image)
        if original is not None:
            return b"file", original
        pixels = image.tobytes()
    header = f"{image.mode} {image.width} {image.height}".encode()
    palette = bytes(image.getpalette() or ()) if image.mode in ("P", "PA") else b""
    return b"pixels", header, pixels, palette, image.info.get("exif", b"")


def _original_file(image: Image.Image) -> bytes | None:
    """Return the file that `image` was opened from, if it is open and untouched."""
    if not isinstance(image, ImageFile.ImageFile) or image.fp is None or not image.tile:
        return None
    if image.tell() != 0:
        return None
    position = image.fp.tell()
    image.fp.seek(0)
    try:
        return image.fp.read()
    finally:
        image.fp.seek(position)
