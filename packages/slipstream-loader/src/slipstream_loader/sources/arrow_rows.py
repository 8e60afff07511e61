"""Rows of Arrow tables as samples: what Hugging Face data sets and parquet files are made of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from slipstream_cache import FieldSpec
from slipstream_loader.errors import SourceError
from slipstream_loader.sources.sample_form import SampleForm

if TYPE_CHECKING:
    import pyarrow as pa

_METADATA: Final = b"huggingface"


def import_pyarrow() -> None:
    """Import what reads Arrow data.

    Raises
    ------
    ImportError
        It is not installed; says how to install it.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "reading parquet and Arrow files needs pyarrow: "
            "pip install 'visionlab-slipstream-loader[hf]'"
        ) from error


def class_names(schema: pa.Schema) -> list[str]:
    """Names of the classes of the only ``ClassLabel`` of a data set; empty if there is none."""
    try:
        features = json.loads((schema.metadata or {})[_METADATA])["info"]["features"]
        names = [
            [str(name) for name in feature["names"]]
            for feature in features.values()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        return []
    return names[0] if len(names) == 1 else []


class ArrowForm:
    """Turns the rows of tables of one schema into samples.

    Numbers keep their dtype; lists of fixed length that hold numbers become arrays; images are
    structs of ``bytes`` and ``path``, or bytes that begin like an image; text stays text; all else
    is stored as JSON.

    Parameters
    ----------
    schema : pyarrow.Schema
    first : pyarrow.Table
        At least one row, which tells which bytes are images.
    where : str
        The source, for messages.
    """

    def __init__(self, schema: pa.Schema, first: pa.Table, where: str) -> None:
        self._schema, self._where = schema, where
        self._form = SampleForm()
        (row,) = rows_of(first.slice(0, 1))
        self.fields: Mapping[str, FieldSpec] = self._form.field_types(row, f"{where}[0]") | {
            name: FieldSpec("ragged", content="str") for name in _text_columns(schema)
        }
        """The fields of every sample."""

    def samples(self, table: pa.Table, first: int) -> list[dict[str, Any]]:
        """The rows of a table as samples, the first one being that of some number."""
        if table.schema.names != self._schema.names or table.schema.types != self._schema.types:
            raise SourceError(
                f"{self._where}: rows {first}... have the columns {_described(table.schema)}, "
                f"expected {_described(self._schema)}"
            )
        return [
            self._form.apply(row, f"{self._where}[{first + number}]")
            for number, row in enumerate(rows_of(table))
        ]


def rows_of(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table, with NumPy values where Arrow has numbers."""
    columns = {name: _values(table.column(name)) for name in table.schema.names}
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _values(column: pa.ChunkedArray) -> list[Any]:
    import pyarrow as pa

    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _extension_values(column)
    if pa.types.is_dictionary(kind):
        return _values(pa.chunked_array([chunk.dictionary_decode() for chunk in column.chunks]))
    dtype = _dtype_of(kind)
    if dtype is not None and not column.null_count:
        return list(column.to_numpy().astype(dtype, copy=False))
    if pa.types.is_fixed_size_list(kind) and not column.null_count:
        inner = _dtype_of(kind.value_type)
        flat = column.combine_chunks().flatten() if column.num_chunks else None
        if inner is not None and flat is not None and not flat.null_count:
            numbers = flat.to_numpy(zero_copy_only=False).astype(inner, copy=False)
            return list(numbers.reshape(len(column), kind.list_size))
    found: list[Any] = column.to_pylist()
    return found


def _extension_values(column: pa.ChunkedArray) -> list[Any]:
    """Fixed-size arrays of Hugging Face (``Array2D``...): nested lists of one shape."""
    kind = column.type
    shape = getattr(kind, "shape", None)
    storage = [chunk.storage for chunk in column.chunks]
    if shape is None:
        import pyarrow as pa

        return _values(pa.chunked_array(storage, kind.storage_type))
    dtype = np.dtype(kind.value_type)
    return [np.array(value, dtype) for chunk in storage for value in chunk.to_pylist()]


def _dtype_of(kind: pa.DataType) -> np.dtype[Any] | None:
    import pyarrow as pa

    if pa.types.is_boolean(kind):
        return np.dtype(bool)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        found: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
        return found
    return None


def _text_columns(schema: pa.Schema) -> list[str]:
    import pyarrow as pa

    return [
        column.name
        for column in schema
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    ]


def _described(schema: pa.Schema) -> str:
    return ", ".join(f"{column.name}: {column.type}" for column in schema)
