"""Chunks that hold their samples as rows of an Arrow table behind an empty list of items.

::

    u32 N | u32 offsets[N + 1] | Arrow IPC file (or stream) | u32 its bytes | "LDARW01" 0

This is how LitData writes plain dicts of numbers, text and bytes. Bytes and text are read row by
row, whatever their size; numbers and nested values batch by batch.
"""

from __future__ import annotations

import bisect
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from itertools import accumulate
from typing import Any, Final

from slipstream_loader.errors import SampleReadError
from slipstream_loader.sources.litdata.arrow_columns import BatchColumns, read_schema
from slipstream_loader.sources.litdata.arrow_messages import (
    ArrowLayout,
    read_batch,
    read_layout,
)
from slipstream_loader.sources.litdata.items import check_count
from slipstream_loader.sources.litdata.ranges import ByteRanges

ROWS_MAGIC: Final = b"LDARW01\0"
_TAIL: Final = struct.Struct("<I8s")
_BATCHES_KEPT: Final = 64
_UNPACKED_BYTES_KEPT: Final = 1 << 28


def has_rows(data: ByteRanges) -> bool:
    """Tell whether a chunk holds its samples as rows."""
    return data.size >= _TAIL.size and data.read(data.size - 8, data.size) == ROWS_MAGIC


class KeptBatches:
    """The record batches of all chunks that were read last, in bounded memory."""

    def __init__(self) -> None:
        self._lock, self._unpacking = threading.Lock(), threading.Lock()
        self._kept: OrderedDict[tuple[object, int], BatchColumns] = OrderedDict()

    def find(
        self, key: tuple[object, int], read: Callable[[], BatchColumns], *, is_packed: bool
    ) -> BatchColumns:
        """Return a batch; of those that are compressed, one at a time is read."""
        with self._unpacking if is_packed else nullcontext():
            with self._lock:
                found = self._kept.get(key)
                if found is not None:
                    self._kept.move_to_end(key)
                    return found
            found = read()
            with self._lock:
                self._kept[key] = found
                while len(self._kept) > 1 and self._is_full():
                    self._kept.popitem(last=False)
            return found

    def _is_full(self) -> bool:
        unpacked = sum(batch.unpacked_bytes for batch in self._kept.values())
        return len(self._kept) > _BATCHES_KEPT or unpacked > _UNPACKED_BYTES_KEPT


class ArrowRows:
    """The rows of one chunk.

    Parameters
    ----------
    data : ByteRanges
        The chunk.
    num_samples : int
        How many rows the index says it has.
    kept : KeptBatches
        Of all chunks.

    Raises
    ------
    SampleReadError
        It is damaged, or not the chunk that the index speaks of.
    """

    def __init__(self, data: ByteRanges, num_samples: int, kept: KeptBatches) -> None:
        self._data, self._kept, self._key = data, kept, object()
        layout = _layout_of(data)
        self._schema = read_schema(layout.schema)
        self._batches = [read_batch(data, message) for message in layout.messages]
        self._ends = list(accumulate(batch.num_rows for batch in self._batches))
        check_count(self._ends[-1] if self._ends else 0, num_samples)

    def row(self, position: int) -> dict[str, Any]:
        """Return the columns' values in a row; dicts are nested as in the sample.

        Raises
        ------
        SampleReadError
            They are damaged.
        """
        number = bisect.bisect_right(self._ends, position)
        begin = self._ends[number] - self._batches[number].num_rows
        return self._columns(number).row(position - begin)

    def _columns(self, number: int) -> BatchColumns:
        layout = self._batches[number]
        return self._kept.find(
            (self._key, number),
            lambda: BatchColumns(self._data, self._schema, layout),
            is_packed=layout.codec is not None,
        )


def num_batches(data: ByteRanges) -> int:
    """Return the number of record batches of a chunk."""
    return len(_layout_of(data).messages)


def _layout_of(data: ByteRanges) -> ArrowLayout:
    size, _ = _TAIL.unpack(data.read(data.size - _TAIL.size, data.size))
    stop = data.size - _TAIL.size
    if not 16 <= size <= stop:
        raise SampleReadError(f"Arrow rows of {size} bytes in a chunk of {data.size}")
    return read_layout(data, stop - size, stop)
