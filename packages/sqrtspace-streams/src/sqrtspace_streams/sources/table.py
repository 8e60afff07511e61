"""Rows of a table: parquet or CSV."""

from __future__ import annotations

import bisect
import importlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sqrtspace_streams.errors import SourceError
from sqrtspace_streams.sources.base import FiniteSource, Samples


class TableSource(FiniteSource):
    """Rows of a parquet or CSV file as a structured array; needs the ``pyarrow`` package.

    A sample is a row with one field per column: numbers keep their type, text and everything
    else become Python objects. With one column, samples are plain values of it. Parquet is read
    row group by row group, of which two are kept; a CSV file is read whole when it is opened.

    Parameters
    ----------
    path : path
    columns : sequence of str, optional
        The columns to read; all of them by default.

    Raises
    ------
    ImportError
        Without ``pyarrow``.
    SourceError
        If the file cannot be read, or has no such column.
    """

    def __init__(self, path: str | Path, columns: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._groups: dict[int, Samples] = {}
        self._file: Any = None
        if self.path.suffix.lower() == ".csv":
            table = _read_csv(self.path, columns)
            schema, sizes = table.schema, [table.num_rows]
            self._columns = _known_columns(self.path, schema.names, columns)
        else:
            self._file = _open_parquet(self.path)
            schema = self._file.schema_arrow
            self._columns = _known_columns(self.path, schema.names, columns)
            metadata = self._file.metadata
            sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        self.dtype = structured_dtype(schema, self._columns)
        self._ends = np.cumsum(sizes).tolist()
        self.length = self._ends[-1] if sizes else 0
        if self._file is None:
            self._groups[0] = self._structured(table)

    def read(self, start: int, stop: int) -> Samples:
        """A copy, or a view where one row group holds all."""
        self.check_range(start, stop)
        parts, first = [], bisect.bisect_right(self._ends, start)
        for group in range(first, len(self._ends)):
            begin = self._ends[group - 1] if group else 0
            if begin >= stop:
                break
            rows = self._group(group)
            parts.append(rows[max(start - begin, 0) : stop - begin])
        if not parts:
            return np.empty(0, self.dtype)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def close(self) -> None:
        """Close the file and forget its rows."""
        if self._file is not None:
            self._file.close()
        self._groups.clear()

    def _group(self, group: int) -> Samples:
        with self._lock:
            if group not in self._groups:
                if len(self._groups) == 2:
                    del self._groups[next(iter(self._groups))]
                table = self._file.read_row_group(group, columns=list(self._columns))
                self._groups[group] = self._structured(table)
            return self._groups[group]

    def _structured(self, table: Any) -> Samples:
        return structured(table.select(list(self._columns)), self.dtype, str(self.path))


def structured(table: Any, dtype: np.dtype[Any], where: str) -> Samples:
    """The rows of an Arrow table or record batch.

    Raises
    ------
    SourceError
        For empty values where numbers cannot say so; ``where`` is named.
    """
    samples = np.empty(table.num_rows, dtype)
    for name in table.schema.names:
        field = samples[name] if dtype.names else samples
        column = table.column(name)
        if column.null_count and field.dtype.kind not in "fO":
            raise SourceError(
                f"{where}: column {name!r} of {field.dtype} has {column.null_count} empty "
                "values: fill them, or store it as floating point"
            )
        if field.dtype.kind == "O":
            field[...] = column.to_pylist()
        elif hasattr(column, "chunks"):
            field[...] = column.to_numpy()
        else:
            field[...] = column.to_numpy(zero_copy_only=False)
    return samples


def structured_dtype(schema: Any, columns: Sequence[str]) -> np.dtype[Any]:
    """The type of a row; columns that NumPy has no type for hold Python objects."""
    fields = []
    for name in columns:
        try:
            dtype = np.dtype(schema.field(name).type.to_pandas_dtype())
        except (NotImplementedError, TypeError):
            dtype = np.dtype(object)
        fields.append((name, dtype if dtype.kind in "biufmM" else np.dtype(object)))
    return fields[0][1] if len(fields) == 1 else np.dtype(fields)


def _known_columns(
    path: Path, names: Sequence[str], columns: Sequence[str] | None
) -> tuple[str, ...]:
    chosen = tuple(names if columns is None else columns)
    if not chosen or (missing := [name for name in chosen if name not in names]):
        raise SourceError(f"{path} has no columns {missing if chosen else ''}; it has {names}")
    return chosen


def _open_parquet(path: Path) -> Any:
    arrow = _pyarrow(path, "parquet")
    try:
        return arrow.parquet.ParquetFile(path)
    except (arrow.ArrowInvalid, OSError) as error:
        raise SourceError(f"{path} cannot be read as parquet: {error}") from error


def _read_csv(path: Path, columns: Sequence[str] | None) -> Any:
    arrow = _pyarrow(path, "csv")
    try:
        options = arrow.csv.ConvertOptions(include_columns=list(columns or ()))
        return arrow.csv.read_csv(path, convert_options=options)
    except (arrow.ArrowInvalid, KeyError, OSError) as error:
        raise SourceError(f"{path} cannot be read as CSV: {error}") from error


def _pyarrow(path: Path, module: str) -> Any:
    try:
        import pyarrow

        importlib.import_module(f"pyarrow.{module}")
    except ImportError as error:
        raise ImportError(f"{path} needs pyarrow: pip install 'sqrtspace-streams[logs]'") from error
    return pyarrow
