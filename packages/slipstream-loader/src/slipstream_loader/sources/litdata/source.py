"""``LitDataSource``: a data set that LitData has written, in a directory or below a URL."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from slipstream_cache import FieldSpec, default_cache_root, infer_field_types
from slipstream_loader.errors import (
    RemoteNotFoundError,
    SampleReadError,
    SourceError,
)
from slipstream_loader.sources.litdata.arrow_rows import ArrowRows
from slipstream_loader.sources.litdata.chunks import Chunks
from slipstream_loader.sources.litdata.index import (
    INDEX_NAME,
    NoIndexError,
    UnknownLayoutError,
    parse_index,
)
from slipstream_loader.sources.litdata.samples import sample_layout
from slipstream_loader.sources.object_store import (
    ObjectStore,
    is_object_url,
    open_object_store,
)
from slipstream_loader.sources.stored_file import size_of_file

_logger = logging.getLogger(__name__)

_DOWNLOADS: Final = "downloads"


class LitDataSource:
    """The samples of a LitData data set, read without litdata.

    A sample is a dict of the fields that the data set was written with; what samples that are no
    dicts give is told in ``slipstream_loader.sources.litdata.tree``. Images are the bytes of their
    files as they were written; images that were written as pixels (``pil``) become PNG files.
    Tensors become arrays. Audio, video and other files are ``bytes``.

    Parameters
    ----------
    location : str, path or ObjectStore
        The directory that holds ``index.json``, or its URL ``s3://bucket/prefix``, which may be
        open already.
    storage_options : mapping, optional
        For a URL: see `slipstream_loader.sources.object_store.open_object_store`.
    profile : str, optional
        For a URL: a profile of the AWS configuration, or ``"wasabi"``.
    expected_version : str, optional
        The ``updated_at`` that the index should have: another one is an error.
    allow_pickle : bool
        Load pickled values of any kind, which can run any code; by default only NumPy scalars.
    download_dir : path, optional
        Where chunks are downloaded and unpacked to while they are read, about 1 GiB of them; by
        default the folder ``downloads`` beside the caches. Nothing stays there.

    Raises
    ------
    UnknownLayoutError
        It is of a layout that is not read here.
    SourceError
        The index is damaged or of another version, or the first sample cannot be read;
        `EmptyDatasetError` when there are no samples.
    RemoteError
        The index cannot be downloaded.

    Notes
    -----
    Sample ids are positions in the order of the index. Reading is safe from several threads.
    Samples in a row come from chunks that are downloaded ahead, several at a time; single samples
    are requested alone. The object can be pickled; a pickle holds `storage_options`.
    """

    kind: Final = "litdata"

    def __init__(
        self,
        location: str | os.PathLike[str] | ObjectStore,
        *,
        storage_options: Mapping[str, Any] | None = None,
        profile: str | None = None,
        expected_version: str | None = None,
        allow_pickle: bool = False,
        download_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        self._location = _located(location, storage_options, profile)
        directory = default_cache_root() / _DOWNLOADS if download_dir is None else download_dir
        self._download_dir = Path(directory).expanduser().absolute()
        self._index = parse_index(_read_index(self._location), f"{self.uri}/{INDEX_NAME}")
        if expected_version is not None and self.version != str(expected_version):
            raise SourceError(
                f"{self.uri} is of version {self.version}, expected {expected_version}: the data "
                "set was written again, or this is another one"
            )
        self._allow_pickle = allow_pickle
        self._chunks = Chunks(self._location, self._index, self._download_dir)
        try:
            self._layout = sample_layout(self._index, allow_pickle=allow_pickle)
            self._field_types = self._infer_fields()
        except UnknownLayoutError as error:
            error.fingerprint = self._index.fingerprint
            raise

    @property
    def uri(self) -> str:
        """The absolute path of the directory, or the URL."""
        return (
            self._location.url if isinstance(self._location, ObjectStore) else str(self._location)
        )

    @property
    def store(self) -> ObjectStore | None:
        """Where the chunks are, if that is a URL."""
        return self._location if isinstance(self._location, ObjectStore) else None

    @property
    def version(self) -> str | None:
        """When the data set was written last, as the index says it; None if it does not."""
        return self._index.version

    @property
    def field_types(self) -> Mapping[str, FieldSpec]:
        """The fields of every sample, told from the first one."""
        return dict(self._field_types)

    @property
    def mean_sample_bytes(self) -> int:
        """As the index tells it."""
        return sum(chunk.num_bytes for chunk in self._index.chunks) // len(self)

    def __len__(self) -> int:
        return self._index.num_samples

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of the {len(self)} in {self.uri}")
        number, position = self._index.locate(index)
        try:
            chunk = self._chunks.open(number, position)
            if isinstance(chunk, ArrowRows):
                return self._layout.of_row(chunk.row(position))
            return self._layout.of_item(chunk.item(position))
        except (SampleReadError, FileNotFoundError) as error:
            problem = "there is no such file" if isinstance(error, FileNotFoundError) else error
            raise SampleReadError(f"{self.uri}/{self.describe(index)}: {problem}") from error

    def fingerprint(self) -> str:
        """Hash of the content of the index: 64 hexadecimal characters."""
        return self._index.fingerprint

    def describe(self, index: int, /) -> str:
        """Return ``chunk-0-0.bin[12]``."""
        number, position = self._index.locate(index)
        return f"{self._index.chunks[number].name}[{position}]"

    def begin_downloads(self) -> None:
        """Download the first chunks of a URL: a build is about to read all of them.

        What reads single samples of these chunks meanwhile waits for them, which takes less than
        requests of its own.
        """
        if self.store is not None:
            self._chunks.begin()

    def close(self) -> None:
        """Stop downloads and close all chunks and connections; reading opens them again."""
        self._chunks.close()
        if isinstance(self._location, ObjectStore):
            self._location.close()

    def copied_to(self, directory: Path) -> LitDataSource:
        """Return the same samples, read from a copy of all objects of the URL."""
        return LitDataSource(
            directory,
            expected_version=self.version,
            allow_pickle=self._allow_pickle,
            download_dir=self._download_dir,
        )

    def __repr__(self) -> str:
        return f"LitDataSource({self.uri!r}: {len(self)} samples)"

    def __getstate__(self) -> dict[str, Any]:
        remade = ("_chunks", "_layout")
        return {name: value for name, value in self.__dict__.items() if name not in remade}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._chunks = Chunks(self._location, self._index, self._download_dir)
        self._layout = sample_layout(self._index, allow_pickle=self._allow_pickle)

    def _infer_fields(self) -> dict[str, FieldSpec]:
        try:
            first = self[0]
        except SampleReadError as error:
            raise SourceError(f"the kinds of the fields cannot be told: {error}") from error
        inferred = infer_field_types(first)
        images, optional = self._layout.image_fields, self._index.optional
        for name, spec in inferred.items():
            if name in images:
                inferred[name] = FieldSpec("image")
            elif name in optional and (spec.content == "str" or spec.kind == "dense"):
                inferred[name] = FieldSpec("ragged", content="json")
        return inferred


def is_litdata(directory: Path) -> bool:
    """Tell whether a directory holds a LitData data set."""
    return (directory / INDEX_NAME).is_file()


def _located(
    given: str | os.PathLike[str] | ObjectStore,
    storage_options: Mapping[str, Any] | None,
    profile: str | None,
) -> Path | ObjectStore:
    if isinstance(given, ObjectStore):
        return given
    location = os.fspath(given)
    if is_object_url(location):
        return open_object_store(location, storage_options, profile=profile)
    if storage_options is not None or profile is not None:
        raise SourceError(f"{location} is no URL: storage_options and profile have no meaning")
    return Path(location).expanduser().absolute()


def _read_index(location: Path | ObjectStore) -> bytes:
    try:
        if isinstance(location, ObjectStore):
            return location.read(INDEX_NAME)
        size_of_file(location / INDEX_NAME)
        return (location / INDEX_NAME).read_bytes()
    except (RemoteNotFoundError, FileNotFoundError, NotADirectoryError) as error:
        place = location.url if isinstance(location, ObjectStore) else location
        raise NoIndexError(
            f"there is no {INDEX_NAME} in {place}: no data set of LitData; is it the folder that "
            f"holds the chunks?"
        ) from error
