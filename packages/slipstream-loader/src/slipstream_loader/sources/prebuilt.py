"""A cache in place of a source: its samples are read from it, or built again from an old one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from PIL import Image

from slipstream_cache import (
    Codec,
    Condition,
    FieldSpec,
    LegacySource,
    SampleCache,
    SampleReader,
    import_v1,
)
from slipstream_cache.image_header import ImageHeaderError, read_jpeg_header
from slipstream_cache.layout import MANIFEST_NAME
from slipstream_cache.legacy import is_v1
from slipstream_loader.sources.pil_files import file_of
from slipstream_loader.sources.stored_file import size_of_file
from slipstream_loader.transcode import decode_stored

_DIRECTORY_PREFIX: Final = "slipcache-"
_MANIFEST_KEYS: Final = frozenset({"version", "num_samples", "fields"})
_RECIPE: Final = "slipcache 1"
_ORIENTATION: Final = 0x0112


def is_prebuilt(directory: Path) -> bool:
    """Tell whether a directory is a cache, of any version, whole or not."""
    if directory.name.startswith(_DIRECTORY_PREFIX):
        return True
    manifest = _read_manifest(directory)
    return manifest is not None and manifest.keys() >= _MANIFEST_KEYS


def open_prebuilt(directory: Path) -> SampleCache | LegacySource:
    """Open the cache in a directory; one of the original slipstream is a source to build from.

    Raises
    ------
    CacheError
        When it is damaged, unfinished or of another version; see ``slipstream_cache.errors``.
    """
    manifest = _read_manifest(directory)
    if manifest is not None and is_v1(manifest):
        return import_v1(directory)
    return SampleCache.open(directory)


def _read_manifest(directory: Path) -> dict[str, Any] | None:
    try:
        size_of_file(directory / MANIFEST_NAME)
        manifest = json.loads((directory / MANIFEST_NAME).read_bytes())
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


class CacheSource:
    """The samples of a cache, or of a view of some, to build another cache from.

    JPEG files are those of the cache. Images that it holds as pixels become PNG files, and so do
    images whose orientation only the cache knows; nothing is lost but the chroma that ``yuv420``
    has halved already.

    Parameters
    ----------
    cache : SampleCache, Subset or Concatenation
    """

    kind: Final = "slipcache"

    def __init__(self, cache: SampleReader) -> None:
        self._cache = cache

    @property
    def uri(self) -> str:
        """Directories of the caches."""
        return " + ".join(str(cache.cache_dir) for cache in self._cache.caches)

    @property
    def field_types(self) -> Mapping[str, FieldSpec]:
        """The fields of the cache."""
        return self._cache.fields

    def __len__(self) -> int:
        return len(self._cache)

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        sample = self._cache[index]
        for name in self._cache.image_fields:
            sample[name] = self._file(name, index, sample[name])
        return sample

    def fingerprint(self) -> str:
        """Hash of the cache's key: 64 hexadecimal characters."""
        return hashlib.sha256(f"{_RECIPE}\0{self._cache.key}".encode()).hexdigest()

    def describe(self, index: int, /) -> str:
        """Name a sample for a message."""
        return f"sample {index} of {self.uri}"

    def __repr__(self) -> str:
        return f"CacheSource({self._cache!r})"

    def _file(self, field: str, index: int, payload: bytes) -> bytes:
        row = self._cache.payloads(field, [index])
        codec, orientation = Codec(int(row.codecs[0])), int(row.orientations[0])
        if int(row.conditions[0]) != Condition.SOUND or codec == Codec.UNKNOWN:
            return payload
        if codec == Codec.JPEG and (orientation < 2 or _own_orientation(payload) == orientation):
            return payload
        image = decode_stored(payload, codec, int(row.heights[0]), int(row.widths[0]))
        if orientation:
            exif = Image.Exif()
            exif[_ORIENTATION] = orientation
            image.info["exif"] = exif.tobytes()
        return file_of(image)


def _own_orientation(payload: bytes) -> int:
    """EXIF orientation that a JPEG file tells itself; 0 if none."""
    try:
        return read_jpeg_header(payload).orientation
    except ImageHeaderError:
        return 0
