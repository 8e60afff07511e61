"""One Arrow file or stream in memory maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from slipstream_loader.errors import SourceError
from slipstream_loader.sources.arrow_messages import BatchFacts, batch_facts, batch_places

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK_ROWS: Final = 64
_MAX_BATCH_BYTES: Final = 192 << 20
"""Unpacked of a batch of a compressed file, which is unpacked when it is read."""
_MAX_STREAM_BYTES: Final = 512 << 20
"""Unpacked of a compressed stream, which memory holds as a whole."""


class ArrowFile:
    """An Arrow stream or file in memory maps: its batches are row groups.

    Batches of a file may be compressed, and are then unpacked when they are read. A compressed
    stream is unpacked as a whole: nothing tells where in it a batch lies.

    Parameters
    ----------
    path : str

    Raises
    ------
    SourceError, OSError, ValueError, pyarrow.ArrowException
        It is damaged, or unpacks to too much.
    """

    def __init__(self, path: str) -> None:
        import pyarrow as pa

        mapped = pa.memory_map(path).read_buffer()
        try:
            reader = pa.ipc.open_file(mapped)
        except pa.ArrowInvalid:
            facts = _checked_stream(mapped)
            self.group_bytes = [0 for _ in facts]  # they are unpacked here
            reader = pa.ipc.open_stream(mapped)
            self._batch: Callable[[int], pa.RecordBatch] = list(reader).__getitem__
        else:
            facts = _checked_batches(mapped)
            self.group_bytes = [batch.num_bytes for batch in facts]
            self._batch = reader.get_batch
        self.group_rows = [batch.num_rows for batch in facts]
        sizes = [max(batch.num_bytes, batch.body_bytes) for batch in facts]
        self.row_bytes = [
            -(-size // max(1, rows)) for size, rows in zip(sizes, self.group_rows, strict=True)
        ]
        self.schema: pa.Schema = reader.schema
        self.steps = [_BLOCK_ROWS for _ in self.group_rows]
        self.is_read_in_steps = False  # memory maps: any row is as near as the next

    def tables(self, group: int, step: int) -> Iterator[pa.Table]:
        """Yield the blocks of a batch from one on."""
        import pyarrow as pa

        batch = self._batch(group)
        for begin in range(step * _BLOCK_ROWS, len(batch), _BLOCK_ROWS):
            rows = batch.slice(begin, _BLOCK_ROWS)
            rows.validate(full=True)  # nobody has looked at what the map holds
            yield pa.Table.from_batches([rows])


def _checked_stream(mapped: pa.Buffer) -> list[BatchFacts]:
    """The batches of an Arrow stream, which do not unpack to too much together."""
    import pyarrow as pa

    messages = [m for m in pa.ipc.MessageReader.open_stream(mapped) if m.type != "schema"]
    facts = [batch_facts(message) for message in messages]
    unpacked = sum(batch.num_bytes for batch in facts)
    if unpacked > _MAX_STREAM_BYTES:
        raise SourceError(
            f"a compressed Arrow stream of {unpacked:,} bytes, which memory would have to hold; at "
            f"most {_MAX_STREAM_BYTES:,} are unpacked: write it as an Arrow file "
            "(pyarrow.ipc.new_file), or without compression"
        )
    pairs = zip(messages, facts, strict=True)
    return [batch for message, batch in pairs if message.type == "record batch"]


def _checked_batches(mapped: pa.Buffer) -> list[BatchFacts]:
    """The batches of an Arrow file, of which none unpacks to too much."""
    import pyarrow as pa

    dictionaries, batches = (
        [batch_facts(pa.ipc.read_message(mapped.slice(place))) for place in places]
        for places in batch_places(memoryview(mapped))
    )
    held = sum(dictionary.num_bytes for dictionary in dictionaries)
    for number, batch in enumerate(batches):
        if held + batch.num_bytes > _MAX_BATCH_BYTES:
            raise SourceError(
                f"batch {number} unpacks to {held + batch.num_bytes:,} bytes, with its "
                f"dictionaries; at most {_MAX_BATCH_BYTES:,} are unpacked at a time: write it in "
                "smaller batches (write_table(..., max_chunksize=100)), or without compression"
            )
    return batches
