"""The sets of photos that figures are given for: as they are, at quality 90, and small.

``as they are``: the files' bytes. ``q90``: encoded again at quality 90, 4:2:0. ``256``: shrunk so
that the shorter side has 256 pixels, quality 90. Photos that are not JPEG or RGB are left out.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

SET_NAMES = ("as they are", "q90", "256")


@dataclass(frozen=True)
class PhotoSet:
    """Photos in a folder, all in one directory."""

    name: str
    folder: Path
    num_photos: int
    bits_per_pixel: float
    mean_pixels: int
    mean_bytes: int

    def facts(self) -> dict[str, Any]:
        """What a figure should be read with, ready for JSON."""
        return {
            "photos": self.num_photos,
            "bits_per_pixel": round(self.bits_per_pixel, 2),
            "mean_pixels": self.mean_pixels,
            "mean_bytes": self.mean_bytes,
        }


def make_photo_set(name: str, photos: Path, directory: Path, limit: int) -> PhotoSet:
    """Write one of the sets to a new folder under ``directory``.

    Parameters
    ----------
    name : str
        One of ``SET_NAMES``.
    photos : Path
        A folder of JPEG files, at any depth.
    directory : Path
    limit : int
        Photos at most, spread evenly.
    """
    paths = sorted(p for p in photos.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg"})
    folder = directory / name.replace(" ", "_")
    folder.mkdir(parents=True)
    pixels = num_bytes = count = 0
    for path in paths[:: max(1, len(paths) // limit)][:limit]:
        with Image.open(path) as image:
            if image.mode != "RGB" or image.format != "JPEG":
                continue
            payload, size = _version(name, path, image)
        (folder / f"{count:06d}.jpg").write_bytes(payload)
        count += 1
        pixels += size[0] * size[1]
        num_bytes += len(payload)
    return PhotoSet(
        name, folder, count, 8 * num_bytes / pixels, pixels // count, num_bytes // count
    )


def _version(name: str, path: Path, image: Image.Image) -> tuple[bytes, tuple[int, int]]:
    if name == "as they are":
        return path.read_bytes(), image.size
    if name == "256":
        scale = 256 / min(image.size)
        size = round(image.width * scale), round(image.height * scale)
        image = image.resize(size, Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90, subsampling="4:2:0")
    return file.getvalue(), image.size
