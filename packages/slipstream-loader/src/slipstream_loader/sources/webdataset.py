"""WebDataset's shards: tar archives whose members make up samples, read without webdataset."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from slipstream_cache import FieldNameError, FieldSpec
from slipstream_cache.field_types import validate_fields
from slipstream_loader.errors import (
    EmptyDatasetError,
    LoaderError,
    SampleReadError,
    SourceError,
)
from slipstream_loader.sources.file_listing import (
    FileListing,
    keep_listing,
    listing_root,
    load_listing,
)
from slipstream_loader.sources.file_names import MAX_FILE_BYTES, PackedNames, printable
from slipstream_loader.sources.forward_file import Compression, open_forward, sniff_compression
from slipstream_loader.sources.object_store import (
    ObjectStore,
    is_object_url,
    open_object_store,
)
from slipstream_loader.sources.open_shards import OpenShards
from slipstream_loader.sources.shard_names import expand
from slipstream_loader.sources.stored_file import (
    ObjectFile,
    StoredFile,
    open_stored_file,
    without_secrets,
)
from slipstream_loader.sources.tar_headers import TarMember, iter_members
from slipstream_loader.sources.tar_members import MemberReader
from slipstream_loader.sources.webdataset_samples import (
    Component,
    ShardSamples,
    choose_components,
    component_spec,
    decode_member,
    group_members,
    split_name,
)

_RECIPE: Final = "webdataset 1"
_KEY: Final = "key"
_LISTING_THREADS: Final = 8
_SNIFFED_MEMBERS: Final = 8
_SNIFFED_ARCHIVES: Final = 8
_WINDOW_BYTES: Final = 1 << 20


class WebDatasetSource:
    """The samples of WebDataset shards.

    The only image of a sample is the field ``image``, whatever its format; ``.cls`` is ``label``;
    other members are fields named by their extensions: numbers, text, JSON values, arrays (`.npy`)
    and, for all else, bytes. ``key`` is the sample's key. Pickles are bytes; none is ever loaded.

    Parameters
    ----------
    location : str, path, or sequence of them
        The shards: a path, or a URL ``s3://``, ``http://``, ``https://``; with brace lists
        (``train-{000..146}.tar``), ``::`` between several, ``*`` in local ones. Plain or
        compressed by gzip, bzip2 or xz, told by the content.
    extensions : sequence of str, optional
        The members to take, such as ``["jpg", "cls"]``; default: all.
    storage_options : mapping, optional
        Of ``s3://`` URLs; see ``open_object_store``.
    cache_root : path, optional
        Where hashes and listings of the shards are remembered; default: the caches' root.

    Raises
    ------
    SourceError
        When a shard does not exist, is cut off or damaged, or samples lack a member that others
        have; `EmptyDatasetError` when there are no samples.
    RemoteError
        When a server fails.

    Notes
    -----
    The first time, every shard is read once to list it. Source: ``webdataset_samples``.
    """

    kind: Final = "webdataset"

    def __init__(
        self,
        location: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        extensions: Sequence[str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
        cache_root: Path | None = None,
    ) -> None:
        given = [location] if isinstance(location, (str, os.PathLike)) else list(location)
        self._given = [os.fspath(place) for place in given]
        places = [name for place in self._given for name in expand(place)]
        files = _Files(storage_options, cache_root)
        with ThreadPoolExecutor(_LISTING_THREADS, thread_name_prefix="slipstream-list") as pool:
            self._shards = list(pool.map(partial(_open_shard, files, cache_root), places))
        self._starts = np.cumsum([0, *(len(shard.samples) for shard in self._shards)])
        if not len(self):
            raise EmptyDatasetError(f"{self.uri} has no samples")
        samples = [shard.samples for shard in self._shards]
        chosen = choose_components(samples, extensions, self.uri)
        self._components = chosen
        self._start()
        self._components, self._field_types = self._types(chosen)

    def _start(self) -> None:
        self._open = OpenShards(
            self._reader,
            [len(shard.samples) for shard in self._shards],
            [int(shard.listing.sizes.sum()) for shard in self._shards],
        )

    @property
    def uri(self) -> str:
        """What was given, without credentials."""
        shown = [without_secrets(place) for place in self._given]
        return shown[0] if len(shown) == 1 else f"{shown[0]} and {len(shown) - 1} more"

    @property
    def field_types(self) -> Mapping[str, FieldSpec]:
        """The fields of every sample."""
        return dict(self._field_types)

    @property
    def is_sequential(self) -> bool:
        """Whether samples are best read in their order."""
        return any(shard.is_sequential for shard in self._shards)

    @property
    def mean_sample_bytes(self) -> int:
        """As the headers tell it."""
        extensions = [ext for component in self._components for ext in component.extensions]
        sizes = (shard.listing.sizes[shard.members(extensions)].sum() for shard in self._shards)
        return int(sum(sizes)) // len(self)

    def sample_bytes(self, index: int, /) -> int:
        """Bytes of the members."""
        number, row = self._place(index)
        shard = self._shards[number]
        members = [shard.member(row, component.extensions) for component in self._components]
        return int(shard.listing.sizes[members].sum())

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of the {len(self)} in {self.uri}")
        number, row = self._place(index)
        try:
            shard = self._open.for_sample(number, row)
            sample = {
                component.name: decode_member(
                    component, self._member(shard, number, row, component)
                )
                for component in self._components
            }
        except SampleReadError as error:
            raise SampleReadError(f"{self.describe(index)}: {error}") from error
        return {**sample, _KEY: printable(self._shards[number].samples.keys[row])}

    def fingerprint(self) -> str:
        """Hash of the shards' contents, or of their ETags: 64 hexadecimal characters."""
        fields = [f"{component.name}={component.extensions}" for component in self._components]
        identities = [shard.identity for shard in self._shards]
        text = "\0".join([_RECIPE, *fields, *identities])
        return hashlib.sha256(text.encode()).hexdigest()

    def describe(self, index: int, /) -> str:
        """Return shard and key of a sample."""
        number, row = self._place(index)
        shard = self._shards[number]
        return f"{shard.uri.rpartition('/')[2]} {printable(shard.samples.keys[row])}"

    def close(self) -> None:
        """Forget what was read ahead; reading begins anew."""
        self._open.close()

    def __repr__(self) -> str:
        return f"WebDatasetSource({self.uri!r}: {len(self)} samples of {len(self._shards)} shards)"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_open"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def _types(self, chosen: list[Component]) -> tuple[list[Component], dict[str, FieldSpec]]:
        """The fields with their types, told from the first sample."""
        number, row = self._place(0)
        try:
            shard = self._open.for_sample(number, row)
            found = [component_spec(c, self._member(shard, number, row, c)) for c in chosen]
        except (SampleReadError, ValueError) as error:
            raise SourceError(
                f"{self.uri}: the first sample tells the types: {self.describe(0)}: {error}"
            ) from error
        fields = {component.name: spec for component, spec in found}
        if _KEY in fields:
            raise SourceError(f"{self.uri}: a member would be named {_KEY!r}; leave it out")
        fields[_KEY] = FieldSpec("ragged", content="str")
        try:
            validate_fields(fields)
        except FieldNameError as error:
            raise SourceError(f"{self.uri}: {error}") from error
        return [component for component, _ in found], fields

    def _place(self, index: int) -> tuple[int, int]:
        """Shard, and sample in it."""
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return number, index - int(self._starts[number])

    def _member(self, shard: MemberReader, number: int, row: int, component: Component) -> bytes:
        return shard[self._shards[number].member(row, component.extensions)]

    def _reader(self, number: int) -> MemberReader:
        shard = self._shards[number]
        listing = shard.listing
        return MemberReader(copy(shard.file), shard.compression, listing.starts, listing.sizes)


@dataclass(frozen=True)
class _Shard:
    """One archive and what is in it."""

    file: StoredFile
    identity: str
    compression: Compression
    listing: FileListing
    samples: ShardSamples

    @property
    def uri(self) -> str:
        return self.file.uri

    @property
    def is_sequential(self) -> bool:
        return self.file.is_remote or self.compression != "none"

    def member(self, row: int, extensions: Sequence[str]) -> int:
        """Number of a sample's member that has one of some extensions."""
        members = self.samples.members
        return int(max(members[ext][row] for ext in extensions if ext in members))

    def members(self, extensions: Sequence[str]) -> NDArray[np.int64]:
        """Numbers of all members of some extensions."""
        found = [self.samples.members[ext] for ext in extensions if ext in self.samples.members]
        numbers = np.concatenate(found)
        return numbers[numbers >= 0]


class _Files:
    """Opens shards; those of one bucket share a connection."""

    def __init__(self, storage_options: Mapping[str, Any] | None, cache_root: Path | None) -> None:
        self._options, self._cache_root = storage_options, cache_root
        self._stores: dict[str, ObjectStore] = {}

    def open(self, location: str) -> StoredFile:
        if not is_object_url(location):
            return open_stored_file(location, cache_root=self._cache_root)
        bucket = urlsplit(location).netloc
        if bucket not in self._stores:
            self._stores[bucket] = open_object_store(f"s3://{bucket}", self._options)
        store = self._stores[bucket]
        return ObjectFile(store, store.stat(location[len(f"s3://{bucket}/") :]))


def _open_shard(files: _Files, cache_root: Path | None, location: str) -> _Shard:
    file = files.open(location)
    if not file.size:
        raise SourceError(f"{file.uri} is empty, and no tar archive")
    identity = file.identity()
    compression = sniff_compression(file)
    digest = hashlib.sha256(f"{_RECIPE}\0{identity}".encode()).hexdigest()
    directory = listing_root(cache_root) / f"webdataset-{digest[:32]}"
    listing = load_listing(directory) or keep_listing(directory, _list_shard(file, compression))
    samples = group_members(listing.names, file.uri)
    return _Shard(copy(file), identity, compression, listing, samples)  # nothing stays open


def _list_shard(file: StoredFile, compression: Compression) -> FileListing:
    reader = open_forward(file, compression)
    try:
        members = [m for m in iter_members(reader, file.uri) if _is_taken(m, file.uri)]
        if compression != "none":
            reader.skip(1 << 62)  # to the checksum at the end
    except SampleReadError as error:
        raise SourceError(str(error)) from error
    finally:
        reader.close()
    numbers = np.array([(m.start, m.size) for m in members], np.int64).reshape(-1, 2)
    return FileListing(
        PackedNames.pack(member.name for member in members),
        sizes=numbers[:, 1].copy(),
        labels=np.zeros(len(members), np.int64),
        starts=numbers[:, 0].copy(),
        classes=[],
    )


def _is_taken(member: TarMember, where: str) -> bool:
    """Whether a member belongs to a sample; links and devices do not, large ones are refused."""
    if member.kind != "file" or split_name(member.name) is None:
        return False
    if member.size > MAX_FILE_BYTES:
        raise SourceError(
            f"{where}: {printable(member.name)} has {member.size:,} bytes; at most "
            f"{MAX_FILE_BYTES:,} are held in memory"
        )
    return True


def is_shard(file: StoredFile) -> bool:
    """Tell whether an archive looks like a shard: its first files are parts of one sample.

    Class folders may hold notes beside images: files in a folder count as a sample only if one of
    them is a label.
    """
    try:
        names = _first_names(file)
    except (LoaderError, OSError):
        return False  # whoever opens it tells what is wrong
    first = [extension for key, extension in names if key == names[0][0]]
    return len(first) > 1 and ("cls" in first or "/" not in names[0][0])


def _first_names(file: StoredFile) -> list[tuple[str, str]]:
    """Key and extension of the first members of an archive."""
    compression = sniff_compression(file) if file.size else "none"
    reader = _Headers(file) if compression == "none" else open_forward(file, compression)
    names = []
    try:
        for member in iter_members(reader, file.uri):
            parts = split_name(member.name) if member.kind == "file" else None
            if parts is not None:
                names.append(parts)
            if len(names) == _SNIFFED_MEMBERS:
                break
    finally:
        reader.close()
    return names


class _Headers:
    """Reads little of a plain archive: the headers of its first members, a few by one request."""

    def __init__(self, file: StoredFile) -> None:
        self._file, self.position = file, 0
        self._start, self._window = 0, b""

    def read(self, size: int) -> bytes:
        begin = min(self.position, self._file.size)
        end = min(begin + size, self._file.size)
        self.position += size
        if not self._start <= begin <= end <= self._start + len(self._window):
            wanted = max(end, begin + _WINDOW_BYTES) if self._file.is_remote else end
            self._start = begin
            self._window = self._file.read(begin, min(wanted, self._file.size))
        return self._window[begin - self._start : end - self._start]

    def skip(self, size: int) -> None:
        self.position += size

    def close(self) -> None:
        """Nothing is open."""


def archives_in(directory: Path) -> list[Path]:
    """The archives that a folder holds, sorted."""
    return sorted(directory.glob("*.tar"))


def are_shards(archives: Sequence[Path]) -> bool:
    """Tell whether archives look like shards: the first ones may be damaged, but not all."""
    return any(map(_is_shard_at, archives[:_SNIFFED_ARCHIVES]))


def _is_shard_at(path: Path) -> bool:
    try:
        return is_shard(open_stored_file(path))
    except SourceError:
        return False


def why_no_shard(archive: Path) -> str:
    """What is wrong with an archive that does not look like a shard."""
    try:
        _first_names(open_stored_file(archive))
    except (LoaderError, OSError) as error:
        return str(error)
    return f"{archive} is no shard of WebDataset; open it by its name"
