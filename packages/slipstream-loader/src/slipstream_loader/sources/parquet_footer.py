"""The end of a parquet file: what pyarrow's metadata does not tell without risk.

pyarrow ends the process, with no exception, when it is asked for the metadata of a column whose
size statistics are damaged. What is needed of columns is read here from the footer itself.

Source: the Thrift compact protocol, and ``parquet.thrift`` of Apache Parquet (``FileMetaData``).
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO, Final

from slipstream_loader.errors import SourceError

_MAGIC: Final = b"PAR1"
_TAIL_BYTES: Final = 8
"""The length of the footer and the magic."""
_FIRST_READ_BYTES: Final = 64 << 10

_BYTE_ARRAY: Final = 6
_BOOLEANS: Final = (1, 2)
_NUMBERS: Final = (4, 5, 6)
_BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 3, 7, 8, 9, 10, 11, 12


def read_footer(file: BinaryIO) -> bytes:
    """Read the end of a file, from its footer or before it on; whatever is there if it has none."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _FIRST_READ_BYTES))
    data = file.read()
    length = int.from_bytes(data[-_TAIL_BYTES:-4], "little") + _TAIL_BYTES
    if data.endswith(_MAGIC) and len(data) < length <= size:
        file.seek(size - length)
        data = file.read()
    return data


def dictionary_bytes(footer: bytes) -> list[int]:
    """Bytes of the dictionaries of strings in each row group, as they are stored.

    Parameters
    ----------
    footer : bytes
        Of ``read_footer``, and known to be one that pyarrow reads.

    Raises
    ------
    SourceError
        It is not a footer.
    """
    begin = len(footer) - _TAIL_BYTES - int.from_bytes(footer[-_TAIL_BYTES:-4], "little")
    try:
        groups = _Compact(footer, begin).struct({4: {1: {3: {1: {}, 9: {}, 11: {}}}}}).get(4, [])
        return [sum(map(_dictionary_bytes, group.get(1, []))) for group in groups]
    except (IndexError, TypeError, AttributeError, RecursionError) as error:
        raise SourceError(f"the footer is damaged: {error!r}") from error


def _dictionary_bytes(column: dict[int, Any]) -> int:
    """``ColumnMetaData``: 1 is the type, 9 and 11 are the places of data and of a dictionary."""
    facts = column.get(3, {})
    if facts.get(1) != _BYTE_ARRAY or 11 not in facts:
        return 0
    return max(0, int(facts[9]) - int(facts[11])) if 9 in facts else 0


class _Compact:
    """Reads values of the compact protocol from a place on; what is not wanted is skipped."""

    def __init__(self, data: bytes, place: int) -> None:
        self._data, self._place = data, place

    def struct(self, wanted: dict[int, Any]) -> dict[int, Any]:
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

    def _value(self, kind: int, wanted: dict[int, Any]) -> Any:
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
            size = self._varint()  # which moves the place
            self._place += size
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
            self._place += 8
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
        return value | byte << shift

    def _byte(self) -> int:
        byte = self._data[self._place]
        self._place += 1
        return byte
