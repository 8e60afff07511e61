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
from slipstream_loader.sources.parquet_pages import REPEATED_BYTES, VALUE_BYTES, CheckedPages

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_GROUP_BYTES: Final = 16 << 20
"""Row groups that are larger are read in steps."""
_STEP_BYTES: Final = 8 << 20
"""About the size of a step: while it is used, the next is decoded."""
_DICTIONARY_BYTES: Final = 1 << 20
"""Of a dictionary that is small, as it is unpacked: writers mostly end it there."""
_UNPACKED_RATIO: Final = 16
"""Of a large one; see ``CheckedPages`` for those that are larger still."""
_MAX_ROW_BYTES: Final = 128 << 20
"""Of a row, if all of a row group are of one size."""

_MAX_ROWS: Final = 1 << 40
"""Of one file: more cannot be right."""

_BUFFER_BYTES: Final = {False: 1 << 16, True: 1 << 20}
"""Of one read of a column, by whether it takes a request."""


class Footer(NamedTuple):
    """What the end of a file tells, so that it is read once."""

    metadata: pq.FileMetaData
    groups: RowGroups
    has_lists: NDArray[np.bool_]
    """Whether a row of a column may hold many values; shape (columns,)."""


class ParquetFile:
    """A parquet file: blocks are read straight from their row group.

    For one thread at a time.

    Parameters
    ----------
    file : str or file object
        A path, or what is open; it is closed with this object.
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
            on_error.pop_all()
        metadata, groups, has_lists = self.footer
        self._pages = CheckedPages(opened, groups, has_lists)
        self._file: pq.ParquetFile = pq.ParquetFile(
            self._pages, metadata=metadata, buffer_size=_BUFFER_BYTES[is_remote], pre_buffer=False
        )
        self.schema: pa.Schema = self._file.schema_arrow
        infos = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        self.group_rows = [info.num_rows for info in infos]
        rows = sum(self.group_rows)
        if rows != metadata.num_rows or rows > _MAX_ROWS or min(self.group_rows, default=0) < 0:
            raise SourceError(
                f"a parquet file of {metadata.num_rows} rows, but {rows} in its row groups: it is "
                "damaged"
            )
        group_bytes = _group_bytes(groups, self.group_rows, [g.total_byte_size for g in infos])
        row_bytes = group_bytes / np.maximum(self.group_rows, 1)
        _check_rows(row_bytes)
        self.steps = _steps(groups, self.group_rows, group_bytes)
        self.is_read_in_steps = self.steps != [max(1, rows) for rows in self.group_rows]
        self.step_bytes: list[int] = (row_bytes * self.steps).astype(np.int64).tolist()

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
    columns = [metadata.schema.column(number) for number in range(metadata.num_columns)]
    has_lists = np.array([column.max_repetition_level > 0 for column in columns], np.bool_)
    if groups.begins.size and groups.begins.shape[1] != has_lists.size:
        raise SourceError(
            f"row groups of {groups.begins.shape[1]} columns, expected {has_lists.size}: the "
            "footer is damaged"
        )
    return Footer(metadata, groups, has_lists)


def _group_bytes(
    groups: RowGroups, group_rows: list[int], total_bytes: list[int]
) -> NDArray[np.float64]:
    """About what each row group takes, however few bytes its values are packed in."""
    rows = np.array(group_rows, np.int64).reshape(-1, 1)
    values = np.maximum(groups.num_values, rows).sum(axis=1, dtype=np.float64)
    found: NDArray[np.float64] = np.maximum(VALUE_BYTES * values, total_bytes)
    return found


def _check_rows(row_bytes: NDArray[np.float64]) -> None:
    for group in np.flatnonzero(row_bytes > _MAX_ROW_BYTES):
        raise SourceError(
            f"row group {group} has {row_bytes[group]:,.0f} bytes for each of its rows; rows of at "
            f"most {_MAX_ROW_BYTES:,} are read"
        )


def _steps(groups: RowGroups, group_rows: list[int], group_bytes: NDArray[np.float64]) -> list[int]:
    """Rows of a step in each row group."""
    rows = np.array(group_rows, np.float64)
    bounded = rows * _STEP_BYTES // np.maximum(group_bytes, 1)
    by_size = np.where(group_bytes <= _GROUP_BYTES, rows, bounded)
    steps = np.maximum(1, np.minimum(by_size, _rows_if_repeated(groups)))
    return list(map(int, steps))


def _rows_if_repeated(groups: RowGroups) -> NDArray[np.float64]:
    """Rows of steps that take bounded memory even if all have the largest value."""
    unpacked = np.maximum(_UNPACKED_RATIO * groups.dictionary_bytes, _DICTIONARY_BYTES)
    num_bytes = np.where(groups.dictionary_bytes > 0, unpacked, 0).sum(axis=1, dtype=np.float64)
    return np.where(num_bytes > 0, REPEATED_BYTES / np.maximum(num_bytes, 1), np.inf)
