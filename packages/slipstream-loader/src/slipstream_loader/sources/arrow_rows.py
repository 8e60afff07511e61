"""Rows of Arrow tables as samples: what Hugging Face data sets and parquet files are made of."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from slipstream_cache import FieldSpec
from slipstream_loader.errors import SampleReadError, SourceError
from slipstream_loader.sources.arrow_values import column_values, is_text, plain
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


def bad_data_errors() -> tuple[type[Exception], ...]:
    """What pyarrow raises for data that is damaged, too large, or of a kind that it lacks."""
    try:
        import pyarrow as pa
    except ImportError:
        return (OSError, ValueError)
    return (OSError, ValueError, EOFError, pa.ArrowException)


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
    structs of ``bytes`` and ``path``, or bytes that begin like an image; text stays text, and
    dates, times and decimal numbers become text; durations are numbers of their unit; all else is
    stored as JSON.

    Parameters
    ----------
    schema : pyarrow.Schema
    first : pyarrow.Table
        At least one row, which tells which bytes are images.
    where : str
        The source, for messages.

    Raises
    ------
    SourceError
        Several columns have one name.
    """

    def __init__(self, schema: pa.Schema, first: pa.Table, where: str) -> None:
        repeated = [name for name, count in Counter(schema.names).items() if count > 1]
        if repeated:
            raise SourceError(f"{where}: several columns are named {repeated[0]!r}; rename them")
        self._schema, self._where = schema, where
        self._form = SampleForm()
        row = Rows(first.slice(0, 1))[0]
        self.fields: Mapping[str, FieldSpec] = self._form.field_types(row, f"{where}[0]") | {
            column.name: FieldSpec("ragged", content="str")
            for column in schema
            if is_text(column.type)
        }
        """The fields of every sample."""

    def samples(self, table: pa.Table, first: int) -> Sequence[dict[str, Any]]:
        """The rows of a table as samples, the first one being that of some number.

        Raises
        ------
        SourceError
            The table has other columns than the first one.
        ValueError
            It is damaged.
        """
        if table.schema.names != self._schema.names or table.schema.types != self._schema.types:
            raise SourceError(
                f"{self._where}: rows {first}... have the columns {_described(table.schema)}, "
                f"expected {_described(self._schema)}"
            )
        json_fields = [name for name, spec in self.fields.items() if spec.content == "json"]
        return _Samples(self._form, Rows(table), self._where, first, json_fields)


class Rows(Sequence[dict[str, Any]]):
    """The rows of a table, made when they are asked for."""

    def __init__(self, table: pa.Table) -> None:
        self._columns = [(name, column_values(table.column(name))) for name in table.schema.names]
        self._length: int = table.num_rows

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, row: Any) -> Any:
        return {name: values[row] for name, values in self._columns}


class _Samples(Sequence[dict[str, Any]]):
    """Rows as samples; an image without bytes is an error when its row is asked for."""

    def __init__(
        self, form: SampleForm, rows: Rows, where: str, first: int, json_fields: Sequence[str]
    ) -> None:
        self._form, self._rows, self._where, self._first = form, rows, where, first
        self._json_fields = json_fields

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: Any) -> Any:
        where = f"{self._where}[{self._first + row}]"
        try:
            sample = self._form.apply(self._rows[row], where)
        except UnicodeDecodeError as error:
            raise SampleReadError(f"{where} has text that is not UTF-8: {error}") from error
        for name in self._json_fields:  # blocks with nulls have Python's numbers, others NumPy's
            if name in sample:
                sample[name] = plain(sample[name])
        return sample


def _described(schema: pa.Schema) -> str:
    return ", ".join(f"{column.name}: {column.type}" for column in schema)
