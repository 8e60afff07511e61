"""The on-disk names, dtypes and numbers of slipcache format 2, on one page.

The normative description is docs/reference/cache-format.md. Nothing here reads or writes files.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

import numpy as np

FORMAT_NAME: Final = "slipcache"
FORMAT_VERSION: Final = 2

MANIFEST_NAME: Final = "manifest.json"
JOURNAL_NAME: Final = "build.json"
"""Of a build that is not finished."""
PART_MANIFEST_NAME: Final = "part.json"

MAX_PART_SAMPLES: Final = 65_536
"""No part that is built holds more samples."""

MIN_PART_BYTES: Final = 1 << 26
"""Parts are not made smaller than about this (64 MiB) to have more of them."""

MAX_PART_BYTES: Final = 1 << 30
"""About the most bytes that the values of a part have together."""

PAYLOAD_PADDING_BYTES: Final = 64
"""Zero bytes after the last payload of an image file: vector kernels may read past its end."""


class Codec(IntEnum):
    """How the payload of an image is stored."""

    JPEG = 0
    """A JPEG file: baseline, extended or progressive, 8 bits, 1 or 3 components."""
    YUV420 = 1
    """Planar 8-bit Y, U, V; chroma planes of ceil(height / 2) x ceil(width / 2)."""
    RGB = 2
    """Interleaved 8-bit RGB, height x width x 3."""
    UNKNOWN = 255
    """Bytes that no decoder took at build: kept verbatim, condition UNREADABLE."""


class Condition(IntEnum):
    """What the build found out about an image."""

    SOUND = 0
    DAMAGED = 1
    """It has a readable header, but its data is cut off or inconsistent."""
    UNREADABLE = 2
    """It has no readable header; height and width are 0."""


class ImageFlag(IntFlag):
    """Bits of the column ``flags``."""

    TRANSCODED = 1
    """The payload is not the source's bytes: another format was decoded and stored again."""
    PROGRESSIVE = 2
    """A JPEG in progressive mode."""


IMAGE_SAMPLE_DTYPE: Final = np.dtype(
    [
        ("offset", "<u8"),  # bytes from the start of the field's .bin file
        ("size", "<u4"),  # bytes
        ("height", "<u4"),  # pixels, as stored (before EXIF orientation)
        ("width", "<u4"),
        ("codec", "u1"),  # Codec
        ("orientation", "u1"),  # EXIF orientation 1..8; 0 when the source has none
        ("condition", "u1"),  # Condition
        ("flags", "u1"),  # ImageFlag
        ("checksum", "<u8"),  # xxh3_64 of the payload
    ]
)
"""One row of ``<field>.samples.npy``: 32 bytes a sample."""
