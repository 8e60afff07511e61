"""MosaicML's MDS data sets, local or in an object store, read without mosaicml-streaming."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import os
import threading
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from slipstream_cache import FieldNameError, FieldSpec
from slipstream_cache.field_types import validate_fields
from slipstream_loader.errors import (
    EmptyDatasetError,
    RemoteNotFoundError,
    SampleReadError,
    SourceError,
)
from slipstream_loader.sources.litdata.zstd import unpack
from slipstream_loader.sources.mds_encodings import decode_value, decoder_of, field_type
from slipstream_loader.sources.mds_index import INDEX_NAME, Shard, is_mds_index, read_index
from slipstream_loader.sources.neighbouring_reads import NeighbouringReads
from slipstream_loader.sources.object_store import (
    ObjectStore,
    object_store_of,
)
from slipstream_loader.sources.open_shards import OpenShards
from slipstream_loader.sources.stored_file import (
    LocalFile,
    ObjectFile,
    StoredFile,
    size_of_file,
)

_RECIPE: Final = "mds 1"
_HASHED_SHARDS: Final = 16
_MAX_UNPACKED_BYTES: Final = 192 << 20
_MAX_PLAIN_BYTES: Final = 1 << 30
"""Of a shard that is little more than what is stored: it cannot come out of nothing."""
_PLAIN_RATIO: Final = 4
"""A compressed shard that is larger would be held in memory: it is refused."""
_COMPRESSIONS: Final = ("zstd", "gz", "bz2")


def is_mds(place: Path | ObjectStore) -> bool:
    """Tell whether a folder or URL has an index of MDS shards."""
    try:
        return is_mds_index(_read_index_file(place))
    except (FileNotFoundError, NotADirectoryError):
        return False


class MDSSource:
    """The samples of an MDS data set.

    A field for each column: encodings ``jpeg``, ``png`` and ``pil`` are images, as are ``bytes``
    that begin like an image file; numbers and arrays keep their dtype; ``pkl`` stays the bytes of
    a pickle, which is never loaded.

    Parameters
    ----------
    location : str, path or ObjectStore
        The folder that holds ``index.json``, or its URL ``s3://``, which may be open already.
    storage_options : mapping, optional
        Of a URL; see ``open_object_store``.

    Raises
    ------
    SourceError
        When there is no index, or it is damaged or names files elsewhere; when a column has an
        encoding, or a shard a compression, that is not known. `EmptyDatasetError` when there are
        no samples.
    RemoteError
        When the server fails.

    Notes
    -----
    Shards may be plain or compressed by zstd, gzip or bzip2. A compressed one is unpacked in
    memory, so single samples in random order are slow; a build reads forward. See ``open_shards``.
    """

    kind: Final = "mds"

    def __init__(
        self,
        location: str | os.PathLike[str] | ObjectStore,
        *,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._store = object_store_of(location, storage_options)
        self._is_remote = self._store is not None
        if self._store is not None:
            self._place = self._store.url
        else:
            assert not isinstance(location, ObjectStore)
            self._place = str(Path(location).expanduser().absolute())
        try:
            self._index = _read_index_file(self._store or Path(self._place))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise SourceError(f"there is no {INDEX_NAME} in {self.uri}") from error
        self._columns, self._shards = read_index(self._index, self.uri)
        self._starts = np.cumsum([0, *(shard.num_samples for shard in self._shards)])
        if not len(self):
            raise EmptyDatasetError(f"{self.uri} has no samples")
        for shard in self._shards:
            _check_compression(shard, self.uri)
        self._fingerprint: str | None = None
        self._start()
        try:
            first = self[0]
        except SampleReadError as error:
            raise SourceError(f"the first sample tells the types: {error}") from error
        self._field_types = {
            column.name: field_type(column, first[column.name]) for column in self._columns
        }
        try:
            validate_fields(self._field_types)
        except FieldNameError as error:
            raise SourceError(f"{self.uri}: {error}") from error

    def _start(self) -> None:
        self._decoders = [decoder_of(column, self.uri) for column in self._columns]
        self._open = OpenShards(
            self._open_shard,
            [shard.num_samples for shard in self._shards],
            [shard.num_bytes if shard.compression else 0 for shard in self._shards],
        )

    @property
    def uri(self) -> str:
        """Folder or URL."""
        return self._place

    @property
    def field_types(self) -> Mapping[str, FieldSpec]:
        """The fields of every sample."""
        return dict(self._field_types)

    @property
    def is_sequential(self) -> bool:
        """Whether samples are best read in their order: they are compressed."""
        return any(shard.compression for shard in self._shards)

    @property
    def mean_sample_bytes(self) -> int:
        """As the index tells it."""
        return sum(shard.num_bytes for shard in self._shards) // len(self)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of the {len(self)} in {self.uri}")
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        try:
            row = index - int(self._starts[number])
            data = self._open.for_sample(number, row).sample(row)
            return self._decoded(data)
        except SampleReadError as error:
            raise SampleReadError(f"{self.describe(index)}: {error}") from error

    def fingerprint(self) -> str:
        """Hash of the index and of some samples of plain shards: 64 hexadecimal characters.

        The index holds the sizes of all shards, which are those of other data if all samples are of
        one size.
        """
        if self._fingerprint is None:
            self._fingerprint = self._hash()
        return self._fingerprint

    def describe(self, index: int, /) -> str:
        """Return shard and row of a sample."""
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return f"{self._shards[number].name} row {index - int(self._starts[number])}"

    def close(self) -> None:
        """Forget what was read ahead; reading begins anew."""
        self._open.close()

    def __repr__(self) -> str:
        return f"MDSSource({self.uri!r}: {len(self)} samples of {len(self._shards)} shards)"

    def __getstate__(self) -> dict[str, Any]:
        left_out = ("_decoders", "_open")
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def _hash(self) -> str:
        digest = hashlib.sha256(f"{_RECIPE}\0".encode() + self._index)
        plain = [n for n, shard in enumerate(self._shards) if not shard.compression]
        for number in plain[:: -(-len(plain) // _HASHED_SHARDS) or 1]:
            if self._shards[number].num_samples:
                try:
                    digest.update(self._open.for_sample(number, 0).sample(0))
                except SampleReadError:
                    continue  # a build names it
        return digest.hexdigest()

    def _open_shard(self, number: int) -> _OpenShard:
        return _OpenShard(self._shards[number], self._store or Path(self._place))

    def _decoded(self, data: bytes) -> dict[str, Any]:
        """Sizes of the values that vary, then all values."""
        varying = sum(column.size is None for column in self._columns)
        if len(data) < 4 * varying:
            raise SampleReadError(f"it has {len(data)} bytes, too few for its {varying} sizes")
        declared = iter(np.frombuffer(data[: 4 * varying], "<u4").tolist())
        sizes = [next(declared, -1) if c.size is None else c.size for c in self._columns]
        if min(sizes) < 0 or 4 * varying + sum(sizes) != len(data):
            raise SampleReadError(f"its values have {sizes} bytes, together not {len(data)}")
        sample, position = {}, 4 * varying
        for column, decode, size in zip(self._columns, self._decoders, sizes, strict=True):
            sample[column.name] = decode_value(column, decode, data[position : position + size])
            position += size
        return sample


class _OpenShard:
    """A shard that samples are read from; opened when the first one is."""

    def __init__(self, shard: Shard, place: ObjectStore | Path) -> None:
        self._shard, self._place = shard, place
        self._lock = threading.Lock()
        self._file: StoredFile | None = None
        self._data: bytes | None = None

    def sample(self, row: int) -> bytes:
        """The bytes of a sample."""
        num_samples = self._shard.num_samples
        begin, end = np.frombuffer(self._read(4 + 4 * row, 12 + 4 * row), "<u4").tolist()
        if not 4 * (num_samples + 2) <= begin <= end <= self._shard.num_bytes:
            raise SampleReadError(
                f"it lies from byte {begin} to {end} of {self._shard.num_bytes}: the shard is "
                "damaged"
            )
        return self._read(begin, end)

    def _read(self, start: int, stop: int) -> bytes:
        with self._lock:
            if self._file is None and self._data is None:
                self._open()
        if self._data is not None:
            return self._data[start:stop]
        assert self._file is not None
        return self._file.read(start, stop)

    def _open(self) -> None:
        shard = self._shard
        try:
            file: StoredFile = (
                ObjectFile(self._place, self._place.stat(shard.name))
                if isinstance(self._place, ObjectStore)
                else LocalFile(self._place / shard.name)
            )
        except (SourceError, RemoteNotFoundError) as error:
            raise SampleReadError(str(error)) from error
        if file.size != shard.stored_bytes:
            raise SampleReadError(
                f"the shard has {file.size} bytes, expected {shard.stored_bytes}: it is cut off"
            )
        if shard.num_bytes < 4 * (shard.num_samples + 2):
            head = b""
        elif shard.compression is None:
            head = file.read(0, 4)
            self._file = NeighbouringReads(file) if file.is_remote else file
        else:
            self._data = _unpacked(file.read(0, file.size), shard)
            head = self._data[:4]
        if int.from_bytes(head, "little") != shard.num_samples or not head:
            self._file = self._data = None
            raise SampleReadError(
                f"the shard has no table of {shard.num_samples} samples: it is damaged"
            )


def _unpacked(data: bytes, shard: Shard) -> bytes:
    """The bytes of a compressed shard, never more than the index says."""
    try:
        if shard.compression == "zstd":
            found = unpack(data, shard.num_bytes)
        elif shard.compression == "gz":
            stream = zlib.decompressobj(wbits=31)
            found = stream.decompress(data, shard.num_bytes + 1)
        else:
            found = bz2.BZ2Decompressor().decompress(data, shard.num_bytes + 1)
    except (OSError, EOFError, ValueError, zlib.error, gzip.BadGzipFile) as error:
        raise SampleReadError(f"the shard cannot be unpacked: {error}") from error
    if len(found) != shard.num_bytes:
        raise SampleReadError(
            f"the shard unpacks to {len(found)} bytes, or more; expected {shard.num_bytes}"
        )
    return found


def _check_compression(shard: Shard, where: str) -> None:
    if shard.compression is None:
        return
    if shard.compression not in _COMPRESSIONS:
        raise SourceError(
            f"{where}: {shard.name} is compressed by {shard.compression}; only "
            f"{', '.join(_COMPRESSIONS)} are read"
        )
    is_plain = shard.num_bytes <= min(_MAX_PLAIN_BYTES, _PLAIN_RATIO * shard.stored_bytes)
    if shard.num_bytes > _MAX_UNPACKED_BYTES and not is_plain:
        raise SourceError(
            f"{where}: {shard.name} unpacks to {shard.num_bytes} bytes; at most "
            f"{_MAX_UNPACKED_BYTES} are held in memory ({_MAX_PLAIN_BYTES} where they are at most "
            f"{_PLAIN_RATIO} times what is stored): write smaller shards (MDSWriter(size_limit=))"
        )


def _read_index_file(place: ObjectStore | Path) -> bytes:
    if isinstance(place, ObjectStore):
        return place.read(INDEX_NAME)
    size_of_file(place / INDEX_NAME)
    return (place / INDEX_NAME).read_bytes()
