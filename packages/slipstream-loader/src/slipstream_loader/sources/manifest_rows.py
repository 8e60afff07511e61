"""The rows of a list of files: CSV, TSV, JSON lines or parquet, as columns of values."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from array import array
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Final

import numpy as np

from slipstream_loader.errors import SourceError
from slipstream_loader.sources.arrow_rows import bad_data_errors, import_pyarrow
from slipstream_loader.sources.file_names import PackedNames
from slipstream_loader.sources.parquet_file import ParquetFile
from slipstream_loader.sources.ranged_file import RangedFile
from slipstream_loader.sources.stored_file import StoredFile

MANIFEST_EXTENSIONS: Final = (".csv", ".tsv", ".jsonl")
"""Endings of files that are taken for lists of images; parquet files may be lists too."""

_READ_BYTES: Final = 1 << 20
_MAX_LINE: Final = 16 << 20
"""Characters."""
_MAX_ROWS: Final = 1 << 26
"""Of a parquet file, which may repeat one row any number of times."""
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]*")
_NUMBER: Final = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NO_NUMBERS: Final = frozenset({"nan", "inf", "-inf"})
_MAX_DIGITS: Final = 20


def read_columns(file: StoredFile) -> dict[str, Sequence[Any]]:
    """Column name -> a value for each row; numbers as numbers, in CSV files too.

    Raises
    ------
    SourceError
        The file is damaged, has no rows, or its rows have different columns.
    """
    name = file.uri.lower()
    damage: tuple[type[Exception], ...] = (TypeError, RecursionError, csv.Error)
    damage += bad_data_errors()
    try:
        if name.endswith((".csv", ".tsv")):
            return _read_csv(file, "\t" if name.endswith(".tsv") else ",")
        if name.endswith((".jsonl", ".ndjson")):
            return _read_json_lines(file)
        if name.endswith(".parquet"):
            return _read_parquet(file)
        raise ValueError("expected a name that ends in .csv, .tsv, .jsonl or .parquet")
    except damage as error:
        raise SourceError(f"{file.uri} cannot be read as a list of files: {error}") from error


def _lines(file: StoredFile, newline: str) -> Iterator[str]:
    """The lines of a file with their ends."""
    with io.BufferedReader(RangedFile(file), _READ_BYTES) as data:
        text = io.TextIOWrapper(data, "utf-8-sig", newline=newline)
        while line := text.readline(_MAX_LINE):
            if len(line) == _MAX_LINE:
                raise ValueError(f"a line has {_MAX_LINE:,} characters or more")
            yield line


def _read_csv(file: StoredFile, delimiter: str) -> dict[str, Sequence[Any]]:
    rows = csv.reader(_lines(file, newline=""), delimiter=delimiter, strict=True)
    names = [name.strip() for name in next(rows, [])]
    _check_names(names)
    columns = [_Column() for _ in names]
    for row in rows:
        if len(row) != len(names) and row:
            raise ValueError(f"line {rows.line_num} has {len(row)} values, expected {len(names)}")
        for column, value in zip(columns, row, strict=False):  # a row may be empty
            column.append(value)
    found = (_numbers(column.values()) for column in columns)
    return dict(zip(names, found, strict=True))


def _numbers(column: Sequence[str]) -> Sequence[Any]:
    """Texts as numbers, if nothing of them is lost: ``007`` and numbers of 30 digits are names."""
    if all(map(_INTEGER.fullmatch, column)):
        if max(map(len, column), default=0) > _MAX_DIGITS:
            return column
        integers = [int(text) for text in column]
        fit = all(-(1 << 63) <= number < 1 << 63 for number in integers)
        return integers if fit else column
    has_numbers = any(map(_NUMBER.fullmatch, column))
    if has_numbers and all(_NUMBER.fullmatch(t) or t.lower() in _NO_NUMBERS for t in column):
        return [float(text) for text in column]
    return column


def _read_json_lines(file: StoredFile) -> dict[str, Sequence[Any]]:
    columns: dict[str, _Column] = {}
    for number, line in enumerate(_lines(file, newline="\n"), 1):
        if not line.strip():
            continue
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is no JSON object")
        if not columns:
            _check_names(list(row))
            columns = {name: _Column() for name in row}
        if row.keys() != columns.keys():
            raise ValueError(f"line {number} has the keys {list(row)}, expected {list(columns)}")
        for name, value in row.items():
            columns[name].append(value)
    return {name: column.values() for name, column in columns.items()}


def _read_parquet(file: StoredFile) -> dict[str, Sequence[Any]]:
    import_pyarrow()
    with closing(ParquetFile(RangedFile(file), None, is_remote=file.is_remote)) as table:
        if sum(table.group_rows) > _MAX_ROWS:
            raise ValueError(
                f"it has {sum(table.group_rows):,} rows; at most {_MAX_ROWS:,} are read"
            )
        _check_names(table.schema.names)
        columns = {name: _Column() for name in table.schema.names}
        for group in range(len(table.group_rows)):
            for rows in table.tables(group, 0):
                for name, column in columns.items():
                    for value in rows.column(name):
                        column.append(value.as_py())
    return {name: column.values() for name, column in columns.items()}


class _Column:
    """Values that come one by one: text in little memory, as long as there is nothing else."""

    def __init__(self) -> None:
        self._data, self._ends = bytearray(), array("q")
        self._others: list[Any] | None = None

    def append(self, value: Any) -> None:
        packed = _packed(value) if self._others is None else None
        if packed is not None:
            self._data += packed
            self._ends.append(len(self._data))
            return
        if self._others is None:
            self._others = list(self.values())
        self._others.append(value)

    def values(self) -> Sequence[Any]:
        if self._others is not None:
            return self._others
        return PackedNames(np.frombuffer(self._data, np.uint8), np.frombuffer(self._ends, np.int64))


def _check_names(names: list[str]) -> None:
    if not names or len(set(names)) != len(names) or not all(names):
        raise ValueError(f"the columns are {names}; expected different names")


def _packed(value: Any) -> bytes | None:
    """The bytes of a text that come back as the same one; None for all else."""
    if type(value) is not str:
        return None
    try:
        packed = os.fsencode(value)
    except UnicodeEncodeError:
        return None
    return packed if value.isascii() or os.fsdecode(packed) == value else None
