"""Chunks whose samples are items: plain, each item compressed, or compressed in frames.

::

    plain    u32 N | u32 offsets[N + 1] from the beginning of the file | items
    framed   "LDFZ01" 0 0 | u16 version | u16 flags | u32 N, K, frames | u32 offsets[N + 1] in the
             unpacked items | frames x (u32 first item, u32 items, u64 offset, u32 packed bytes,
             u32 unpacked bytes) | zstd frames of K items each
    item     u32 size of each leaf | the leaves

Numbers are little-endian. Nothing is kept in memory but where things are: an item costs a read of
two offsets and one of its bytes.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from slipstream_loader.errors import SampleReadError
from slipstream_loader.sources.litdata.index import UnknownLayoutError
from slipstream_loader.sources.litdata.ranges import ByteRanges, RangeReader
from slipstream_loader.sources.litdata.zstd import unpack, unpack_blocks

FRAMED_MAGIC: Final = b"LDFZ01\0\0"
_FRAMED_FAMILY: Final = b"LDFZ"
_FRAMED_HEADER: Final = struct.Struct("<8sHHIII")
_FRAME: Final = struct.Struct("<IIQII")
_COUNT: Final = struct.Struct("<I")
_PAIR: Final = struct.Struct("<II")
_MAX_ITEM_BYTES: Final = 1 << 28
"""An item that is larger is refused: it would be held in memory."""


class Items(Protocol):
    """The items of one chunk."""

    @property
    def num_items(self) -> int:
        """How many there are."""

    def item(self, position: int) -> bytes:
        """Return the bytes of an item.

        Raises
        ------
        SampleReadError
            They are damaged or not all there.
        """


@dataclass(frozen=True)
class PlainItems:
    """Items behind a table of their offsets."""

    data: ByteRanges
    num_items: int
    table: int
    """Where the table begins."""
    base: int
    """What the offsets count from."""
    is_compressed: bool = False
    """Whether each item is a zstd frame."""

    def item(self, position: int) -> bytes:
        """Return an item, unpacked."""
        start, stop = self._span(position)
        data = self.data.read(start, stop)
        return unpack(data, _MAX_ITEM_BYTES) if self.is_compressed else data

    def _span(self, position: int) -> tuple[int, int]:
        at = self.table + 4 * position
        start, stop = _PAIR.unpack(self.data.read(at, at + 8))
        if not self.table + 4 * (self.num_items + 1) <= start + self.base <= stop + self.base:
            raise SampleReadError(f"item {position} lies at {start} to {stop}: a damaged offset")
        _check_size(position, stop - start)
        return start + self.base, stop + self.base


class Frame(NamedTuple):
    """A zstd frame of some items."""

    first_item: int
    num_items: int
    offset: int
    packed_bytes: int
    unpacked_bytes: int


@dataclass(frozen=True)
class FramedItems:
    """Items in zstd frames; one is found by unpacking its frame up to it."""

    data: ByteRanges
    num_items: int
    items_in_frame: int
    num_frames: int

    def item(self, position: int) -> bytes:
        """Return an item."""
        frame = self.frame(position // self.items_in_frame)
        first, _ = self._offsets(frame.first_item)
        start, stop = self._offsets(position)
        if not first <= start <= stop <= first + frame.unpacked_bytes:
            raise SampleReadError(f"item {position} is not inside of its frame: a damaged offset")
        _check_size(position, stop - start)
        found = io.BytesIO()  # which hands its bytes over, without another copy
        unpacked = first
        for block in self._unpacked(frame):
            found.write(block[max(0, start - unpacked) : max(0, stop - unpacked)])
            unpacked += len(block)
            if unpacked >= stop:
                break
        return found.getvalue()

    def frame(self, number: int) -> Frame:
        """Return where a frame is.

        Raises
        ------
        SampleReadError
            It is damaged.
        """
        at = _FRAMED_HEADER.size + 4 * (self.num_items + 1) + _FRAME.size * number
        frame = Frame(*_FRAME.unpack(self.data.read(at, at + _FRAME.size)))
        first = number * self.items_in_frame
        expected = min(self.items_in_frame, self.num_items - first)
        if (frame.first_item, frame.num_items) != (first, expected):
            raise SampleReadError(
                f"frame {number} holds {frame.num_items} items from {frame.first_item} on, "
                f"expected {expected} from {first} on"
            )
        return frame

    def unpacked_blocks(self) -> Iterator[bytes]:
        """Yield the table of offsets, then all items unpacked: what `unpacked_items` reads."""
        yield self.data.read(_FRAMED_HEADER.size, _FRAMED_HEADER.size + 4 * (self.num_items + 1))
        position = 0
        for number in range(self.num_frames):
            frame = self.frame(number)
            expected, _ = self._offsets(frame.first_item)
            if position != expected:
                raise SampleReadError(f"frame {number} begins at {position}, not at {expected}")
            yield from self._unpacked(frame)
            position += frame.unpacked_bytes

    def unpacked_items(self, data: ByteRanges) -> PlainItems:
        """Return the items in bytes made of `unpacked_blocks`."""
        return PlainItems(data, self.num_items, table=0, base=4 * (self.num_items + 1))

    def _offsets(self, position: int) -> tuple[int, int]:
        at = _FRAMED_HEADER.size + 4 * position
        start, stop = _PAIR.unpack(self.data.read(at, at + 8))
        return start, stop

    def _unpacked(self, frame: Frame) -> Iterator[bytes]:
        packed = RangeReader(self.data, frame.offset, frame.offset + frame.packed_bytes)
        return unpack_blocks(packed, frame.unpacked_bytes)


def open_items(data: ByteRanges, num_samples: int, *, is_compressed: bool) -> Items:
    """Read the header of a chunk of items.

    Parameters
    ----------
    data : ByteRanges
        The chunk.
    num_samples : int
        How many items the index says it has.
    is_compressed : bool
        Whether the items of a plain chunk are compressed, each alone.

    Raises
    ------
    UnknownLayoutError
        It is framed in a version that is not known here.
    SampleReadError
        It is damaged, or not the chunk that the index speaks of.
    """
    head = data.read(0, min(_FRAMED_HEADER.size, data.size))
    if head.startswith(_FRAMED_FAMILY):
        return _open_framed(data, head, num_samples)
    if len(head) < 4:
        raise SampleReadError(f"a chunk of {len(head)} bytes")
    check_count(_COUNT.unpack_from(head)[0], num_samples)
    return PlainItems(data, num_samples, table=4, base=0, is_compressed=is_compressed)


def _check_size(position: int, num_bytes: int) -> None:
    if num_bytes > _MAX_ITEM_BYTES:
        raise SampleReadError(
            f"item {position} has {num_bytes:,} bytes; at most {_MAX_ITEM_BYTES:,} are read"
        )


def check_count(found: int, expected: int) -> None:
    """Raise SampleReadError unless a chunk holds as many samples as the index says."""
    if found != expected:
        raise SampleReadError(
            f"the chunk holds {found} samples, but the index says {expected}: it is damaged or "
            "belongs to another version of the data set"
        )


def _open_framed(data: ByteRanges, head: bytes, num_samples: int) -> FramedItems:
    if len(head) < _FRAMED_HEADER.size:
        raise SampleReadError(f"a framed chunk of {len(head)} bytes")
    magic, version, _, num_items, items_in_frame, num_frames = _FRAMED_HEADER.unpack(head)
    if magic != FRAMED_MAGIC or version != 1:
        raise UnknownLayoutError(f"framed chunks of version {magic!r} {version}; known is 1")
    check_count(num_items, num_samples)
    if items_in_frame < 1 or num_frames != -(-num_items // items_in_frame):
        raise SampleReadError(f"{num_frames} frames of {items_in_frame} for {num_items} items")
    return FramedItems(data, num_items, items_in_frame, num_frames)
