"""Columns of Arrow tables, read value by value.

Bytes and text are copied when a row is asked for, and not before, so that a block of rows costs no
more memory than Arrow's own. Arrow's buffers are read directly: pyarrow's conversion to NumPy
imports pandas.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

ColumnValues: TypeAlias = Sequence[Any] | NDArray[Any]
"""Values of a column, by their row."""


def column_values(column: pa.ChunkedArray) -> ColumnValues:
    """Values of a column of a table: NumPy ones where Arrow has numbers, None where it has none.

    Raises
    ------
    ValueError
        Its buffers are damaged.
    """
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    if len(chunks) == 1:
        return _array_values(chunks[0])
    if chunks and has_payloads(column.type):
        return _Chunks([_array_values(chunk) for chunk in chunks])
    return _array_values(column.combine_chunks())


def _array_values(array: pa.Array) -> ColumnValues:
    import pyarrow as pa

    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _extension_values(array)
    if pa.types.is_dictionary(kind):
        if is_payload(kind.value_type) or _is_string(kind.value_type):
            return _Scalars(array)
        return _array_values(array.dictionary_decode())
    if is_payload(kind):
        return _Payloads(array, bytes)
    if _is_string(kind):
        return _Payloads(array, _text)
    if pa.types.is_struct(kind):
        return _Structs(array)
    if _holds_moments(kind):
        return _array_values(array.cast(_told(kind)))
    if not array.null_count:
        if dtype_of(kind) is not None:
            return _numbers(array)
        if pa.types.is_fixed_size_list(kind) and dtype_of(kind.value_type) is not None:
            flat = array.flatten()
            if not flat.null_count:
                return _numbers(flat).reshape(len(array), kind.list_size)
    return _Scalars(array)


def dtype_of(kind: pa.DataType) -> np.dtype[Any] | None:
    """The NumPy dtype of numbers of an Arrow type; None if it has no numbers."""
    import pyarrow as pa

    if pa.types.is_boolean(kind):
        return np.dtype(bool)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        found: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
        return found
    return None


def is_payload(kind: pa.DataType) -> bool:
    """Whether values are bytes."""
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_string(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_text(kind: pa.DataType) -> bool:
    """Whether values come as text: dates, times and decimal numbers do, as Arrow writes them."""

    told = _told(kind)
    return _is_string(told)


def _told(kind: pa.DataType) -> pa.DataType:
    """The type that values of a type come as: exactly what they are, and yet JSON can hold it."""
    import pyarrow as pa

    types = pa.types
    is_moment = types.is_timestamp(kind) or types.is_date(kind) or types.is_time(kind)
    if is_moment or types.is_decimal(kind):
        return pa.string()
    if types.is_duration(kind):
        return pa.int64()
    if types.is_list(kind):
        return pa.list_(_told(kind.value_type))
    if types.is_large_list(kind):
        return pa.large_list(_told(kind.value_type))
    if types.is_fixed_size_list(kind):
        return pa.list_(_told(kind.value_type), kind.list_size)
    if types.is_map(kind):
        return pa.map_(_told(kind.key_type), _told(kind.item_type))
    if types.is_struct(kind):
        parts = [kind.field(k) for k in range(kind.num_fields)]
        return pa.struct([(part.name, _told(part.type)) for part in parts])
    return kind


def _holds_moments(kind: pa.DataType) -> bool:
    inner = [kind.field(k).type for k in range(kind.num_fields)]
    return any(map(_holds_moments, inner)) if inner else bool(_told(kind) != kind)


def has_payloads(kind: pa.DataType) -> bool:
    """Whether values are bytes, or structs that hold some: too long to be moved together."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return any(has_payloads(kind.field(k).type) for k in range(kind.num_fields))
    return is_payload(kind)


def flags_of(array: pa.Array) -> NDArray[np.bool_]:
    """Which values are there and not null."""
    found = _is_valid(array)
    return np.ones(len(array), np.bool_) if found is None else found


def payload_bytes(array: pa.Array) -> tuple[NDArray[np.int32] | NDArray[np.int64], memoryview]:
    """Offsets of bytes or text, one more than there are values, and what they point into.

    Raises
    ------
    ValueError
        They point outside of it.
    """
    import pyarrow as pa

    is_large = pa.types.is_large_binary(array.type) or pa.types.is_large_string(array.type)
    _, raw, content = array.buffers()
    offsets = _view(raw, np.dtype("<i8" if is_large else "<i4"), array.offset, len(array) + 1)
    data = memoryview(b"" if content is None else content)
    if (np.diff(offsets) < 0).any() or not 0 <= offsets[0] <= offsets[-1] <= len(data):
        raise ValueError(f"the offsets of {array.type} values are damaged")
    return offsets, data


def _numbers(array: pa.Array) -> NDArray[Any]:
    """Numbers without nulls, as a view of Arrow's memory (flags: a copy)."""
    dtype = dtype_of(array.type)
    if dtype == np.dtype(bool):
        return _flags(array.buffers()[1], array.offset, len(array))
    return _view(array.buffers()[1], dtype, array.offset, len(array))


def _flags(bits: pa.Buffer, offset: int, length: int) -> NDArray[np.bool_]:
    packed = _view(bits, np.dtype(np.uint8), 0, -(-(offset + length) // 8))
    found: NDArray[np.uint8] = np.unpackbits(packed, bitorder="little")[offset : offset + length]
    return found.view(np.bool_)


def _view(
    buffer: pa.Buffer | None, dtype: np.dtype[Any] | None, offset: int, length: int
) -> NDArray[Any]:
    if buffer is None:
        raise ValueError("a column without its data")
    itemsize = np.dtype(dtype).itemsize
    return np.frombuffer(buffer, dtype, count=length, offset=offset * itemsize)


def _is_valid(array: pa.Array) -> NDArray[np.bool_] | None:
    """Which values there are; None: all."""
    if not array.null_count:
        return None
    return _flags(array.buffers()[0], array.offset, len(array))


class _Chunks(Sequence[Any]):
    """The values of several arrays, one after another."""

    def __init__(self, arrays: Sequence[ColumnValues]) -> None:
        self._arrays = arrays
        self._ends = list(accumulate(map(len, arrays)))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, row: Any) -> Any:
        number = bisect.bisect_right(self._ends, row)
        array = self._arrays[number]
        return array[row - self._ends[number] + len(array)]


class _Payloads(Sequence[Any]):
    """Bytes or text: each value is copied when it is asked for."""

    def __init__(self, array: pa.Array, convert: Callable[[memoryview], Any]) -> None:
        offsets, self._data = payload_bytes(array)
        self._offsets = offsets.tolist()
        self._convert = convert
        self._is_valid = _is_valid(array)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row: Any) -> Any:
        if self._is_valid is not None and not self._is_valid[row]:
            return None
        return self._convert(self._data[self._offsets[row] : self._offsets[row + 1]])


class _Scalars(Sequence[Any]):
    """Values as Python's own: those that share their memory in Arrow take it when they are read."""

    def __init__(self, array: pa.Array) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, row: Any) -> Any:
        return self._array[row].as_py()


def _text(data: memoryview) -> str:
    return str(data, "utf-8")


class _Structs(Sequence[Any]):
    """Dicts of the values of their fields."""

    def __init__(self, array: pa.Array) -> None:
        self._length = len(array)
        self._is_valid = _is_valid(array)
        names = [array.type.field(k).name for k in range(array.type.num_fields)]
        self._fields = [(name, _array_values(array.field(k))) for k, name in enumerate(names)]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, row: Any) -> Any:
        if self._is_valid is not None and not self._is_valid[row]:
            return None
        return {name: plain(values[row]) for name, values in self._fields}


def plain(value: Any) -> Any:
    """A value that may be stored as JSON, with Python's own numbers."""
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def _extension_values(array: pa.Array) -> ColumnValues:
    """Fixed-size arrays of Hugging Face (``Array2D``...): nested lists of one shape."""
    kind = array.type
    if getattr(kind, "shape", None) is None:
        return _array_values(array.storage)
    dtype = np.dtype(kind.value_type)
    return [np.array(value, dtype) for value in array.storage.to_pylist()]
