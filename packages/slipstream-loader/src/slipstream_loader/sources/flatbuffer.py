"""Values of FlatBuffers, in which Arrow data describes itself.

Source: FlatBuffers' internals (binary format).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple


class Table(NamedTuple):
    """A table of a FlatBuffer; struct.error is raised where it leads out of the buffer."""

    data: bytes | memoryview
    position: int
    """Of the table, in bytes."""

    @classmethod
    def root(cls, data: bytes | memoryview) -> Table:
        """The table that a buffer begins with."""
        return cls(data, cls(data, 0)._at("<I", 0))

    def number(self, field: int, layout: str) -> int:
        """A scalar; 0 where it is left out."""
        at = self._field(field)
        return 0 if at is None else self._at(layout, at)

    def table(self, field: int) -> Table | None:
        """A table inside of this one."""
        at = self._field(field)
        return None if at is None else Table(self.data, at + self._at("<I", at))

    def structs(self, field: int, layout: str) -> Iterator[tuple[Any, ...]]:
        """The members of a vector of structs."""
        at = self._field(field)
        if at is None:
            return
        vector = at + self._at("<I", at)
        record = struct.Struct(layout)
        count = self._at("<I", vector)
        if vector + 4 + count * record.size > len(self.data):
            raise struct.error("a vector that is too long")
        yield from record.iter_unpack(self.data[vector + 4 : vector + 4 + count * record.size])

    def _field(self, field: int) -> int | None:
        vtable = self.position - self._at("<i", self.position)
        if 4 + 2 * field >= self._at("<H", vtable):
            return None
        offset = self._at("<H", vtable + 4 + 2 * field)
        return self.position + offset if offset else None

    def _at(self, layout: str, position: int) -> int:
        if position < 0:
            raise struct.error("an offset that leads out of the buffer")
        value: int = struct.unpack_from(layout, self.data, position)[0]
        return value
