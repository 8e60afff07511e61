"""Writes the golden cache of format 2, which is in git and must stay readable for ever.

Run it once for each new feature of the format, into a new directory; never again over an old one.

    python integration_tests/old_caches/make_v2.py integration_tests/old_caches/v2
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from slipstream_cache import (
    Codec,
    Condition,
    FieldSpec,
    ImageFlag,
    Payloads,
    Recipe,
    StorageOptions,
    StoredImage,
    build,
    derive,
    layout,
    write_index,
    write_stats,
)
from slipstream_cache.testing import MemorySource, make_jpeg

COUNT = 12
PART_SAMPLES = 5
DERIVED = Recipe("heights", 1, FieldSpec("ragged", content="bytes"), {"times": 2})
STATS = {"mean": [0.5, None], "name": "ü"}


def image(i: int) -> bytes:
    """An image file: baseline, progressive, turned, stored again, or unreadable."""
    if i == 3:
        return b"\x89PNG\r\n\x1a\n" + bytes(range(20))
    if i == 4:
        return b"no image"
    process = 2 if i == 5 else 0
    return make_jpeg(i + 1, 2 * i + 1, body=bytes([i]) * i, process=process, orientation=i % 9)


def stored_again(data: bytes, options: StorageOptions) -> StoredImage:
    """What takes the place of images that are not JPEG files."""
    if not data.startswith(b"\x89PNG"):
        unknown = Codec.UNKNOWN
        return StoredImage(data, 0, 0, unknown, condition=Condition.UNREADABLE, problem="unknown")
    return StoredImage(data[:12], 2, 2, Codec.RGB, flags=ImageFlag.TRANSCODED)


def source() -> MemorySource:
    """The samples."""
    samples: list[dict[str, Any]] = [
        {
            "image": image(i),
            "label": i % 3,
            "flag": i % 2 == 0,
            "half": np.array([i, -i / 2], "<f2"),
            "path": f"ordner/ü{i}\udcff" * (i % 4),
            "raw": bytes([i]) * (i % 5),
            "meta": [i, {"ä": None}],
        }
        for i in range(COUNT)
    ]
    types = {
        "image": FieldSpec("image"),
        "label": FieldSpec("dense", "<i8"),
        "flag": FieldSpec("dense", "|b1"),
        "half": FieldSpec("dense", "<f2", (2,)),
        "path": FieldSpec("ragged", content="str"),
        "raw": FieldSpec("ragged", content="bytes"),
        "meta": FieldSpec("ragged", content="json"),
    }
    return MemorySource(samples, types, "golden")


def heights(payloads: Payloads) -> Any:
    """The height of each image, twice, as one byte each."""
    return np.repeat(payloads.heights.astype(np.uint8), 2), np.full(len(payloads), 2)


def make(directory: Path) -> None:
    """Build the cache with its additions."""
    layout.MAX_PART_SAMPLES = PART_SAMPLES  # type: ignore[misc]
    cache = build(source(), directory, transcode=stored_again)
    derive(cache, "image", "heights", DERIVED, heights)
    write_index(cache, ["label", "path"])
    write_stats(cache, "mean", ["label", "half"], STATS)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
