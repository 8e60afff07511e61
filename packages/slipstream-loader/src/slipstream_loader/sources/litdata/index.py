"""``index.json`` of a LitData data set: which chunks there are, and what a sample looks like."""

from __future__ import annotations

import bisect
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from slipstream_loader.errors import EmptyDatasetError, SourceError
from slipstream_loader.sources.litdata.tree import Node, UnknownTreeError, parse_tree

INDEX_NAME: Final = "index.json"
_FINGERPRINT_RECIPE: Final = b"litdata 2\0"
_LEVELS: Final = (None, "chunk", "batch", "sample")
_MAX_SAMPLES: Final = 1 << 62


class NoIndexError(SourceError):
    """There is no index: no data set of LitData."""


class UnknownLayoutError(SourceError):
    """Data of a layout that is not read here; litdata itself may read it."""

    fingerprint = ""
    """Hash of the index, if that could be read."""


@dataclass(frozen=True)
class ChunkInfo:
    """One file of a data set."""

    name: str
    """Of the file, beside the index."""
    num_samples: int
    num_bytes: int
    """Of the file, or of what it holds where the whole file is compressed."""

    @property
    def is_compressed_file(self) -> bool:
        """Whether the whole file is one zstd frame."""
        return self.name.endswith(".bin") and ".zstd" in self.name


@dataclass(frozen=True)
class LitDataIndex:
    """What ``index.json`` says."""

    chunks: tuple[ChunkInfo, ...]
    first_samples: tuple[int, ...]
    """Sample id of the first sample of each chunk, and at the end the number of samples."""
    leaves: tuple[str, ...]
    """Kind of each leaf of a sample, such as ``"jpeg"`` or ``"no_header_numpy:3"``."""
    tree: Node
    """How the leaves make up a sample."""
    optional: frozenset[str]
    """Keys of the samples whose values may be None."""
    compresses_samples: bool
    """Whether each item of a chunk is a zstd frame of its own."""
    version: str | None
    """When the data set was written last, as a number of seconds; None if it does not say."""
    fingerprint: str
    """Hash of the whole index: 64 hexadecimal characters."""

    @property
    def num_samples(self) -> int:
        """Of all chunks."""
        return self.first_samples[-1]

    def locate(self, sample_id: int) -> tuple[int, int]:
        """Return the number of the chunk that holds a sample, and the sample's position in it."""
        chunk = bisect.bisect_right(self.first_samples, sample_id) - 1
        return chunk, sample_id - self.first_samples[chunk]


def parse_index(data: bytes, place: str) -> LitDataIndex:
    """Read an index.

    Parameters
    ----------
    data : bytes
        Content of ``index.json``.
    place : str
        Where it is, for messages.

    Raises
    ------
    UnknownLayoutError
        The index is of a kind that only litdata itself may know.
    EmptyDatasetError
        There are no samples.
    SourceError
        It is damaged, or a chunk's name leads out of the data set.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{place} is no JSON document: {error}") from error
    canonical = json.dumps(document, sort_keys=True).encode("utf-8", "surrogatepass")
    fingerprint = hashlib.sha256(_FINGERPRINT_RECIPE + canonical).hexdigest()
    try:
        return _parse_document(document, place, fingerprint)
    except UnknownLayoutError as error:
        error.fingerprint = fingerprint
        raise


def _parse_document(document: Any, place: str, fingerprint: str) -> LitDataIndex:
    if isinstance(document, dict) and "shards" in document:
        raise UnknownLayoutError(f"{place} lists the shards of an MDS data set")
    if isinstance(document, dict) and document.get("chunks") == []:
        raise EmptyDatasetError(f"{place} lists no chunks")
    if not isinstance(document, dict) or not isinstance(document.get("config"), dict):
        raise SourceError(f"{place} is not the index of a LitData data set: no chunks and config")
    config = document["config"]
    _check_known(config, place)
    chunks = _parse_chunks(document.get("chunks"), place)
    first_samples = [0]
    for chunk in chunks:
        first_samples.append(first_samples[-1] + chunk.num_samples)
    if first_samples[-1] == 0:
        raise EmptyDatasetError(f"{place} lists no samples")
    if first_samples[-1] > _MAX_SAMPLES:
        raise SourceError(f"{place} lists {first_samples[-1]} samples, which cannot be right")
    leaves = config.get("data_format")
    if not isinstance(leaves, list) or not leaves or not all(type(leaf) is str for leaf in leaves):
        raise SourceError(f"{place}: data_format is {leaves!r}; expected a list of names")
    try:
        tree = parse_tree(config.get("data_spec"), len(leaves))
    except UnknownTreeError as error:
        raise UnknownLayoutError(f"{place}: data_spec: {error}") from error
    except ValueError as error:
        raise SourceError(f"{place}: data_spec is damaged: {error}") from error
    version = document.get("updated_at")
    return LitDataIndex(
        chunks=chunks,
        first_samples=tuple(first_samples),
        leaves=tuple(leaves),
        tree=tree,
        optional=_optional_keys(config.get("types")),
        compresses_samples=config.get("compression_level") == "sample",
        version=None if version is None else str(version),
        fingerprint=fingerprint,
    )


def _check_known(config: dict[str, Any], place: str) -> None:
    compression, level = config.get("compression"), config.get("compression_level")
    loader = config.get("item_loader") or "PyTreeLoader"
    if loader != "PyTreeLoader":
        raise UnknownLayoutError(f"{place}: the samples are written for {loader}")
    if config.get("encryption"):
        raise SourceError(
            f"{place}: the chunks are encrypted; open the data set with litdata and its key, and "
            "give it to slipstream as SequenceSource(dataset, name='my-data-v1')"
        )
    if config.get("format") not in (None, "pytree"):
        raise UnknownLayoutError(f"{place}: format {config['format']!r}")
    if compression is not None and str(compression).split(":")[0] != "zstd":
        raise UnknownLayoutError(f"{place}: compression {compression!r}")
    if level not in _LEVELS:
        raise UnknownLayoutError(f"{place}: compression_level {level!r}")


def _optional_keys(types: Any) -> frozenset[str]:
    if not isinstance(types, dict):
        return frozenset()
    described = {name: kind for name, kind in types.items() if isinstance(kind, dict)}
    return frozenset(name for name, kind in described.items() if kind.get("optional") is True)


def _parse_chunks(entries: Any, place: str) -> tuple[ChunkInfo, ...]:
    if not isinstance(entries, list):
        raise SourceError(f"{place}: chunks is no list")
    return tuple(_parse_chunk(entry, f"{place}: chunk {i}") for i, entry in enumerate(entries))


def _parse_chunk(entry: Any, place: str) -> ChunkInfo:
    if not isinstance(entry, dict):
        raise SourceError(f"{place} is no object")
    name, size, num_bytes = entry.get("filename"), entry.get("chunk_size"), entry.get("chunk_bytes")
    if type(size) is not int or type(num_bytes) is not int or min(size, num_bytes) < 0:
        raise SourceError(
            f"{place}: chunk_size is {size!r} and chunk_bytes {num_bytes!r}; expected numbers of "
            "at least 0"
        )
    if not isinstance(name, str) or not _is_plain(name):
        raise SourceError(f"{place}: {name!r} is not the name of a file beside the index")
    return ChunkInfo(name, size, num_bytes)


def _is_plain(name: str) -> bool:
    """Tell whether a name is that of a file in the same directory, on any platform."""
    return (
        0 < len(name) < 256
        and name not in (".", "..", INDEX_NAME)
        and not any(c in "/\\:\0" or ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in name)
    )
