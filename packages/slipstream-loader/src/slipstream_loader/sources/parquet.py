"""Parquet and Arrow files, local or remote: read by row groups, never whole.

Which files there are is told by ``LocalTables`` here, by ``stored_tables`` for S3 and web servers,
and by ``huggingface`` for the Hub.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from slipstream_cache import FieldSpec
from slipstream_cache.file_hashes import hash_of_file
from slipstream_loader.errors import (
    EmptyDatasetError,
    LoaderError,
    SampleReadError,
    SourceError,
)
from slipstream_loader.sources.arrow_file import ArrowFile
from slipstream_loader.sources.arrow_rows import (
    ArrowForm,
    bad_data_errors,
    class_names,
    import_pyarrow,
)
from slipstream_loader.sources.block_reader import Block, BlockReader
from slipstream_loader.sources.parquet_file import Footer, ParquetFile
from slipstream_loader.sources.stored_file import size_of_file
from slipstream_loader.sources.table_splits import files_of_split

if TYPE_CHECKING:
    import pyarrow as pa

ARROW_EXTENSIONS: Final = (".parquet", ".arrow")
"""Endings of the files that are read; an ``.arrow`` file is a stream or an IPC file."""

_RECIPE: Final = "tables 1"
_OPENED_AT_A_TIME: Final = 16
_MAX_BLOCKS: Final = 1 << 22
"""Of a file: of an Arrow file, 268 million rows."""


class TableFiles(Protocol):
    """The files of a table, and what names their content; it can be pickled."""

    @property
    def uri(self) -> str:
        """Where they are, for people; without credentials."""

    @property
    def names(self) -> Sequence[str]:
        """The files in their order, relative to ``uri``."""

    @property
    def is_remote(self) -> bool:
        """Whether a read takes a request over the network."""

    def open(self, name: str) -> Any:
        """Open a file for pyarrow: a path, or a file object."""

    def identity(self) -> str:
        """Name the content of all files."""


def holds_tables(directory: Path) -> bool:
    """Tell whether a folder, or a folder in it, holds parquet or Arrow files."""
    return any(name.lower().endswith(ARROW_EXTENSIONS) for name in names_in(directory))


def names_in(directory: Path) -> Iterator[str]:
    """Names of what is in a folder and in the folders in it; quick for a million images."""
    with os.scandir(directory) as entries:
        for entry in entries:
            yield entry.name
            if entry.is_dir() and os.access(entry, os.R_OK | os.X_OK):  # a source tells of others
                yield from os.listdir(entry)


class LocalTables:
    """A file, or all tables of a folder and the folders below it, sorted by name."""

    is_remote = False

    def __init__(self, path: str | os.PathLike[str], cache_root: Path | None = None) -> None:
        self._path, self._cache_root = Path(path).expanduser().absolute(), cache_root
        if self._path.is_dir():
            names = sorted(_tables_below(self._path))
            self.names: Sequence[str] = files_of_split(names, None, self.uri)
        else:
            self.names = [""]

    @property
    def uri(self) -> str:
        """The path."""
        return str(self._path)

    def open(self, name: str) -> str:
        """See ``TableFiles``; SourceError if it is a pipe or a device."""
        size_of_file(self._path / name)
        return str(self._path / name)

    def identity(self) -> str:
        """See ``TableFiles``: the hashes of the files."""
        paths = [self._path / name for name in self.names]
        return " ".join(hash_of_file(path, cache_root=self._cache_root) for path in paths)


def _tables_below(directory: Path) -> Iterator[str]:
    """Paths of tables in a folder and the folders below it, relative to it."""

    def fail(error: OSError) -> None:
        raise SourceError(f"{error.filename} cannot be read: {error.strerror}") from error

    for folder, _, names in os.walk(directory, onerror=fail):
        for name in names:
            if name.lower().endswith(ARROW_EXTENSIONS):
                yield (Path(folder) / name).relative_to(directory).as_posix()


class TableSource:
    """The rows of parquet or Arrow files, one sample each.

    Parameters
    ----------
    files : TableFiles, str or path
        The files; a path of one file, or of a folder of them.

    Raises
    ------
    SourceError
        When a file is damaged, or the files have different columns; `EmptyDatasetError` when there
        are no rows.
    ImportError
        pyarrow is not installed.

    Notes
    -----
    Columns become fields as ``ArrowForm`` says. Only the footers of parquet files are read here.
    """

    kind: Final = "tables"

    def __init__(self, files: TableFiles | str | os.PathLike[str]) -> None:
        import_pyarrow()
        if isinstance(files, (str, os.PathLike)):
            files = LocalTables(files)
        self._files: TableFiles = files
        if not self._files.names:
            raise EmptyDatasetError(f"no parquet or Arrow files in {self.uri}")
        self._known: dict[str, Footer | ArrowFile] = {}
        with ThreadPoolExecutor(_OPENED_AT_A_TIME if self._files.is_remote else 1) as pool:
            parts = list(pool.map(self._look_at, self._files.names))
        schemas = [part.schema for part in parts]
        self._check_schemas(schemas)
        self._is_read_in_steps = any(part.is_read_in_steps for part in parts)
        self._layout = _Layout(parts)
        if not len(self):
            raise EmptyDatasetError(f"{self.uri} has no rows")
        table = self._first_table(parts)
        try:
            self._form = ArrowForm(table.schema, table, self.uri)
            self.classes: list[str] = class_names(schemas[0])
            """Names of the classes where the files tell them; else empty."""
        except UnicodeDecodeError as error:
            raise SourceError(
                f"{self.uri}: a column's name or its first text is not UTF-8: {error}"
            ) from error

    @property
    def uri(self) -> str:
        """Where the files are."""
        return self._files.uri

    @property
    def field_types(self) -> Mapping[str, FieldSpec]:
        """The fields of every sample."""
        return dict(self._form.fields)

    @property
    def is_sequential(self) -> bool:
        """Whether samples are best read in their order."""
        return self._files.is_remote or self._is_read_in_steps

    def __len__(self) -> int:
        return int(self._layout.firsts[-1])

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of the {len(self)} in {self.uri}")
        return dict(self._blocks[index])

    def sample_bytes(self, index: int, /) -> int:
        """About the memory that a sample takes, as files tell it of its row group."""
        block = int(np.searchsorted(self._layout.firsts, index, side="right")) - 1
        return int(self._layout.row_bytes[block])

    def fingerprint(self) -> str:
        """Hash of the files' hashes, or of their revision: 64 hexadecimal characters."""
        names = "\0".join(self._files.names)
        text = f"{_RECIPE}\0{names}\0{self._files.identity()}"
        return hashlib.sha256(text.encode()).hexdigest()

    def describe(self, index: int, /) -> str:
        """Return file and row of a sample."""
        file, row = self._layout.place(index)
        return f"{self._files.names[file] or self.uri} row {row}"

    def close(self) -> None:
        """Forget what was read ahead; reading begins anew."""
        vars(self).pop("_blocks", None)

    def __repr__(self) -> str:
        return f"TableSource({self.uri!r}: {len(self)} rows of {len(self._files.names)} files)"

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name != "_blocks"}
        return {**state, "_known": {}}

    def _place(self, name: str) -> str:
        """A file, for messages."""
        return f"{self.uri}/{name}" if name else self.uri

    def _look_at(self, name: str) -> _TableFacts:
        """What is told of a file, which is not kept open: there may be more than a process can."""
        file = self._open(name)
        if isinstance(file, ParquetFile):
            file.close()
        pairs = zip(file.group_rows, file.steps, strict=True)
        if sum(-(-rows // step) for rows, step in pairs) > _MAX_BLOCKS:
            raise SourceError(
                f"{self._place(name)} claims to have {sum(file.group_rows):,} rows: it is damaged, "
                "or has to be split into several files"
            )
        return _TableFacts(
            file.schema,
            file.group_rows,
            file.steps,
            file.row_bytes,
            file.group_bytes,
            is_read_in_steps=file.is_read_in_steps,
        )

    def _open(self, name: str) -> ParquetFile | ArrowFile:
        """Open a file, whichever of the formats it is; what is known of it is not read again."""
        known = self._known.get(name)
        if isinstance(known, ArrowFile):
            return known
        opened = self._files.open(name)
        try:
            if (name or self.uri).lower().endswith(".arrow"):
                self._known[name] = arrow = ArrowFile(opened)
                return arrow
            table = ParquetFile(opened, known, is_remote=self._files.is_remote)
        except SourceError as error:
            raise SourceError(f"{self._place(name)}: {error}") from error
        except LoaderError:
            raise
        except bad_data_errors() as error:
            raise SourceError(f"{self._place(name)} cannot be opened: {error}") from error
        self._known[name] = table.footer
        return table

    def _first_table(self, parts: Sequence[_TableFacts]) -> pa.Table:
        """The first rows, of which there are some."""
        number = next(k for k, part in enumerate(parts) if sum(part.group_rows))
        name = self._files.names[number]
        group = next(k for k, rows in enumerate(parts[number].group_rows) if rows)
        where = f"{self._place(name)}: row group {group}"
        try:
            tables = self._open(name).tables(group, 0)
            table = next((table for table in tables if table.num_rows), None)
        except bad_data_errors() as error:
            raise SourceError(f"{where} cannot be read: {error}") from error
        if table is None:
            raise SourceError(f"{where} has no rows, expected some")
        return table

    def _check_schemas(self, schemas: Sequence[pa.Schema]) -> None:
        for name, schema in zip(self._files.names, schemas, strict=True):
            if not schema.equals(schemas[0], check_metadata=False):
                raise SourceError(
                    f"{self.uri}: {name} has {_columns_of(schema)}, but {self._files.names[0]} has "
                    f"{_columns_of(schemas[0])}"
                )

    @cached_property
    def _blocks(self) -> BlockReader[dict[str, Any]]:
        return BlockReader(
            self._layout.firsts,
            self._layout.streams,
            self._read_stream,
            num_bytes=self._layout.num_bytes,
        )

    def _read_stream(self, block: int) -> Iterator[Block[dict[str, Any]]]:
        file, group, step = self._layout.block(block)
        name = self._files.names[file]
        try:
            opened = self._open(name)
        except SourceError as error:
            raise SampleReadError(str(error)) from error
        where = f"{self._place(name)}: row group {group}"
        try:
            for number, table in enumerate(opened.tables(group, step), block):
                expected = int(self._layout.firsts[number + 1] - self._layout.firsts[number])
                if len(table) != expected:
                    raise SampleReadError(
                        f"{where} has {len(table)} rows where {expected} were expected: it is "
                        "damaged"
                    )
                samples = self._form.samples(table, int(self._layout.firsts[number]))
                yield Block(number, samples, table.nbytes)
        except SampleReadError:
            raise
        except bad_data_errors() as error:
            raise SampleReadError(f"{where} cannot be read: {error}") from error


class _TableFacts(NamedTuple):
    """What is told of a file when it is opened; see ``ParquetFile`` and ``ArrowFile``."""

    schema: pa.Schema
    group_rows: list[int]
    steps: list[int]
    row_bytes: list[int]
    """About what a row of each group takes."""
    group_bytes: list[int]
    """What is unpacked before the first row."""
    is_read_in_steps: bool


def _columns_of(schema: pa.Schema) -> str:
    try:
        return f"the columns {schema.names} of types {list(map(str, schema.types))}"
    except UnicodeDecodeError:
        return "columns with a name that is not UTF-8"


class _Layout:
    """Where each block lies: blocks are row groups, or steps of large ones."""

    def __init__(self, files: Sequence[_TableFacts]) -> None:
        places: list[tuple[int, int, int]] = []
        firsts, streams, num_bytes, row_bytes = [0], [], [], []
        self._file_firsts = [0]
        for number, file in enumerate(files):
            groups = zip(file.group_rows, file.steps, file.row_bytes, file.group_bytes, strict=True)
            for group, (rows, step, bytes_of_row, bytes_before) in enumerate(groups):
                streams += [len(places)] if rows else []
                for block, begin in enumerate(range(0, rows, step)):
                    places.append((number, group, block))
                    firsts.append(firsts[-1] + min(step, rows - begin))
                    num_bytes.append(step * bytes_of_row + (0 if block else bytes_before))
                    row_bytes.append(bytes_of_row)
            self._file_firsts.append(firsts[-1])
        self._places = np.array(places, np.int64).reshape(-1, 3)
        self.firsts: NDArray[np.int64] = np.array(firsts, np.int64)
        self.streams: NDArray[np.int64] = np.array(streams, np.int64)
        self.num_bytes: NDArray[np.int64] = np.array(num_bytes, np.int64)
        """About what each block takes."""
        self.row_bytes: NDArray[np.int64] = np.array(row_bytes, np.int64)
        """About what a row of each block takes."""

    def block(self, number: int) -> tuple[int, int, int]:
        """File, row group, and step in it, of a block."""
        file, group, step = self._places[number].tolist()
        return file, group, step

    def place(self, index: int) -> tuple[int, int]:
        """File and row of a sample."""
        file = int(np.searchsorted(self._file_firsts, index, side="right")) - 1
        return file, index - self._file_firsts[file]
