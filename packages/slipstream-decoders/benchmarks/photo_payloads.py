"""The JPEGs of a folder, as they are or encoded again, for the benchmarks beside this file."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image


def photo_payloads(folder: Path, count: int, quality: int) -> list[bytes]:
    """At most ``count`` JPEGs spread over a folder; quality 0 leaves them as they are."""
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg"})
    payloads = []
    for path in files[:: max(1, len(files) // count)][:count]:
        if quality == 0:
            payloads.append(path.read_bytes())
        else:
            file = io.BytesIO()
            Image.open(path).convert("RGB").save(file, "JPEG", quality=quality)
            payloads.append(file.getvalue())
    return payloads
