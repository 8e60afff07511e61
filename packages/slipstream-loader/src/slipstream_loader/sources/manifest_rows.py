"""The rows of a list of files: CSV, TSV, JSON lines or parquet, as columns of values."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any, Final

from slipstream_loader.errors import SourceError
from slipstream_loader.sources.arrow_rows import import_pyarrow
from slipstream_loader.sources.stored_file import StoredFile

MANIFEST_EXTENSIONS: Final = (".csv", ".tsv", ".jsonl")
"""Endings of files that are taken for lists of images; parquet files may be lists too."""

_MAX_BYTES: Final = 8 << 30
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]*")
_NUMBER: Final = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NO_NUMBERS: Final = frozenset({"nan", "inf", "-inf"})
_MAX_DIGITS: Final = 20


def read_columns(file: StoredFile) -> dict[str, list[Any]]:
    """Column name -> a value for each row; numbers as numbers, in CSV files too.

    Raises
    ------
    SourceError
        The file is damaged, has no rows, or its rows have different columns.
    """
    name = file.uri.lower()
    if file.size > _MAX_BYTES:
        raise SourceError(f"{file.uri} has {file.size} bytes and is no list of files")
    data = file.read(0, file.size)
    try:
        if name.endswith((".csv", ".tsv")):
            columns = _read_csv(data, "\t" if name.endswith(".tsv") else ",")
        elif name.endswith((".jsonl", ".ndjson")):
            columns = _read_json_lines(data)
        elif name.endswith(".parquet"):
            columns = _read_parquet(data)
        else:
            raise ValueError("expected a name that ends in .csv, .tsv, .jsonl or .parquet")
    except (ValueError, TypeError, RecursionError, OSError, csv.Error) as error:
        raise SourceError(f"{file.uri} cannot be read as a list of files: {error}") from error
    return columns


def _read_csv(data: bytes, delimiter: str) -> dict[str, list[Any]]:
    text = io.StringIO(data.decode("utf-8-sig"), newline="")
    rows = csv.reader(text, delimiter=delimiter, strict=True)
    names = [name.strip() for name in next(rows, [])]
    _check_names(names)
    table: list[list[str]] = []
    for row in rows:
        if len(row) != len(names) and row:
            raise ValueError(f"line {rows.line_num} has {len(row)} values, expected {len(names)}")
        if row:
            table.append(row)
    columns = zip(*table, strict=True) if table else [()] * len(names)
    return {name: _numbers(list(column)) for name, column in zip(names, columns, strict=True)}


def _numbers(column: list[str]) -> list[Any]:
    """Texts as numbers, if nothing of them is lost: ``007`` and numbers of 30 digits are names."""
    if all(map(_INTEGER.fullmatch, column)):
        if max(map(len, column), default=0) > _MAX_DIGITS:
            return list(column)
        integers = [int(text) for text in column]
        fit = all(-(1 << 63) <= number < 1 << 63 for number in integers)
        return integers if fit else list(column)
    others = {text for text in column if _NUMBER.fullmatch(text) is None}
    is_numbers = len(others) < len(set(column)) and {text.lower() for text in others} <= _NO_NUMBERS
    return [float(text) for text in column] if is_numbers else list(column)


def _read_json_lines(data: bytes) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for number, line in enumerate(data.decode("utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is no JSON object")
        if not columns:
            _check_names(list(row))
            columns = {name: [] for name in row}
        if row.keys() != columns.keys():
            raise ValueError(f"line {number} has the keys {list(row)}, expected {list(columns)}")
        for name, value in row.items():
            columns[name].append(value)
    return columns


def _read_parquet(data: bytes) -> dict[str, list[Any]]:
    import_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(data))
    _check_names(table.column_names)
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _check_names(names: list[str]) -> None:
    if not names or len(set(names)) != len(names) or not all(names):
        raise ValueError(f"the columns are {names}; expected different names")
