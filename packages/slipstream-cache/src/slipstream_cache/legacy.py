"""Caches of the original slipstream (format 1) as sources, so that they can be built again.

The directory holds ``manifest.json`` and, for each field, by its type: ``<field>.bin`` and
``<field>.meta.npy`` for images and bytes (a structured row a sample), ``<field>.bin`` and
``<field>.offsets.npy`` for str (offset and length), ``<field>.npy`` for numbers (int64 or float64).
Pickled indexes beside them are not read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slipstream_cache.errors import CacheNotFoundError, CorruptCacheError, FieldTypeError
from slipstream_cache.layout import MANIFEST_NAME
from slipstream_cache.manifest import parse_json_object
from slipstream_cache.source import FieldSpec
from slipstream_cache.writers import hash_file

_META_DTYPE: Final = np.dtype(
    [("data_ptr", "<u8"), ("data_size", "<u8"), ("height", "<u4"), ("width", "<u4")]
)
_IMAGE_TYPES: Final = ("ImageBytes", "HFImageDict")


def is_v1(document: Mapping[str, Any]) -> bool:
    """Tell whether a manifest is that of a cache of format 1."""
    return "format" not in document and document.keys() >= {"version", "fields", "file_sizes"}


def import_v1(directory: Path) -> LegacySource:
    """Open a cache of the original slipstream, to build a slipcache from it.

    Parameters
    ----------
    directory : Path
        The old cache. Nothing in it is changed, and no pickle is read.

    Returns
    -------
    LegacySource
        Its samples.

    Raises
    ------
    CacheNotFoundError
        There is no such cache.
    ManifestError, CorruptCacheError
        Its manifest or one of its files is damaged.
    FieldTypeError
        A field holds YUV planes, which are no image files: build from the original images.
    """
    path = Path(directory).absolute() / MANIFEST_NAME
    try:
        document = parse_json_object(path.read_text(encoding="utf-8"), path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CacheNotFoundError(f"no cache at {path.parent}") from error
    if not is_v1(document):
        raise CacheNotFoundError(f"{path} is not the manifest of a cache of format 1")
    try:
        sizes = {str(name): int(size) for name, size in document["file_sizes"].items()}
        fields = {str(name): dict(described) for name, described in document["fields"].items()}
        return LegacySource(path.parent, int(document["num_samples"]), fields, sizes)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, FieldTypeError):
            raise
        raise CorruptCacheError(f"{path} contradicts itself: {error!r}") from error


class LegacySource:
    """The samples of a cache of format 1; made by ``import_v1``.

    Parameters
    ----------
    directory : Path
        The old cache.
    num_samples : int
        Number of samples.
    fields : Mapping of str to Mapping
        Field name to its description in the old manifest.
    sizes : Mapping of str to int
        File name to bytes.
    """

    kind = "slipcache-v1"

    def __init__(
        self,
        directory: Path,
        num_samples: int,
        fields: Mapping[str, Mapping[str, Any]],
        sizes: Mapping[str, int],
    ) -> None:
        self._directory, self._num_samples, self._sizes = directory, num_samples, sizes
        self._columns = {name: self._open(name, described) for name, described in fields.items()}

    @property
    def uri(self) -> str:
        """Directory of the old cache."""
        return str(self._directory)

    @cached_property
    def field_types(self) -> Mapping[str, FieldSpec]:
        """The fields, in the order of the old manifest."""
        return {name: column.spec for name, column in self._columns.items()}

    def __len__(self) -> int:
        return self._num_samples

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return {name: column.read(index) for name, column in self._columns.items()}

    def fingerprint(self) -> str:
        """Hash of the rows of all samples, and of the sizes of all payload files."""
        files: dict[str, str | int] = {}
        for column in self._columns.values():
            files[column.rows_path.name] = hash_file(column.rows_path)
            if column.payload_path is not None:
                files[column.payload_path.name] = column.payload_path.stat().st_size
        text = json.dumps([self.kind, self._num_samples, files], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def describe(self, index: int) -> str:
        """Name a sample for a message."""
        return f"sample {index} of {self._directory}"

    def __reduce__(self) -> tuple[Any, ...]:
        return import_v1, (self._directory,)

    def _open(self, name: str, described: Mapping[str, Any]) -> _Column:
        kind = described["type"]
        if kind in _IMAGE_TYPES and described.get("image_format") == "yuv420":
            raise FieldTypeError(
                f"field {name!r} of {self._directory} holds YUV planes, which are no image files; "
                "build the cache from the original images"
            )
        if kind in _IMAGE_TYPES or kind == "bytes":
            is_image = kind in _IMAGE_TYPES
            spec = FieldSpec("image") if is_image else FieldSpec("ragged", content="bytes")
            rows = self._rows(f"{name}.meta.npy", _META_DTYPE, ())
            places = np.stack([rows["data_ptr"], rows["data_size"]], axis=1)
            return self._payloads(name, spec, places, f"{name}.meta.npy")
        if kind == "str":
            places = self._rows(f"{name}.offsets.npy", np.dtype("<u8"), (2,))
            spec = FieldSpec("ragged", content="str")
            return self._payloads(name, spec, places, f"{name}.offsets.npy")
        dtype = np.dtype("<f8" if kind == "float" else "<i8")
        values = self._rows(f"{name}.npy", dtype, ())
        path = self._directory / f"{name}.npy"
        return _Column(FieldSpec("dense", dtype.str), path, None, values, None)

    def _rows(self, file: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        path = self._file(file)
        try:
            rows = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise CorruptCacheError(f"{path} is not a .npy file: {error}") from error
        expected = dtype, (self._num_samples, *shape)
        if (rows.dtype, rows.shape) != expected:
            raise CorruptCacheError(
                f"{path} holds {rows.dtype} of shape {rows.shape}, expected {expected[0]} of "
                f"shape {expected[1]}"
            )
        return np.asarray(rows)

    def _payloads(
        self, name: str, spec: FieldSpec, places: NDArray[Any], rows_file: str
    ) -> _Column:
        path = self._file(f"{name}.bin")
        size = path.stat().st_size
        starts, sizes = places[:, 0], places[:, 1]
        outside = np.flatnonzero((starts > size) | (sizes > size - np.minimum(starts, size)))
        if len(outside):
            raise CorruptCacheError(
                f"{self._directory / rows_file}: sample {outside[0]} points outside {path.name} "
                f"({size} bytes)"
            )
        data = np.memmap(path, np.uint8, "r") if size else np.zeros(0, np.uint8)
        return _Column(spec, self._directory / rows_file, path, places, data)

    def _file(self, name: str) -> Path:
        path = self._directory / name
        if path.parent != self._directory:
            raise CorruptCacheError(f"{name!r} is not a file of {self._directory}")
        found = path.stat().st_size if path.is_file() else None
        if found is None or found != self._sizes.get(name, found):
            raise CorruptCacheError(f"{path}: expected {self._sizes.get(name)} bytes, not {found}")
        return path


class _Column:
    """One field: its rows, and its payloads where it has them."""

    def __init__(
        self,
        spec: FieldSpec,
        rows_path: Path,
        payload_path: Path | None,
        rows: NDArray[Any],
        data: NDArray[np.uint8] | None,
    ) -> None:
        self.spec, self.rows_path, self.payload_path = spec, rows_path, payload_path
        self._rows, self._data = rows, data

    def read(self, index: int) -> Any:
        if self._data is None:
            return self._rows[index]
        start, size = (int(number) for number in self._rows[index])
        value = self._data[start : start + size].tobytes()
        if self.spec.content != "str":
            return value
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CorruptCacheError(
                f"{self.payload_path}: sample {index} has text that is not UTF-8: {error}"
            ) from error
