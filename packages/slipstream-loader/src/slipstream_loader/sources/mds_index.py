"""``index.json`` of MosaicML's MDS data sets: the shards, and the columns of their samples.

Source: mosaicml-streaming 0.13, ``base/format/mds`` and ``base/format/base``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from slipstream_loader.errors import SourceError

INDEX_NAME: Final = "index.json"
_VERSION: Final = 2
_MAX_SHARD_BYTES: Final = 1 << 32
"""Offsets in a shard are 32 bits."""


@dataclass(frozen=True)
class Column:
    """A field of every sample."""

    name: str
    encoding: str
    size: int | None
    """Bytes of every value; None: each value says."""


@dataclass(frozen=True)
class Shard:
    """A file of samples."""

    name: str
    """Relative to the index, of the file as it is stored."""
    num_samples: int
    num_bytes: int
    """Of the samples, not compressed."""
    stored_bytes: int
    """Of the file."""
    compression: str | None


def is_mds_index(data: bytes) -> bool:
    """Tell whether an ``index.json`` is one of MDS, and not of LitData."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and isinstance(document.get("shards"), list)


def read_index(data: bytes, where: str) -> tuple[tuple[Column, ...], tuple[Shard, ...]]:
    """The columns and shards that an index describes.

    Raises
    ------
    SourceError
        It is damaged, of another version or format, or names files outside of the data set.
    """
    try:
        document = json.loads(data)
        version, entries = document["version"], document["shards"]
        formats = {str(entry["format"]) for entry in entries}
        columns = {_columns(entry) for entry in entries}
        shards = tuple(_shard(entry) for entry in entries)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise SourceError(f"{where}/{INDEX_NAME} is no index of MDS shards: {error!r}") from error
    if version != _VERSION or formats - {"mds"}:
        raise SourceError(
            f"{where} holds shards of version {version!r} and format {sorted(formats)}; expected "
            f"version {_VERSION} and format 'mds'"
        )
    if len(columns) > 1:
        raise SourceError(f"{where}: the shards have different columns: {list(columns)[:2]}")
    return (next(iter(columns)) if columns else ()), shards


def _columns(entry: Mapping[str, Any]) -> tuple[Column, ...]:
    rows = zip(entry["column_names"], entry["column_encodings"], entry["column_sizes"], strict=True)
    columns = tuple(
        Column(str(name), str(encoding), None if not size else _count(size))
        for name, encoding, size in rows
    )
    if len({column.name for column in columns}) != len(columns) or not columns:
        raise ValueError(f"columns {[column.name for column in columns]}")
    return columns


def _shard(entry: Mapping[str, Any]) -> Shard:
    raw, packed = entry["raw_data"], entry.get("zip_data")
    compression = entry.get("compression")
    if (packed is None) != (compression is None):
        raise ValueError(f"compression {compression!r} of {packed!r}")
    stored = raw if packed is None else packed
    return Shard(
        name=_safe_name(str(stored["basename"])),
        num_samples=_count(entry["samples"]),
        num_bytes=_count(raw["bytes"]),
        stored_bytes=_count(stored["bytes"]),
        compression=None if compression is None else str(compression).partition(":")[0],
    )


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _MAX_SHARD_BYTES:
        raise ValueError(f"{value!r} is no size")
    return value


def _safe_name(name: str) -> str:
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name:
        raise ValueError(f"the shard {name!r} leads out of the data set")
    return name
