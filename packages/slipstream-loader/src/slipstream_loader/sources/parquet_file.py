"""One parquet file: read row group by row group, in steps that take bounded memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slipstream_loader.errors import SourceError
from slipstream_loader.sources.parquet_footer import RowGroups, read_footer, row_groups
from slipstream_loader.sources.parquet_pages import (
    REPEATED_BYTES,
    CheckedPages,
    Columns,
    expected_bytes,
)

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_GROUP_BYTES: Final = 16 << 20
"""Row groups that are larger are read in steps."""
_STEP_BYTES: Final = 8 << 20
"""About the size of a step: while it is used, the next is decoded."""
_MAX_ROW_BYTES: Final = 128 << 20
"""Of a row, if all of a row group are of one size."""

_VALUE_BYTES: Final = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
_PLACE_BYTES: Final = 4
"""Of a string, or of a value in a list."""

_MAX_ROWS: Final = 1 << 40
"""Of one file: more cannot be right."""

_BUFFER_BYTES: Final = {False: 1 << 16, True: 1 << 20}
"""Of one read of a column, by whether it takes a request."""


class Footer(NamedTuple):
    """What the end of a file tells, so that it is read once."""

    metadata: pq.FileMetaData
    groups: RowGroups
    columns: Columns


class ParquetFile:
    """A parquet file: blocks are read straight from their row group.

    For one thread at a time.

    Parameters
    ----------
    file : str or file object
        A path, or what is open; it is closed with this object, or where that cannot be made.
    footer : Footer, optional
        Of the file, if it was read before.
    is_remote : bool
        Whether a read takes a request.

    Raises
    ------
    SourceError, OSError, ValueError, pyarrow.ArrowException
        It is damaged, or has rows that are too large.
    """

    def __init__(self, file: Any, footer: Footer | None, *, is_remote: bool) -> None:
        import pyarrow.parquet as pq

        with ExitStack() as on_error:
            opened = on_error.enter_context(io.FileIO(file) if isinstance(file, str) else file)
            self.footer = footer or _read_footer(opened)
            self._pages = CheckedPages(opened, self.footer.groups, self.footer.columns)
            self._file: pq.ParquetFile = pq.ParquetFile(
                self._pages,
                metadata=self.footer.metadata,
                buffer_size=_BUFFER_BYTES[is_remote],
                pre_buffer=False,
            )
            self._plan_steps()
            on_error.pop_all()

    def close(self) -> None:
        """Close the file."""
        self._pages.close()

    def _plan_steps(self) -> None:
        metadata, groups, columns = self.footer
        self.schema: pa.Schema = self._file.schema_arrow
        infos = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        self.group_rows = [info.num_rows for info in infos]
        rows = sum(self.group_rows)
        if rows != metadata.num_rows or rows > _MAX_ROWS or min(self.group_rows, default=0) < 0:
            raise SourceError(
                f"a parquet file of {metadata.num_rows} rows, but {rows} in its row groups: it is "
                "damaged"
            )
        rows_or_one = np.maximum(self.group_rows, 1)
        group_bytes = np.maximum(
            _value_bytes(groups, columns, self.group_rows), [g.total_byte_size for g in infos]
        )
        row_bytes = group_bytes / rows_or_one
        _check_rows(row_bytes)
        self.steps = _steps(groups, columns, self.group_rows, group_bytes)
        self.is_read_in_steps = self.steps != rows_or_one.tolist()
        self.row_bytes: list[int] = np.ceil(row_bytes).astype(np.int64).tolist()
        self.group_bytes = [info.total_byte_size for info in infos]  # of its pages, at most

    def tables(self, group: int, step: int) -> Iterator[pa.Table]:
        """Yield the blocks of a row group from one on."""
        import pyarrow as pa

        self._pages.select_group(group, self.steps[group])
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


def _read_footer(file: Any) -> Footer:
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = read_footer(file)
    metadata = pq.read_metadata(pa.BufferReader(data))
    groups = row_groups(data)
    columns = _columns(metadata.schema, metadata.num_columns)
    if groups.begins.size and groups.begins.shape[1] != metadata.num_columns:
        raise SourceError(
            f"row groups of {groups.begins.shape[1]} columns, expected {metadata.num_columns}: the "
            "footer is damaged"
        )
    groups = RowGroups(*(facts.reshape(len(facts), metadata.num_columns) for facts in groups))
    return Footer(metadata, groups, columns)


def _columns(schema: pq.ParquetSchema, num_columns: int) -> Columns:
    """What the schema tells; a fixed length may be any."""
    found = [schema.column(number) for number in range(num_columns)]
    has_lists = np.array([column.max_repetition_level > 0 for column in found], np.bool_)
    widths = [
        max(1, column.length)
        if column.physical_type == "FIXED_LEN_BYTE_ARRAY"
        else _VALUE_BYTES.get(column.physical_type, _PLACE_BYTES)
        for column in found
    ]
    has_strings = [column.physical_type == "BYTE_ARRAY" for column in found]
    return Columns(np.array(widths, np.int64), np.array(has_strings, np.bool_), has_lists)


def _value_bytes(groups: RowGroups, columns: Columns, group_rows: list[int]) -> NDArray[np.float64]:
    """About what the values of each row group take, however few bytes they are packed in."""
    rows = np.array(group_rows, np.int64).reshape(-1, 1)
    num_values = np.maximum(groups.num_values, rows).astype(np.float64)
    found: NDArray[np.float64] = (num_values * columns.value_bytes).sum(axis=1)
    return found


def _check_rows(row_bytes: NDArray[np.float64]) -> None:
    for group in np.flatnonzero(row_bytes > _MAX_ROW_BYTES):
        raise SourceError(
            f"row group {group} has {row_bytes[group]:,.0f} bytes for each of its rows; rows of at "
            f"most {_MAX_ROW_BYTES:,} are read"
        )


def _steps(
    groups: RowGroups, columns: Columns, group_rows: list[int], group_bytes: NDArray[np.float64]
) -> list[int]:
    """Rows of a step in each row group."""
    rows = np.array(group_rows, np.float64)
    bounded = rows * _STEP_BYTES // np.maximum(group_bytes, 1)
    by_size = np.where(group_bytes <= _GROUP_BYTES, rows, bounded)
    steps = np.maximum(1, np.minimum(by_size, _rows_if_repeated(groups, columns)))
    return list(map(int, steps))


def _rows_if_repeated(groups: RowGroups, columns: Columns) -> NDArray[np.float64]:
    """Rows of steps that take bounded memory even if all have the largest string."""
    dictionaries = np.where(columns.has_strings, groups.dictionary_bytes, 0)
    num_bytes = expected_bytes(dictionaries).sum(axis=1, dtype=np.float64)
    return np.where(num_bytes > 0, REPEATED_BYTES / np.maximum(num_bytes, 1), np.inf)
