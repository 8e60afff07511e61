"""Values of the Thrift compact protocol, in which parquet files describe themselves.

Source: the Thrift compact protocol encoding (Apache Thrift, ``doc/specs``).
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

_BOOLEANS: Final = (1, 2)
_NUMBERS: Final = (4, 5, 6)
_BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 3, 7, 8, 9, 10, 11, 12
_MAX_SHIFT: Final = 63
"""Of the last byte of a number of 64 bits."""

Wanted: TypeAlias = "dict[int, Any]"
"""Ids of fields that are read; for those that hold structures, which fields of them."""


class CompactReader:
    """Reads values from a place on; what is not wanted is skipped.

    Methods raise IndexError where the data ends too early, and TypeError or RecursionError where
    it cannot be of this protocol.

    Parameters
    ----------
    data : bytes
    place : int
        Of the first value.
    """

    def __init__(self, data: bytes, place: int) -> None:
        self._data = data
        self.place = place
        """Of the next value, in bytes."""

    def struct(self, wanted: Wanted) -> dict[int, Any]:
        """Read the fields of a structure that have the wanted ids, and in them the same."""
        found: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            kind, step = head & 15, head >> 4
            number = number + step if step else self._number()
            if number in wanted:
                found[number] = self._value(kind, wanted[number])
            else:
                self._skip(kind)
        return found

    def _value(self, kind: int, wanted: Wanted) -> Any:
        if kind in _NUMBERS:
            return self._number()
        if kind == _STRUCT:
            return self.struct(wanted)
        if kind == _LIST:
            size, kind = self._size()
            return [self._value(kind, wanted) for _ in range(size)]
        return self._skip(kind)

    def _skip(self, kind: int, *, in_list: bool = False) -> None:
        if kind in _NUMBERS:
            self._varint()
        elif kind == _BINARY:
            self._advance(self._varint())
        elif kind == _STRUCT:
            while head := self._byte():
                if not head >> 4:
                    self._varint()
                self._skip(head & 15)
        elif kind in (_LIST, _SET):
            size, kind = self._size()
            for _ in range(size):
                self._skip(kind, in_list=True)
        elif kind == _MAP:
            size = self._varint()
            kinds = self._byte() if size else 0
            for _ in range(size):
                self._skip(kinds >> 4, in_list=True)
                self._skip(kinds & 15, in_list=True)
        elif kind == _DOUBLE:
            self._advance(8)
        elif kind == _BYTE or (kind in _BOOLEANS and in_list):
            self._byte()
        elif kind not in _BOOLEANS:
            raise TypeError(f"a value of kind {kind}")

    def _size(self) -> tuple[int, int]:
        head = self._byte()
        return (self._varint() if head >> 4 == 15 else head >> 4), head & 15

    def _number(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
            if shift > _MAX_SHIFT:
                raise TypeError("a number of more than 64 bits")
        return value | byte << shift

    def _advance(self, num_bytes: int) -> None:
        """Skip bytes: all have to be there, or a list could claim any number of values."""
        if num_bytes > len(self._data) - self.place:
            raise IndexError(f"the data ends before byte {self.place + num_bytes}")
        self.place += num_bytes

    def _byte(self) -> int:
        byte = self._data[self.place]
        self.place += 1
        return byte
