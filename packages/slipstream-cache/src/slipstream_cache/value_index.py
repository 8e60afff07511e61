"""Which samples have a value: an index in CSR form beside the parts, made on request.

``index/<field>/`` holds the sorted distinct ``values``, their ``offsets`` into ``sample_ids``, and
a manifest that names the files of the cache that it was made from.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slipstream_cache.cache import SampleCache
from slipstream_cache.errors import (
    CacheWriteError,
    CorruptCacheError,
    FieldTypeError,
    IndexNotFoundError,
    ManifestError,
)
from slipstream_cache.field_types import field_files
from slipstream_cache.layout import MANIFEST_NAME
from slipstream_cache.manifest import FileInfo, json_text, parse_json_object
from slipstream_cache.maps import NpyMap
from slipstream_cache.publish import discard, publish_file, sync_directory, temporary_path
from slipstream_cache.writers import write_npy

_logger = logging.getLogger(__name__)

INDEX_DIRECTORY: Final = "index"
INDEX_FORMAT: Final = "slipcache-index"
INDEX_VERSION: Final = 1

_BATCH: Final = 65_536


@dataclass(frozen=True, eq=False)
class ValueIndex:
    """The distinct values of a field, and the samples that have each."""

    field: str
    values: NDArray[Any]
    """Shape (V,): distinct values, ascending; str as NumPy ``U``. Read-only."""
    offsets: NDArray[np.int64]
    """Shape (V + 1,): samples of value ``v`` are ``ids[offsets[v]:offsets[v + 1]]``."""
    ids: NDArray[np.int64]
    """Shape (num_samples,): sample ids, ascending within each value."""

    def __len__(self) -> int:
        return len(self.values)

    def sample_ids(self, value: Any) -> NDArray[np.int64]:
        """Return the ids of the samples that have a value, ascending; empty if none has it.

        Raises
        ------
        TypeError
            A str is asked of a field of numbers, or the other way round.
        """
        wanted = np.asarray(value)
        if wanted.ndim or (wanted.dtype.kind == "U") != (self.values.dtype.kind == "U"):
            raise TypeError(f"field {self.field!r} has {self.values.dtype} values, not {value!r}")
        position = int(np.searchsorted(self.values, wanted))
        if position == len(self.values):
            return self.ids[:0]
        found = self.values[position]
        if found != wanted and (found == found or wanted == wanted):
            return self.ids[:0]
        return self.ids[self.offsets[position] : self.offsets[position + 1]]


def write_index(
    cache: SampleCache | str | os.PathLike[str], fields: str | Iterable[str]
) -> dict[str, ValueIndex]:
    """Make or renew the value indexes of fields; a cache that is open elsewhere finds them.

    Parameters
    ----------
    cache : SampleCache or path
        The cache, or its directory.
    fields : iterable of str
        Dense fields of numbers (one for each sample), or fields of str.

    Returns
    -------
    dict of str to ValueIndex
        The indexes, opened.

    Raises
    ------
    FieldNotFoundError
        There is no such field.
    FieldTypeError
        The field holds images, arrays, bytes or JSON, or a str that ends with a NUL.
    CacheWriteError
        The index cannot be written.
    """
    opened = cache if isinstance(cache, SampleCache) else SampleCache.open(cache)
    names = [fields] if isinstance(fields, str) else list(fields)
    for name in names:
        codes, values = _distinct(opened, name)
        counts = np.bincount(codes, minlength=len(values))
        arrays = {
            "values": values,
            "offsets": np.concatenate([[0], np.cumsum(counts)]).astype("<i8"),
            "sample_ids": np.argsort(codes, kind="stable").astype("<i8"),
        }
        try:
            _publish(opened, name, arrays)
        except OSError as error:
            raise CacheWriteError(
                f"cannot write the index of field {name!r} in {opened.cache_dir}: {error}"
            ) from error
    return {name: opened.value_index(name) for name in names}


def open_index(cache: SampleCache, field: str) -> ValueIndex:
    """Open the value index of a field; see ``SampleCache.value_index``."""
    directory = cache.cache_dir / INDEX_DIRECTORY / field
    path = directory / MANIFEST_NAME
    advice = f"make it with `slipstream index {cache.cache_dir} --field {field}`"
    try:
        document = parse_json_object(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError as error:
        raise IndexNotFoundError(f"field {field!r} has no value index; {advice}") from error
    described = (document.get("format"), document.get("version"))
    if described != (INDEX_FORMAT, INDEX_VERSION):
        raise ManifestError(
            f"{path}: expected {(INDEX_FORMAT, INDEX_VERSION)}, found {described}; {advice}"
        )
    if document.get("parent") != _parent(cache, field):
        _logger.warning("%s was made from another state of the cache: ignored", directory)
        raise IndexNotFoundError(f"the value index of field {field!r} is out of date; {advice}")
    try:
        arrays = {
            name: NpyMap(
                directory / f"{name}.npy",
                FileInfo(info["bytes"], info["xxh3"]),
                np.dtype(info["dtype"]),
                (info["count"],),
            ).array()
            for name, info in document["arrays"].items()
        }
        return ValueIndex(field, arrays["values"], arrays["offsets"], arrays["sample_ids"])
    except (KeyError, TypeError, AttributeError) as error:
        raise CorruptCacheError(
            f"{path} is not an index's manifest: {error!r}; {advice}"
        ) from error


def _distinct(cache: SampleCache, field: str) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """For each sample the number of its value, and the sorted distinct values."""
    cache.load_batch([], [field])
    spec = cache.fields[field]
    if not (spec.kind == "dense" and spec.shape == ()) and spec.content != "str":
        raise FieldTypeError(
            f"field {field!r} is {spec.kind} {spec.content or list(spec.shape)}: only fields of "
            "one number or one str for each sample have a value index"
        )
    batches = [
        cache.load_batch(np.arange(start, min(start + _BATCH, len(cache))), [field])[field]
        for start in range(0, len(cache), _BATCH)
    ]
    if spec.kind == "dense":
        column = np.concatenate([np.empty(0, spec.dtype), *batches])
        values, codes = np.unique(column, return_inverse=True)
        return codes.astype(np.int64).reshape(-1), values
    texts = sorted({text for batch in batches for text in batch})
    if any(text.endswith("\0") for text in texts):
        raise FieldTypeError(f"field {field!r} has a str that ends with NUL, which NumPy drops")
    numbers = {text: number for number, text in enumerate(texts)}
    codes = np.array([numbers[text] for batch in batches for text in batch], np.int64)
    return codes, np.array(texts, dtype=f"<U{max(map(len, texts), default=0) or 1}")


def _publish(cache: SampleCache, field: str, arrays: dict[str, NDArray[Any]]) -> None:
    """Write the index under a temporary name, then put it in the place of an older one."""
    final = cache.cache_dir / INDEX_DIRECTORY / field
    final.parent.mkdir(exist_ok=True)
    temporary = temporary_path(final)
    temporary.mkdir()
    try:
        described = {}
        for name, rows in arrays.items():
            (info,) = write_npy(temporary / f"{name}.npy", rows).values()
            described[name] = {"dtype": rows.dtype.str, "count": len(rows), **asdict(info)}
        document = {
            "format": INDEX_FORMAT,
            "version": INDEX_VERSION,
            "field": field,
            "parent": _parent(cache, field),
            "arrays": described,
        }
        publish_file(temporary / MANIFEST_NAME, json_text(document))
        _put_in_place(temporary, final)
        sync_directory(final.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(temporary: Path, final: Path) -> None:
    """Rename over an existing directory; between the two renames there is no index."""
    for _ in range(100):
        try:
            temporary.rename(final)
        except OSError:
            if not final.is_dir():
                raise
            discard(final)
        else:
            return
    raise OSError(f"{final} is written by others all the time")


def _parent(cache: SampleCache, field: str) -> dict[str, Any]:
    """The files that an index of a field depends on."""
    files = field_files(field, cache.fields[field])
    return {
        "key": cache.manifest.key,
        "parts": {
            part.name: {file: part.files[file].xxh3 for file in files}
            for part in cache.manifest.parts
        },
    }
