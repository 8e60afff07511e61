"""Where the buffers of Arrow record batches lie, without reading them.

pyarrow reads a record batch as a whole; here only what is needed of it is to be read, from a file
or over the network. So the metadata of the messages, which are FlatBuffers, are read directly.

Source: Arrow Columnar Format 1.5 (IPC file and stream), Message.fbs and File.fbs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from slipstream_loader.errors import SampleReadError
from slipstream_loader.sources.flatbuffer import Table
from slipstream_loader.sources.litdata.ranges import ByteRanges

FILE_MAGIC: Final = b"ARROW1"
_CONTINUATION: Final = 0xFFFFFFFF
_PREFIX: Final = struct.Struct("<II")
_MAX_METADATA_BYTES: Final = 1 << 26
_MAX_BATCH_ROWS: Final = 1 << 24
_SCHEMA, _RECORD_BATCH = 1, 3
_CODECS: Final = {0: "lz4", 1: "zstd"}


class Buffer(NamedTuple):
    """A range of bytes of the chunk."""

    start: int
    stop: int


@dataclass(frozen=True)
class BatchLayout:
    """A record batch: the numbers and places that its metadata hold, in the schema's order."""

    num_rows: int
    nodes: tuple[tuple[int, int], ...]
    """Length and number of nulls of each array."""
    buffers: tuple[Buffer, ...]
    codec: str | None
    """With what each buffer is compressed."""


class ArrowLayout(NamedTuple):
    """What an IPC file or stream holds."""

    schema: bytes
    """The message with the schema."""
    messages: list[Buffer]
    """The record batches: each from its metadata's prefix to the end of its body."""


def read_layout(data: ByteRanges, start: int, stop: int) -> ArrowLayout:
    """Find the schema and the record batches of the IPC file or stream in a range of bytes.

    Raises
    ------
    SampleReadError
        It is damaged, or of a kind that is not known here.
    """
    is_file = data.read(start, min(stop, start + len(FILE_MAGIC))) == FILE_MAGIC
    begin = start + 8 if is_file else start
    schema = _read_message(data, begin, stop)
    if schema.kind != _SCHEMA:
        raise SampleReadError("the Arrow rows do not begin with a schema")
    if is_file:
        messages = list(_blocks_of_footer(data, start, stop))
    else:
        messages = list(_messages_of_stream(data, schema.body_stop, stop))
    return ArrowLayout(data.read(begin, schema.body_start), messages)


def read_batch(data: ByteRanges, message: Buffer) -> BatchLayout:
    """Read the metadata of a record batch.

    Raises
    ------
    SampleReadError
        They are damaged.
    """
    found = _read_message(data, message.start, message.stop)
    if found.kind != _RECORD_BATCH:
        raise SampleReadError("an Arrow message that is no record batch")
    try:
        return _parse_batch(found)
    except struct.error as error:
        raise SampleReadError(f"a damaged Arrow record batch: {error}") from error


class _Message(NamedTuple):
    kind: int
    header: Table
    body_start: int
    body_stop: int


def _read_message(data: ByteRanges, start: int, stop: int) -> _Message:
    marker, size = _PREFIX.unpack(data.read(start, start + _PREFIX.size))
    metadata_start = start + _PREFIX.size
    if marker != _CONTINUATION or not 0 < size <= min(_MAX_METADATA_BYTES, stop - metadata_start):
        raise SampleReadError("a damaged Arrow message, or one of a version before 1.0")
    metadata = data.read(metadata_start, metadata_start + size)
    try:
        root = Table.root(metadata)
        kind, body_bytes = root.number(1, "<B"), root.number(3, "<q")
        header = root.table(2)
    except struct.error as error:
        raise SampleReadError(f"a damaged Arrow message: {error}") from error
    body_start = metadata_start + size
    if header is None or not 0 <= body_bytes <= stop - body_start:
        raise SampleReadError("an Arrow message that is cut off")
    return _Message(kind, header, body_start, body_start + body_bytes)


def _parse_batch(message: _Message) -> BatchLayout:
    batch = message.header
    num_rows = batch.number(0, "<q")
    nodes = tuple((length, nulls) for length, nulls in batch.structs(1, "<qq"))
    buffers = []
    for offset, length in batch.structs(2, "<qq"):
        start = message.body_start + offset
        if offset < 0 or length < 0 or start + length > message.body_stop:
            raise SampleReadError("a buffer of an Arrow record batch lies outside of its body")
        buffers.append(Buffer(start, start + length))
    compression, codec = batch.table(3), None
    if compression is not None:
        codec = _CODECS.get(compression.number(0, "<b"))
        if codec is None:
            raise SampleReadError("an Arrow record batch with an unknown compression")
    if not all(0 <= length <= _MAX_BATCH_ROWS for length in (num_rows, *(n for n, _ in nodes))):
        raise SampleReadError(f"an Arrow record batch of {num_rows} rows")
    return BatchLayout(num_rows, nodes, tuple(buffers), codec)


def _blocks_of_footer(data: ByteRanges, start: int, stop: int) -> Iterator[Buffer]:
    tail = data.read(stop - 10, stop)
    (size,) = struct.unpack_from("<I", tail)
    if tail[4:] != FILE_MAGIC or not 0 < size <= min(_MAX_METADATA_BYTES, stop - 10 - start):
        raise SampleReadError("the Arrow rows have no footer: they are cut off or damaged")
    try:
        footer = Table.root(data.read(stop - 10 - size, stop - 10))
        blocks = list(footer.structs(3, "<qi4xq"))
    except struct.error as error:
        raise SampleReadError(f"a damaged Arrow footer: {error}") from error
    for offset, metadata_bytes, body_bytes in blocks:
        end = start + offset + metadata_bytes + body_bytes
        if min(offset, metadata_bytes, body_bytes) < 0 or end > stop:
            raise SampleReadError("an Arrow record batch lies outside of its file")
        yield Buffer(start + offset, end)


def _messages_of_stream(data: ByteRanges, start: int, stop: int) -> Iterator[Buffer]:
    while start + _PREFIX.size <= stop:
        if _PREFIX.unpack(data.read(start, start + _PREFIX.size)) == (_CONTINUATION, 0):
            return
        message = _read_message(data, start, stop)
        yield Buffer(start, message.body_stop)
        start = message.body_stop
