"""What batches of Arrow data take when they are unpacked: told before pyarrow does it.

Source: the Arrow columnar format (``Message.fbs``, ``File.fbs``).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from slipstream_loader.errors import SourceError
from slipstream_loader.sources.flatbuffer import Table

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
_BUFFER: Final = "<qq"
"""Place in the body, and length."""
_BLOCK: Final = "<qi4xq"
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
        batch = Table.root(memoryview(message.metadata)).table(_HEADER)
        if batch is not None and message.type == "dictionary":
            batch = batch.table(_DATA)
        if batch is None:
            raise struct.error("it has no batch")
        is_packed = batch.table(_COMPRESSION) is not None
        buffers = batch.structs(_BUFFERS, _BUFFER) if is_packed else ()
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
        footer = Table.root(file[tail - int(struct.unpack_from("<i", file, tail)[0]) : tail])
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
