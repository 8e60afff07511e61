"""The columns of one Arrow record batch: long values are read one by one, short ones together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from slipstream_loader.errors import SampleReadError
from slipstream_loader.sources.litdata.arrow_messages import BatchLayout, Buffer
from slipstream_loader.sources.litdata.ranges import ByteRanges
from slipstream_loader.sources.litdata.zstd import unpack

_MAX_UNPACKED_BYTES: Final = 1 << 28
"""Of the buffers of a batch that are compressed, together."""

_Value = Callable[[int], Any]


def read_schema(message: bytes) -> Any:
    """Return the pyarrow schema in a message.

    Raises
    ------
    SampleReadError
        It is damaged.
    """
    pa = _pyarrow()
    try:
        return pa.ipc.read_schema(pa.py_buffer(message))
    except (pa.ArrowException, OSError) as error:
        raise SampleReadError(f"a damaged Arrow schema: {error}") from error


class BatchColumns:
    """The values of a record batch.

    Parameters
    ----------
    data : ByteRanges
        The chunk.
    schema : pyarrow.Schema
        Of all batches.
    layout : BatchLayout
        Where the buffers of this one are.

    Raises
    ------
    SampleReadError
        It does not fit the schema, or is damaged.
    """

    def __init__(self, data: ByteRanges, schema: Any, layout: BatchLayout) -> None:
        self._data, self._layout = data, layout
        self.unpacked_bytes = 0
        """Memory that its compressed buffers take."""
        self._nodes, self._buffers = iter(layout.nodes), iter(layout.buffers)
        pa = _pyarrow()
        try:
            self._values = {field.name: self._column(field.type) for field in schema}
        except StopIteration:
            raise SampleReadError("an Arrow record batch with too few buffers") from None
        except (pa.ArrowException, OverflowError, ValueError) as error:
            raise SampleReadError(f"a damaged Arrow record batch: {error}") from error

    def row(self, position: int) -> dict[str, Any]:
        """Return the value of each column; `position` is below the number of rows."""
        return {name: value(position) for name, value in self._values.items()}

    def _column(self, kind: Any) -> _Value:
        """Take the buffers of a column, and return how its values are read."""
        types = _pyarrow().types
        if types.is_struct(kind) and any(_is_long(child.type) for child in kind):
            return self._struct(kind)
        if _is_long(kind):
            wide = types.is_large_binary(kind) or types.is_large_string(kind)
            is_text = types.is_string(kind) or types.is_large_string(kind)
            return self._long(np.dtype("<i8" if wide else "<i4"), is_text)
        values = self._array(kind).to_pylist()
        self._check_length(len(values))
        return lambda position: values[position]

    def _struct(self, kind: Any) -> _Value:
        length, _ = self._node()
        self._check_length(length)
        is_valid = self._validity()
        children = {child.name: self._column(child.type) for child in kind}

        def value(position: int) -> Any:
            if not is_valid(position):
                return None
            return {name: child(position) for name, child in children.items()}

        return value

    def _long(self, offset_dtype: np.dtype[Any], is_text: bool) -> _Value:
        length, _ = self._node()
        self._check_length(length)
        is_valid = self._validity()
        raw = self._content(next(self._buffers))
        if len(raw) < (length + 1) * offset_dtype.itemsize and length:
            raise SampleReadError("an Arrow column with too few offsets")
        offsets = np.frombuffer(raw, offset_dtype, length + 1 if length else 0)
        read = self._reader(next(self._buffers))

        def value(position: int) -> Any:
            if not is_valid(position):
                return None
            data = read(int(offsets[position]), int(offsets[position + 1]))
            try:
                return data.decode("utf-8") if is_text else data
            except UnicodeDecodeError as error:
                raise SampleReadError(f"text that is not UTF-8: {error}") from error

        return value

    def _array(self, kind: Any) -> Any:
        """Read a column, with what is nested in it, as a pyarrow array."""
        pa = _pyarrow()
        length, num_nulls = self._node()
        if pa.types.is_null(kind):
            return pa.nulls(min(length, self._layout.num_rows))
        if not _is_readable(kind):
            raise SampleReadError(f"an Arrow column of type {kind}, which is not read here")
        count = kind.num_buffers
        buffers = [pa.py_buffer(self._content(next(self._buffers))) for _ in range(count)]
        if not buffers[0].size:
            buffers[0] = None
        children = [self._array(child.type) for child in _children(kind)]
        array = pa.Array.from_buffers(kind, length, buffers, num_nulls, children=children)
        array.validate(full=True)
        return array

    def _node(self) -> tuple[int, int]:
        return next(self._nodes)

    def _check_length(self, length: int) -> None:
        if length != self._layout.num_rows:
            raise SampleReadError(
                f"an Arrow column of {length} values in a batch of {self._layout.num_rows} rows"
            )

    def _validity(self) -> Callable[[int], bool]:
        bits = self._content(next(self._buffers))
        if not bits:
            return lambda _: True
        if 8 * len(bits) < self._layout.num_rows:
            raise SampleReadError("an Arrow column with too few bits for its nulls")
        return lambda position: bool(bits[position >> 3] >> (position & 7) & 1)

    def _reader(self, buffer: Buffer) -> Callable[[int, int], bytes]:
        """Return what reads a range of a buffer."""
        size = buffer.stop - buffer.start
        if self._layout.codec is not None:
            content = self._content(buffer)
            size = len(content)

        def read(start: int, stop: int) -> bytes:
            if not 0 <= start <= stop <= size:
                raise SampleReadError(f"an Arrow value at {start} to {stop} of {size} bytes")
            if self._layout.codec is not None:
                return content[start:stop]
            return self._data.read(buffer.start + start, buffer.start + stop)

        return read

    def _content(self, buffer: Buffer) -> bytes:
        """Read a whole buffer, unpacked."""
        data = self._data.read(*buffer)
        if self._layout.codec is None or not data:
            return data
        size = int.from_bytes(data[:8], "little", signed=True)
        if size == -1:  # this one did not get smaller
            return data[8:]
        if size < 0 or len(data) < 8 or self.unpacked_bytes + size > _MAX_UNPACKED_BYTES:
            raise SampleReadError(
                f"a compressed Arrow buffer of {size:,} bytes; at most {_MAX_UNPACKED_BYTES:,} of "
                "a batch are read"
            )
        self.unpacked_bytes += size
        if self._layout.codec == "zstd":
            content = unpack(data[8:], size)
        else:
            codec = _pyarrow().Codec(self._layout.codec)
            try:
                content = codec.decompress(data[8:], decompressed_size=size, asbytes=True)
            except (_pyarrow().ArrowException, OSError) as error:
                raise SampleReadError(f"a damaged Arrow buffer: {error}") from error
        if len(content) != size:
            raise SampleReadError(f"an Arrow buffer of {len(content)} bytes, expected {size}")
        return content


def _is_long(kind: Any) -> bool:
    """Tell whether values are read one by one, or hold some that are."""
    types = _pyarrow().types
    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_string(kind)
        or types.is_large_string(kind)
        or (types.is_struct(kind) and any(_is_long(child.type) for child in kind))
    )


def _is_readable(kind: Any) -> bool:
    types = _pyarrow().types
    return bool(
        types.is_primitive(kind)
        or types.is_struct(kind)
        or types.is_list(kind)
        or types.is_large_list(kind)
        or (_is_long(kind) and not types.is_struct(kind))
    )


def _children(kind: Any) -> Iterator[Any]:
    return (kind.field(i) for i in range(kind.num_fields))


def _pyarrow() -> Any:
    try:
        import pyarrow.ipc
        import pyarrow.types
    except ImportError as error:
        raise ImportError(
            "LitData chunks of Arrow rows need pyarrow: "
            "pip install 'visionlab-slipstream-loader[litdata]'"
        ) from error
    return pyarrow
