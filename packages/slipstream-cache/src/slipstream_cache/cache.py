"""``SampleCache``: a published cache, opened for reading."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slipstream_cache.errors import (
    CacheNotFoundError,
    CorruptCacheError,
    FieldNotFoundError,
    ManifestError,
    UnsupportedVersionError,
)
from slipstream_cache.field_types import field_files
from slipstream_cache.layout import MANIFEST_NAME
from slipstream_cache.manifest import FileInfo, Manifest, read_manifest
from slipstream_cache.maps import FileMap
from slipstream_cache.page_cache import WarmUp, read_files, resident_bytes
from slipstream_cache.payloads import Payloads
from slipstream_cache.readers import DenseReader, ImageReader, RaggedReader, make_reader
from slipstream_cache.sample_ids import check_ids
from slipstream_cache.sample_reader import SampleReader
from slipstream_cache.source import FieldSpec

if TYPE_CHECKING:
    from slipstream_cache.derived import DerivedField, Recipe
    from slipstream_cache.value_index import ValueIndex


class SampleCache(SampleReader):
    """A published cache. Open one with ``SampleCache.open``.

    Opening reads the manifest alone; files are mapped when a sample in them is first asked for.
    All methods may be called from several threads. A pickled cache is its path, and opens again
    where it is unpickled.

    Parameters
    ----------
    cache_dir : Path
        Absolute directory of the cache.
    manifest : Manifest
        What it holds.
    stamp : tuple of int
        Inode, size and time of the manifest's file before it was read.
    """

    def __init__(self, cache_dir: Path, manifest: Manifest, stamp: tuple[int, ...]) -> None:
        self._cache_dir, self._manifest, self._stamp = cache_dir, manifest, stamp
        self._readers = {
            name: make_reader(cache_dir, name, spec, manifest.parts, self._check_still_there)
            for name, spec in manifest.fields.items()
        }

    @classmethod
    def open(cls, cache_dir: str | os.PathLike[str]) -> SampleCache:
        """Open the cache in a directory.

        Raises
        ------
        CacheNotFoundError
            There is no published cache.
        ManifestError, UnsupportedVersionError
            Its manifest is not a slipcache's, or of another format version.
        """
        directory = Path(cache_dir).absolute()
        stamp = _stamp(directory)
        return cls(directory, read_manifest(directory), stamp)

    @property
    def cache_dir(self) -> Path:
        """The cache's directory, absolute."""
        return self._cache_dir

    @property
    def manifest(self) -> Manifest:
        """What the cache holds, and where it came from."""
        return self._manifest

    @cached_property
    def fields(self) -> Mapping[str, FieldSpec]:
        """Field name to how it is stored, in the source's order."""
        return MappingProxyType(dict(self._manifest.fields))

    @property
    def num_samples(self) -> int:
        """Number of samples; valid ids are 0 to this, excluded."""
        return self._manifest.num_samples

    @property
    def key(self) -> str:
        """Hash of the source's fingerprint and the storage options, 16 hexadecimal characters."""
        return self._manifest.key

    @property
    def caches(self) -> tuple[SampleCache, ...]:
        """This cache."""
        return (self,)

    def load_batch(self, ids: ArrayLike, fields: Sequence[str] | None = None) -> dict[str, Any]:
        """Copy samples out of the cache.

        Parameters
        ----------
        ids : array-like of int, shape (B,)
            Sample ids in any order, repeats allowed.
        fields : sequence of str, optional
            Names of the fields to load; by default all.

        Returns
        -------
        dict
            Field name to value. Dense: a new array of shape (B, *shape). Ragged: a list of B
            ``str``, ``bytes`` or JSON values. Image: a dict of ``data`` (uint8, 1-D, the payloads
            one after another), and of shape (B,) ``offsets`` and ``sizes`` (int64, bytes),
            ``heights`` and ``widths`` (int32, pixels), ``codecs`` (uint8, ``Codec``) and
            ``orientations`` (uint8, EXIF orientation or 0).

        Raises
        ------
        SampleIdError
            An id is negative or not below ``num_samples``.
        FieldNotFoundError
            There is no field of that name.
        CorruptCacheError
            A file of the cache is missing, cut off, or contradicts itself.
        """
        valid = self._check_ids(ids)
        names = list(self._readers) if fields is None else fields
        return {name: self._reader(name).load(valid) for name in names}

    def payloads(self, field: str, ids: ArrayLike) -> Payloads:
        """Return where images are in memory, without copying them.

        Parameters
        ----------
        field : str
            Name of an image field.
        ids : array-like of int, shape (B,)
            Sample ids in any order, repeats allowed.

        Raises
        ------
        SampleIdError, FieldNotFoundError, CorruptCacheError
            As ``load_batch``; also if the field holds no images.
        """
        return self._image_reader(field).locate(self._check_ids(ids))

    def conditions(self, field: str) -> NDArray[np.uint8]:
        """Return the ``Condition`` of every sample's image, shape (num_samples,)."""
        return self._image_reader(field).conditions()

    def value_index(self, field: str) -> ValueIndex:
        """Open the index of a field's values that ``write_index`` made.

        Raises
        ------
        IndexNotFoundError
            There is none, or it was made from another state of the field.
        """
        from slipstream_cache.value_index import open_index

        self._reader(field)
        return open_index(self, field)

    def derived(self, field: str, name: str, recipe: Recipe | None = None) -> DerivedField:
        """Open a field that was derived from an image field, even while this cache was open.

        Parameters
        ----------
        field, name : str
            The image field, and the name of what was made from it.
        recipe : Recipe, optional
            The only recipe to accept; by default any.

        Raises
        ------
        DerivedNotFoundError
            There is none, or, after a warning, only one of another recipe or of another state
            of the cache: ``derive`` makes it.
        CorruptCacheError, ManifestError
            It is damaged.
        """
        from slipstream_cache.derived import open_derived

        self._image_reader(field)
        return open_derived(self, field, name, recipe)

    def warm_up(
        self,
        fields: Sequence[str] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> WarmUp:
        """Read files once, so that the system has them in memory as far as there is room.

        Parameters
        ----------
        fields : sequence of str, optional
            The fields to read; by default all.
        progress : callable, optional
            Called as ``progress(bytes done, bytes in all)`` from this thread.

        Returns
        -------
        WarmUp
            Bytes and seconds.
        """
        files = self._files(fields)
        done, total = 0, sum(info.bytes for _, info in files)

        def report(num_bytes: int) -> None:
            nonlocal done
            done += num_bytes
            if progress is not None:
                progress(done, total)

        return read_files([path for path, _ in files], report)

    def residency(self, field: str | None = None) -> float | None:
        """Return the fraction of a field's bytes, or of all, that is in memory.

        None where the system cannot tell (Windows). Linux tells it to those only who may write
        the files; to others it says 1.
        """
        total = resident = 0
        for path, info in self._files(None if field is None else [field]):
            found = resident_bytes(FileMap(path, info))
            if found is None:
                return None
            resident, total = resident + found, total + info.bytes
        return resident / total if total else 1.0

    def __reduce__(self) -> tuple[Any, ...]:
        return SampleCache.open, (self._cache_dir,)

    def __repr__(self) -> str:
        manifest = self._manifest
        lines = [
            f"SampleCache at {self._cache_dir}",
            f"  {manifest.num_samples:,} samples, {_readable(manifest.num_bytes)} in "
            f"{len(manifest.parts)} parts, from {manifest.source.kind} {manifest.source.uri}",
        ]
        width = max(map(len, self.fields))
        for name, spec in self.fields.items():
            lines.append(f"  {name:{width}}  {spec.kind:6}  {self._details(name, spec)}".rstrip())
        return "\n".join(lines)

    def _details(self, name: str, spec: FieldSpec) -> str:
        if spec.kind == "dense":
            return f"{spec.dtype} {list(spec.shape)}" if spec.shape else str(spec.dtype)
        if spec.kind == "ragged":
            return str(spec.content)
        counts = [part.images[name] for part in self._manifest.parts]
        found = {
            "damaged": sum(c.damaged for c in counts),
            "unreadable": sum(c.unreadable for c in counts),
        }
        return ", ".join(f"{count:,} {word}" for word, count in found.items() if count)

    def _check_still_there(self) -> None:
        """Make sure that a part that was just mapped belongs to the cache that was opened."""
        stamp = _stamp(self._cache_dir)
        if stamp == self._stamp:
            return
        try:
            same = read_manifest(self._cache_dir) == self._manifest
        except (CacheNotFoundError, ManifestError, UnsupportedVersionError):
            same = False
        if not same:
            raise CorruptCacheError(
                f"{self._cache_dir} was replaced while it was open; open it again"
            )
        self._stamp = stamp

    def _files(self, fields: Sequence[str] | None) -> list[tuple[Path, FileInfo]]:
        """All files of some fields."""
        names = list(self._readers) if fields is None else fields
        for name in names:
            self._reader(name)
        wanted = [file for name in names for file in field_files(name, self.fields[name])]
        return [
            (self._cache_dir / part.name / file, part.files[file])
            for part in self._manifest.parts
            for file in wanted
        ]

    def _reader(self, field: str) -> DenseReader | RaggedReader | ImageReader:
        try:
            return self._readers[field]
        except KeyError:
            raise FieldNotFoundError(
                f"{self._cache_dir} has no field {field!r}; it has "
                f"{', '.join(map(repr, self._readers))}"
            ) from None

    def _image_reader(self, field: str) -> ImageReader:
        reader = self._reader(field)
        if not isinstance(reader, ImageReader):
            raise FieldNotFoundError(
                f"field {field!r} of {self._cache_dir} is {self.fields[field].kind}, not image; "
                f"its image fields are {self.image_fields}"
            )
        return reader

    def _check_ids(self, ids: ArrayLike) -> NDArray[np.int64]:
        return check_ids(ids, self.num_samples, self._cache_dir)


def _stamp(cache_dir: Path) -> tuple[int, ...]:
    """What changes when the manifest's file is replaced; empty if there is none."""
    try:
        found = (cache_dir / MANIFEST_NAME).stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _readable(num_bytes: int) -> str:
    size = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.4g} {unit}"
        size /= 1000
    return f"{size:.4g} TB"
