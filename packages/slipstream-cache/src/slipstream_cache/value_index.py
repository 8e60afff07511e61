"""Which samples have a value: an index in CSR form beside the parts, made on request.

An index holds the sorted distinct ``values``, their ``offsets`` into ``sample_ids``, and the hashes
of the files of the cache that it was made from; ``additions`` says how it is put in place.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slipstream_cache.additions import (
    OPENING_ATTEMPTS,
    parent_hashes,
    publish_addition,
    read_document,
)
from slipstream_cache.cache import SampleCache
from slipstream_cache.errors import (
    CacheWriteError,
    CorruptCacheError,
    FieldTypeError,
    IndexNotFoundError,
    ManifestError,
)
from slipstream_cache.layout import MANIFEST_NAME
from slipstream_cache.manifest import FileInfo, count_from_json, file_from_json
from slipstream_cache.maps import NpyMap
from slipstream_cache.publish import sync_directory
from slipstream_cache.writers import write_npy

_logger = logging.getLogger(__name__)

INDEX_DIRECTORY: Final = "index"
INDEX_FORMAT: Final = "slipcache-index"
INDEX_VERSION: Final = 1

_ARRAYS: Final = ("values", "offsets", "sample_ids")
_DIRECTORY: Final = re.compile(r"[0-9a-f]{16}")
_KINDS: Final = "biufcmMU"
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
        index = index_values(name, *_distinct(opened, name))
        arrays = {"values": index.values, "offsets": index.offsets, "sample_ids": index.ids}
        try:
            _publish(opened, name, arrays)
        except OSError as error:
            raise CacheWriteError(
                f"cannot write the index of field {name!r} in {opened.cache_dir}: {error}"
            ) from error
    return {name: opened.value_index(name) for name in names}


def index_values(field: str, codes: NDArray[np.int64], values: NDArray[Any]) -> ValueIndex:
    """Index samples by the numbers of their values; values that no sample has are left out.

    Parameters
    ----------
    field : str
        Name of the field.
    codes : ndarray of int64, shape (N,)
        For each sample the number of its value.
    values : ndarray, shape (V,)
        Distinct values, ascending.
    """
    counts = np.bincount(codes, minlength=len(values))
    used = counts > 0
    offsets = np.concatenate([[0], np.cumsum(counts[used])]).astype("<i8")
    return ValueIndex(field, values[used], offsets, np.argsort(codes, kind="stable").astype("<i8"))


def open_index(cache: SampleCache, field: str) -> ValueIndex:
    """Open the value index of a field; see ``SampleCache.value_index``."""
    attempts = OPENING_ATTEMPTS
    while True:
        attempts -= 1
        directory, described = read_index(cache, field)
        try:
            arrays = {
                name: NpyMap(directory / f"{name}.npy", file, dtype, (count,)).array()
                for name, (file, dtype, count) in described.items()
            }
        except CorruptCacheError:
            if not attempts:
                raise
        else:
            return ValueIndex(field, arrays["values"], arrays["offsets"], arrays["sample_ids"])


def read_index(
    cache: SampleCache, field: str
) -> tuple[Path, dict[str, tuple[FileInfo, np.dtype[Any], int]]]:
    """Return an index's directory, and array name -> (file, dtype, count); opens no array.

    Raises as ``SampleCache.value_index`` does.
    """
    directory = cache.cache_dir / INDEX_DIRECTORY / field
    path = directory / MANIFEST_NAME
    advice = f"make it with `slipstream index {cache.cache_dir} --field {field}`"
    document = read_document(path, INDEX_FORMAT, INDEX_VERSION)
    if document is None:
        raise IndexNotFoundError(f"field {field!r} has no value index; {advice}")
    if document.get("parent") != parent_hashes(cache.manifest, [field]):
        _logger.warning("%s was made from another state of the cache: ignored", directory)
        raise IndexNotFoundError(f"the value index of field {field!r} is out of date; {advice}")
    described = parse_index(document, path, advice)
    return directory / str(document["directory"]), described


def parse_index(
    document: Mapping[str, Any], path: Path | str, advice: str = ""
) -> dict[str, tuple[FileInfo, np.dtype[Any], int]]:
    """Return array name -> (file, dtype, count) in an index's manifest.

    Raises
    ------
    ManifestError
        It is not an index's; the message names ``path`` and ends with ``advice``.
    """
    try:
        arrays = document["arrays"]
        described = {name: _array_from_json(arrays[name]) for name in _ARRAYS}
        if not _DIRECTORY.fullmatch(document["directory"]):
            raise ValueError(f"unexpected directory {document['directory']!r}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ManifestError(f"{path} is not an index's manifest: {error!r}; {advice}") from error
    return described


def _array_from_json(info: dict[str, Any]) -> tuple[FileInfo, np.dtype[Any], int]:
    dtype = np.dtype(str(info["dtype"]))
    if dtype.kind not in _KINDS:  # objects would be addresses, which the file's writer chooses
        raise ValueError(f"unexpected dtype {dtype}")
    return file_from_json(info), dtype, count_from_json(info["count"])


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
    """Write the index into a new directory, then put it in the place of an older one."""
    final = cache.cache_dir / INDEX_DIRECTORY / field
    directory = final / secrets.token_hex(8)
    directory.mkdir(parents=True)
    try:
        described = {}
        for name, rows in arrays.items():
            (info,) = write_npy(directory / f"{name}.npy", rows).values()
            described[name] = {"dtype": rows.dtype.str, "count": len(rows), **asdict(info)}
        sync_directory(directory)
        document = {
            "format": INDEX_FORMAT,
            "version": INDEX_VERSION,
            "field": field,
            "parent": parent_hashes(cache.manifest, [field]),
            "directory": directory.name,
            "arrays": described,
        }
        publish_addition(final, document)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
