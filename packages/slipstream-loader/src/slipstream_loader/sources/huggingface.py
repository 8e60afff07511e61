"""Data sets of Hugging Face: on the Hub (``hf://datasets/...``), or opened by ``datasets``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Final

import numpy as np

from slipstream_cache import FieldSpec
from slipstream_cache.file_hashes import content_hash
from slipstream_cache.processors import usable_processors
from slipstream_loader.errors import (
    EmptyDatasetError,
    RemoteError,
    RemoteNotFoundError,
    SampleReadError,
    SourceError,
)
from slipstream_loader.sources.arrow_hash import hash_of_table
from slipstream_loader.sources.arrow_rows import ArrowForm, class_names, import_pyarrow
from slipstream_loader.sources.block_reader import Block, BlockReader
from slipstream_loader.sources.sequence import SequenceSource
from slipstream_loader.sources.table_splits import files_of_split

_URL: Final = re.compile(
    r"hf://datasets/(?P<repo>[\w.-]+(?:/[\w.-]+)?)"
    r"(?:@(?P<revision>refs/[\w.-]+/[\w.-]+|[\w.-]+))?(?:/(?P<path>.*))?"
)
_CONVERTED: Final = "refs/convert/parquet"
"""The branch on which the Hub keeps a parquet form of other data sets."""
_RECIPE: Final = "hugging face data set 3"
_KINDS: Final = frozenset(
    {
        ("datasets.arrow_dataset", "Dataset"),
        ("datasets.dataset_dict", "DatasetDict"),
        ("datasets.dataset_dict", "IterableDatasetDict"),
    }
)
_STREAM: Final = ("datasets.iterable_dataset", "IterableDataset")
_BLOCK_ROWS: Final = 64
_BLOCK_FILES: Final = 8
"""Rows of a block whose images are files of their own, which may be large."""
_READ_AHEAD_BYTES: Final = 8 << 20


def is_hub_url(location: str) -> bool:
    """Tell whether a location is on the Hugging Face Hub."""
    return location.startswith("hf://")


class HubTables:
    """The parquet files of a data set on the Hugging Face Hub, at one revision.

    Parameters
    ----------
    url : str
        ``hf://datasets/<owner>/<name>[@revision][/folder or file]``.
    split : str
        Files of other splits are left out, as their names tell, unless the URL names a file.

    Raises
    ------
    RemoteError
        The Hub cannot be asked, or has no such data set.
    SourceError
        The URL is of another form, or leaves a choice of several configurations.
    """

    is_remote = True

    def __init__(self, url: str, split: str = "train") -> None:
        found = _URL.fullmatch(url.rstrip("/"))
        if found is None:
            raise SourceError(f"{url} is no URL of the form hf://datasets/owner/name[@revision]")
        path = found["path"] or ""
        self._repo, self._sha, files = _ask_hub(found["repo"], found["revision"])
        tables = _below(files, path)
        if not tables and found["revision"] is None:
            self._repo, self._sha, files = _ask_hub(found["repo"], _CONVERTED)
            tables = _below(files, path)
        if not tables:
            raise EmptyDatasetError(f"{url} has no parquet files")
        self.names: Sequence[str] = (
            tables if tables == [path] else files_of_split(tables, split, url)
        )

    @property
    def uri(self) -> str:
        """The URL with the commit."""
        return f"hf://datasets/{self._repo}@{self._sha}"

    def open(self, name: str) -> Any:
        """See ``TableFiles``."""
        from huggingface_hub import HfFileSystem

        path = f"datasets/{self._repo}@{self._sha}/{name}"
        try:
            return HfFileSystem().open(path, block_size=_READ_AHEAD_BYTES)
        except _hub_errors() as error:
            raise RemoteError(f"{self.uri}/{name} cannot be opened: {error}") from error

    def identity(self) -> str:
        """See ``TableFiles``: data set and commit."""
        return f"{self._repo}@{self._sha}"


class HuggingFaceSource:
    """The rows of a ``datasets.Dataset``, one sample each.

    Parameters
    ----------
    dataset : datasets.Dataset
        One split. Images are taken as the files that the data set holds, undecoded; columns that
        its format leaves out are left out.
    name : str, optional
        A name for this content, which takes the place of its fingerprint.
    allow_paths : bool
        Open the files of images that are only paths, as ``load_dataset("imagefolder")`` makes them.
        A data set from people you do not know could name any file of yours; by default such an
        image is an error.

    Raises
    ------
    EmptyDatasetError
        It has no rows.
    SourceError
        It has a transform, which is not applied here: see ``open_hugging_face``.

    Notes
    -----
    Columns become fields as ``ArrowForm`` says. The fingerprint is a hash of all values: each is
    read once for it, unless there is a name.
    """

    kind: Final = "huggingface"

    def __init__(self, dataset: Any, name: str | None = None, *, allow_paths: bool = False) -> None:
        import_pyarrow()
        if len(dataset) == 0:
            raise EmptyDatasetError("the data set has no rows")
        if _has_transform(dataset):
            raise SourceError(
                "the data set has a transform. To store what it holds, take off the transform: "
                "dataset.reset_format(); to store what the transform gives, name that: "
                "name='my-data-v1'"
            )
        columns = dataset.format["columns"]
        self._dataset, self._name = dataset.with_format("arrow", columns=columns), name
        self._allow_paths = allow_paths
        self._block_rows = _BLOCK_FILES if allow_paths else _BLOCK_ROWS
        self._form = ArrowForm(self._table(0, 1).schema, self._table(0, 1), self._where)
        self.classes: list[str] = class_names(dataset.features.arrow_schema)
        """Names of the classes of the only class label; else empty."""

    @property
    def uri(self) -> str:
        """The name of the data set, or that it is one in memory."""
        return f"memory:{self._where}"

    @property
    def field_types(self) -> Mapping[str, FieldSpec]:
        """The fields of every sample."""
        return dict(self._form.fields)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of the {len(self)} in {self.uri}")
        return dict(self._blocks[index])

    def fingerprint(self) -> str:
        """Hash of the name, or of all values: 64 hexadecimal characters."""
        return self._fingerprint

    def describe(self, index: int, /) -> str:
        """Return ``name[index]``."""
        return f"{self._where}[{index}]"

    def close(self) -> None:
        """Forget what was read; reading begins anew."""
        vars(self).pop("_blocks", None)

    def __repr__(self) -> str:
        return f"HuggingFaceSource({self.uri}: {len(self)} rows)"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_blocks"}

    @property
    def _where(self) -> str:
        return self._name or str(self._dataset.info.dataset_name or "dataset")

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(f"{_RECIPE}\0{len(self)}\0".encode())
        digest.update((self._name or self._hash_of_values()).encode())
        return digest.hexdigest()

    def _hash_of_values(self) -> str:
        digest = content_hash()
        digest.update(str(self._table(0, 1).schema.remove_metadata()).encode())
        begins = range(0, len(self), self._block_rows)
        with ThreadPoolExecutor(usable_processors(), "slipstream-hash") as pool:
            for found in pool.map(self._hash_of_block, begins):
                digest.update(found)
        return digest.hexdigest()

    def _hash_of_block(self, begin: int) -> bytes:
        return hash_of_table(self._table(begin, begin + self._block_rows))

    def _table(self, begin: int, end: int) -> Any:
        table = self._dataset[begin : min(end, len(self))]
        if not self._allow_paths:
            return table
        from datasets.table import embed_table_storage

        return embed_table_storage(table)

    @cached_property
    def _blocks(self) -> BlockReader[dict[str, Any]]:
        firsts = np.append(np.arange(0, len(self), self._block_rows), len(self))
        return BlockReader(firsts, np.arange(firsts.size - 1), self._read_block, ahead=0)

    def _read_block(self, number: int) -> Iterator[Block[dict[str, Any]]]:
        begin = number * self._block_rows
        table = self._table(begin, begin + self._block_rows)
        try:
            samples = self._form.samples(table, begin)
        except SourceError as error:
            raise SampleReadError(str(error)) from error
        yield Block(number, samples, table.nbytes)


def open_hugging_face(dataset: Any, name: str | None = None) -> HuggingFaceSource | SequenceSource:
    """The rows of a ``datasets.Dataset``; one with a transform and a name: what that gives.

    The transform is called once for each sample, when the cache is built.

    Raises
    ------
    SourceError
        It has a transform and no name; or it is a dict of several splits.
    """
    if isinstance(dataset, dict):
        splits = list(dataset)
        first = splits[0] if splits else "train"
        raise SourceError(f"the data set has the splits {splits}: give one, data[{first!r}]")
    if name is not None and _has_transform(dataset):
        return SequenceSource(dataset, name)
    return HuggingFaceSource(dataset, name)


def _has_transform(dataset: Any) -> bool:
    return bool(dataset.format["type"] == "custom")


def is_hugging_face(source: Any) -> bool:
    """Tell whether an object is a ``datasets.Dataset``, or several, without importing that."""
    return not _KINDS.isdisjoint(_names_of(source))


class UndecodedStream:
    """The samples of a ``datasets.IterableDataset``, with the files of its images.

    An image that has no file with it, but only a path, is decoded by the data set.

    Parameters
    ----------
    stream : datasets.IterableDataset
        Its ``features`` are known.
    """

    def __init__(self, stream: Any) -> None:
        from datasets import Image

        features = stream.features
        self._images = {n: f for n, f in features.items() if isinstance(f, Image) and f.decode}
        for name, feature in self._images.items():
            stream = stream.cast_column(name, Image(mode=feature.mode, decode=False))
        self._stream = stream

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for sample in self._stream:
            for name, feature in self._images.items():
                value = sample[name]
                if value is not None and value["bytes"] is None:
                    sample[name] = feature.decode_example(value)
            yield sample


def undecoded(samples: Any) -> Any:
    """A stream of Hugging Face with the files of its images; anything else as it is."""
    if _STREAM not in _names_of(samples) or not samples.features or samples._formatting:
        return samples
    return UndecodedStream(samples)


def _names_of(source: Any) -> set[tuple[str, str]]:
    return {(kind.__module__, kind.__name__) for kind in type(source).__mro__}


def _ask_hub(repo: str, revision: str | None) -> tuple[str, str, list[str]]:
    """The full name of a data set, its commit, and its files."""
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
    except ImportError as error:
        raise ImportError(
            "hf:// URLs need huggingface-hub: pip install 'visionlab-slipstream-loader[hf]'"
        ) from error
    where = f"hf://datasets/{repo}" + (f"@{revision}" if revision else "")
    try:
        info = HfApi().dataset_info(repo, revision=revision)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise RemoteNotFoundError(
            f"{where}: there is no such data set or revision, or it is private: check the name, "
            "and log in with `hf auth login` or HF_TOKEN"
        ) from error
    except _hub_errors() as error:
        raise RemoteError(f"{where}: the Hub cannot be asked: {error}") from error
    return info.id, str(info.sha), sorted(file.rfilename for file in info.siblings or ())


def _hub_errors() -> tuple[type[Exception], ...]:
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, ValueError, *(kind for kind in HfHubHTTPError.__bases__))


def _below(files: Sequence[str], path: str) -> list[str]:
    tables = [name for name in files if name.endswith(".parquet")]
    return [name for name in tables if not path or name == path or name.startswith(f"{path}/")]
