"""Parquet and Arrow files, local or remote: read by row groups, never whole.

Which files there are is told by ``LocalTables`` here, by ``stored_tables`` for S3 and web servers,
and by ``huggingface`` for the Hub.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

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
from slipstream_loader.sources.arrow_rows import ArrowForm, class_names, import_pyarrow
from slipstream_loader.sources.block_reader import Block, BlockReader
from slipstream_loader.sources.parquet_footer import dictionary_bytes, read_footer
from slipstream_loader.sources.stored_file import size_of_file
from slipstream_loader.sources.table_splits import files_of_split

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ARROW_EXTENSIONS: Final = (".parquet", ".arrow")
"""Endings of the files that are read; an ``.arrow`` file is a stream or an IPC file."""

_RECIPE: Final = "tables 1"
_OPENED_AT_A_TIME: Final = 16
_MAX_UNPACKED_BYTES: Final = 512 << 20
_BLOCK_ROWS: Final = 64
"""Of Arrow files, which lie in memory maps."""
_GROUP_BYTES: Final = 16 << 20
"""Row groups that are larger are read in steps."""
_STEP_BYTES: Final = 8 << 20
"""About the size of a step: while it is used, the next is decoded."""
_REPEATED_BYTES: Final = 256 << 20
"""Of a step whose rows are all the largest value that a dictionary may hold: sizes of row groups
do not tell how often a value is repeated."""

_MAX_ROWS: Final = 1 << 40
"""Of one file: more cannot be right."""

_BUFFER_BYTES: Final = {False: 1 << 16, True: 1 << 20}
"""Of one read of a column, by whether it takes a request."""


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
            files = [p for p in self._path.rglob("*") if p.suffix.lower() in ARROW_EXTENSIONS]
            names = sorted(p.relative_to(self._path).as_posix() for p in files)
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
        self._open_files: dict[str, Any] = {}
        with ThreadPoolExecutor(_OPENED_AT_A_TIME if self._files.is_remote else 1) as pool:
            parts = list(pool.map(self._open, self._files.names))
        schemas = [part.schema for part in parts]
        self._check_schemas(schemas)
        self._has_large_groups = any(part.is_read_in_steps for part in parts)
        self._layout = _Layout([part.group_rows for part in parts], [p.steps for p in parts])
        if not len(self):
            raise EmptyDatasetError(f"{self.uri} has no rows")
        first = next(part for part in parts if sum(part.group_rows))
        try:
            group = next(number for number, rows in enumerate(first.group_rows) if rows)
            found = (table for table in first.tables(group, 0) if table.num_rows)
            table = next(found, None)
        except _bad_data_errors() as error:
            raise SourceError(f"{self.uri} cannot be read: {error}") from error
        if table is None:
            raise SourceError(f"{self.uri}: row group {group} has no rows, expected some")
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
        return self._files.is_remote or self._has_large_groups

    def __len__(self) -> int:
        return int(self._layout.firsts[-1])

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of the {len(self)} in {self.uri}")
        return dict(self._blocks[index])

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
        return {**state, "_open_files": {}}

    def _open(self, name: str) -> _ParquetFile | _ArrowFile:
        """Open a file, whichever of the formats it is; what is known of it is not read again."""
        is_arrow = (name or self.uri).lower().endswith(".arrow")
        known = self._open_files.get(name)
        if is_arrow and known is not None:
            return known  # type: ignore[no-any-return]
        where = f"{self.uri}/{name}" if name else self.uri
        try:
            if is_arrow:
                self._open_files[name] = arrow = _ArrowFile(self._files.open(name))
                return arrow
            table = _ParquetFile(self._files.open(name), known, is_remote=self._files.is_remote)
        except LoaderError:
            raise
        except _bad_data_errors() as error:
            raise SourceError(f"{where} cannot be opened: {error}") from error
        self._open_files[name] = table.footer
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
        return BlockReader(self._layout.firsts, self._layout.streams, self._read_stream)

    def _read_stream(self, block: int) -> Iterator[Block[dict[str, Any]]]:
        file, group, step = self._layout.block(block)
        name = self._files.names[file]
        try:
            tables = self._open(name).tables(group, step)
            for number, table in enumerate(tables, block):
                expected = int(self._layout.firsts[number + 1] - self._layout.firsts[number])
                if len(table) != expected:
                    raise SourceError(
                        f"{self.uri} {name}: row group {group} has {len(table)} rows where "
                        f"{expected} were expected: it is damaged"
                    )
                samples = self._form.samples(table, int(self._layout.firsts[number]))
                yield Block(number, samples, table.nbytes)
        except _bad_data_errors() as error:
            if isinstance(error, SourceError):
                raise SampleReadError(str(error)) from error
            raise SampleReadError(
                f"{self.uri} {name}: row group {group} cannot be read: {error}"
            ) from error


def _columns_of(schema: pa.Schema) -> str:
    try:
        return f"the columns {schema.names} of types {list(map(str, schema.types))}"
    except UnicodeDecodeError:
        return "columns with a name that is not UTF-8"


class _Layout:
    """Where each block lies: blocks are row groups, or steps of large ones."""

    def __init__(self, group_rows: Sequence[list[int]], steps: Sequence[list[int]]) -> None:
        places: list[tuple[int, int, int]] = []
        firsts, streams = [0], []
        self._file_firsts = [0]
        for file, (rows_of_groups, rows_of_steps) in enumerate(zip(group_rows, steps, strict=True)):
            for group, (rows, step) in enumerate(zip(rows_of_groups, rows_of_steps, strict=True)):
                streams += [len(places)] if rows else []
                for number, begin in enumerate(range(0, rows, step)):
                    places.append((file, group, number))
                    firsts.append(firsts[-1] + min(step, rows - begin))
            self._file_firsts.append(firsts[-1])
        self._places = np.array(places, np.int64).reshape(-1, 3)
        self.firsts: NDArray[np.int64] = np.array(firsts, np.int64)
        self.streams: NDArray[np.int64] = np.array(streams, np.int64)

    def block(self, number: int) -> tuple[int, int, int]:
        """File, row group, and step in it, of a block."""
        file, group, step = self._places[number].tolist()
        return file, group, step

    def place(self, index: int) -> tuple[int, int]:
        """File and row of a sample."""
        file = int(np.searchsorted(self._file_firsts, index, side="right")) - 1
        return file, index - self._file_firsts[file]


_Footer: TypeAlias = "tuple[pq.FileMetaData, list[int]]"
"""With the bytes of dictionaries in each row group."""


def _footer(file: Any) -> _Footer:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open(file, "rb") if isinstance(file, str) else nullcontext(file) as opened:
        data = read_footer(opened)
    metadata = pq.read_metadata(pa.BufferReader(data))
    return metadata, dictionary_bytes(data)


class _ParquetFile:
    """A parquet file: blocks are read straight from their row group."""

    def __init__(self, file: Any, known: _Footer | None, *, is_remote: bool) -> None:
        import pyarrow.parquet as pq

        self.footer = known or _footer(file)
        metadata, dictionaries = self.footer
        self._file: pq.ParquetFile = pq.ParquetFile(
            file, metadata=metadata, buffer_size=_BUFFER_BYTES[is_remote], pre_buffer=False
        )
        self.schema: pa.Schema = self._file.schema_arrow
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        self.group_rows = [group.num_rows for group in groups]
        rows = sum(self.group_rows)
        if rows != metadata.num_rows or rows > _MAX_ROWS or min(self.group_rows, default=0) < 0:
            raise SourceError(
                f"a parquet file of {metadata.num_rows} rows, but {rows} in its row groups: it is "
                "damaged"
            )
        self.steps = [
            max(1, min(_rows_of_step(g.num_rows, g.total_byte_size), _rows_if_repeated(size)))
            for g, size in zip(groups, dictionaries, strict=True)
        ]
        self.is_read_in_steps = self.steps != [max(1, rows) for rows in self.group_rows]

    def tables(self, group: int, step: int) -> Iterator[pa.Table]:
        """Yield the blocks of a row group from one on."""
        import pyarrow as pa

        batches = self._file.iter_batches(self.steps[group], row_groups=[group], use_threads=False)
        pending: list[pa.RecordBatch] = []
        rows = number = 0
        for batch in batches:  # which may be smaller than asked for
            begin = 0
            while begin < len(batch):
                part = batch.slice(begin, self.steps[group] - rows)
                pending.append(part)
                rows, begin = rows + len(part), begin + len(part)
                if rows == self.steps[group]:
                    if number >= step:
                        yield pa.Table.from_batches(pending)
                    pending, rows, number = [], 0, number + 1
        if pending and number >= step:
            yield pa.Table.from_batches(pending)


def _rows_of_step(num_rows: int, num_bytes: int) -> int:
    return num_rows if num_bytes <= _GROUP_BYTES else num_rows * _STEP_BYTES // num_bytes


def _rows_if_repeated(dictionaries: int) -> int:
    """Rows of a step that takes bounded memory even if all have the largest value."""
    return _REPEATED_BYTES // max(1, dictionaries)


class _ArrowFile:
    """An Arrow stream or file in memory maps: its batches are row groups.

    Batches of a file may be compressed, and are then unpacked when they are read. A compressed
    stream is unpacked as a whole: nothing tells where in it a batch lies.
    """

    def __init__(self, file: Any) -> None:
        import pyarrow as pa

        source = pa.memory_map(file)
        try:
            reader = pa.ipc.open_file(source)
            numbers = range(reader.num_record_batches)
            self.group_rows = [reader.get_batch(k).num_rows for k in numbers]
            self._batch: Callable[[int], pa.RecordBatch] = reader.get_batch
        except pa.ArrowInvalid:
            source.seek(0)
            mapped = source.read_buffer()
            source.seek(0)
            reader = pa.ipc.open_stream(source)
            batches = list(_held_batches(reader, mapped, file))
            self.group_rows = [len(batch) for batch in batches]
            self._batch = batches.__getitem__
        self.schema: pa.Schema = reader.schema
        self.steps = [_BLOCK_ROWS for _ in self.group_rows]
        self.is_read_in_steps = False  # memory maps: any row is as near as the next

    def tables(self, group: int, step: int) -> Iterator[pa.Table]:
        """Yield the blocks of a batch from one on."""
        import pyarrow as pa

        batch = self._batch(group)
        for begin in range(step * _BLOCK_ROWS, len(batch), _BLOCK_ROWS):
            rows = batch.slice(begin, _BLOCK_ROWS)
            rows.validate(full=True)  # nobody has looked at what the map holds
            yield pa.Table.from_batches([rows])


def _held_batches(stream: Any, mapped: pa.Buffer, where: str) -> Iterator[pa.RecordBatch]:
    """All batches of a stream, unless those that do not lie in the map take much memory."""
    begin, end = mapped.address, mapped.address + mapped.size
    held = 0
    for batch in stream:
        yield batch
        buffers = (buffer for column in batch.columns for buffer in column.buffers() if buffer)
        held += sum(buffer.size for buffer in buffers if not begin <= buffer.address < end)
        if held > _MAX_UNPACKED_BYTES:
            raise SourceError(
                f"{where} is a compressed Arrow stream of more than {_MAX_UNPACKED_BYTES:,} bytes, "
                "which memory would have to hold: write it as an Arrow file "
                "(pyarrow.ipc.new_file), or without compression"
            )


def _bad_data_errors() -> tuple[type[Exception], ...]:
    """What pyarrow raises for data that is damaged, too large, or of a kind that it lacks."""
    import pyarrow as pa

    return (OSError, ValueError, pa.ArrowException)
