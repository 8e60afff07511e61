"""What batches of Arrow data take when they are unpacked: told before pyarrow does it.

Source: the Arrow columnar format (``Message.fbs``, ``File.fbs``), and FlatBuffers' internals.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from slipstream_loader.errors import SourceError

if TYPE_CHECKING:
    import pyarrow as pa

_MAGIC: Final = b"ARROW1"
_HEADER: Final = 2
"""Field of a ``Message``: a ``RecordBatch``, or a ``DictionaryBatch`` that has one as its data."""
_DATA: Final = 1
_LENGTH, _BUFFERS, _COMPRESSION = 0, 2, 3
"""Fields of a ``RecordBatch``."""
_DICTIONARIES, _BATCHES = 2, 3
"""Fields of a ``Footer``."""
_BUFFER: Final = struct.Struct("<qq")
"""Place in the body, and length."""
_BLOCK: Final = struct.Struct("<qi4xq")
"""Place in the file, and lengths of metadata and body."""
_UNPACKED_BYTES: Final = struct.Struct("<q")
"""Before a compressed buffer; -1 if it is not compressed after all."""


class BatchFacts(NamedTuple):
    """Of a batch of rows, or of a dictionary."""

    num_rows: int
    num_bytes: int
    """That have to be unpacked; 0 if it is not compressed."""
    body_bytes: int
    """As it is stored."""


def batch_facts(message: pa.Message) -> BatchFacts:
    """Read what a message says of its batch.

    Parameters
    ----------
    message : pyarrow.Message
        A "record batch" or a "dictionary".

    Raises
    ------
    SourceError
        It is damaged.
    """
    body = memoryview(message.body)
    try:
        batch = _root(memoryview(message.metadata)).table(_HEADER)
        if message.type == "dictionary":
            batch = batch.table(_DATA)
        buffers = batch.structs(_BUFFERS, _BUFFER) if batch.place_of(_COMPRESSION) else []
        sizes = [_UNPACKED_BYTES.unpack_from(body, place)[0] for place, size in buffers if size]
        num_bytes = sum(max(0, size) for size in sizes)
        facts = BatchFacts(batch.number(_LENGTH, "<q"), num_bytes, len(body))
    except struct.error as error:
        raise SourceError(f"a {message.type} is damaged: {error}") from error
    if facts.num_rows < 0:
        raise SourceError(f"a {message.type} of {facts.num_rows} rows: it is damaged")
    return facts


def batch_places(file: memoryview) -> tuple[list[int], list[int]]:
    """Places of the messages of an Arrow file: those of dictionaries, and those of rows.

    Parameters
    ----------
    file : memoryview of bytes
        Known to be one that pyarrow opens.

    Raises
    ------
    SourceError
        Its footer is damaged.
    """
    tail = len(file) - len(_MAGIC) - 4
    try:
        footer = _root(file[tail - int(struct.unpack_from("<i", file, tail)[0]) : tail])
        dictionaries, batches = (
            [place for place, _, _ in footer.structs(field, _BLOCK)]
            for field in (_DICTIONARIES, _BATCHES)
        )
    except struct.error as error:
        raise SourceError(f"the footer is damaged: {error}") from error
    for place in dictionaries + batches:
        if not 0 <= place < tail:
            raise SourceError(f"the footer is damaged: a batch at byte {place} of {len(file)}")
    return dictionaries, batches


class _Table:
    """A FlatBuffers table; methods raise struct.error where it points outside of the data."""

    def __init__(self, data: memoryview, place: int) -> None:
        self._data, self._place = data, place
        self._fields = place - self._at(place, "<i")

    def place_of(self, field: int) -> int:
        """Place of the value of a field; 0 if there is none."""
        entry = 4 + 2 * field
        if entry >= self._at(self._fields, "<H"):
            return 0
        offset = self._at(self._fields + entry, "<H")
        return offset and self._place + offset

    def number(self, field: int, kind: str) -> int:
        """The value of a field, or 0."""
        place = self.place_of(field)
        return place and self._at(place, kind)

    def table(self, field: int) -> _Table:
        """The table that a field holds."""
        place = self.place_of(field)
        if not place:
            raise struct.error(f"field {field} is missing")
        return _Table(self._data, place + self._at(place, "<I"))

    def structs(self, field: int, kind: struct.Struct) -> list[tuple[int, ...]]:
        """The structures that a field holds."""
        place = self.place_of(field)
        if not place:
            return []
        place += self._at(place, "<I")
        begin, end = place + 4, place + 4 + kind.size * self._at(place, "<I")
        if end > len(self._data):
            raise struct.error(f"field {field} ends outside of the data")
        return list(kind.iter_unpack(self._data[begin:end]))

    def _at(self, place: int, kind: str) -> int:
        if place < 0:
            raise struct.error(f"a field at byte {place}")
        number: int = struct.unpack_from(kind, self._data, place)[0]
        return number


def _root(data: memoryview) -> _Table:
    return _Table(data, int(struct.unpack_from("<I", data, 0)[0]))
