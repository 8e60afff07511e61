"""Leaves of kind ``json``: lists and dicts in LitData's compact binary form, or as JSON text.

The form is a tag byte and what belongs to it; numbers are little-endian, ``n`` is a uint32, and
``str`` is ``n`` and so many bytes of UTF-8::

    0 JSON text     n bytes                 6 records  n, k, k str (keys), n x k (tag, value)
    1 strings       n, n str                7 str
    2 integers      n, n int64              8 int64
    3 floats        n, n float64            9 float64
    4 bools         n, n bytes             10 bool     1 byte
    5 dict          n, n (str, value)      11 None

A leaf that begins with another byte is JSON text as a whole.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final

from slipstream_loader.errors import SampleReadError

_LAST_TAG: Final = 0x20
_MAX_DEPTH: Final = 64
_RECORD_NONE, _RECORD_STR, _RECORD_INT, _RECORD_FLOAT, _RECORD_BOOL = range(0x10, 0x15)
_COUNT: Final = struct.Struct("<I")


def load_nested(data: bytes) -> Any:
    """Return the value of a leaf of kind ``json``.

    Raises
    ------
    SampleReadError
        It is damaged.
    """
    try:
        if not data or data[0] > _LAST_TAG:
            return json.loads(data)
        reader = _Reader(data)
        value = reader.value(0)
        if reader.position != len(data):
            raise ValueError(f"{len(data) - reader.position} bytes too many")
    except (IndexError, RecursionError, ValueError, struct.error) as error:
        raise SampleReadError(f"a damaged value of kind json: {error}") from error
    return value


class _Reader:
    """Reads one value after another."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def value(self, depth: int) -> Any:
        """Read a tag and what belongs to it."""
        if depth > _MAX_DEPTH:
            raise ValueError(f"nested more than {_MAX_DEPTH} times")
        tag = self._take(1)[0]
        if tag == 0:
            return json.loads(self._take(self._count()))
        if tag == 1:
            return [self._text() for _ in range(self._count(4))]
        if tag in (2, 3):
            count = self._count(8)
            return list(struct.unpack(f"<{count}{'q' if tag == 2 else 'd'}", self._take(8 * count)))
        if tag == 4:
            return [byte != 0 for byte in self._take(self._count())]
        if tag == 5:
            return {self._text(): self.value(depth + 1) for _ in range(self._count(5))}
        if tag == 6:
            return self._records()
        return self._single(tag)

    def _single(self, tag: int) -> Any:
        if tag == 7:
            return self._text()
        if tag == 8:
            return struct.unpack("<q", self._take(8))[0]
        if tag == 9:
            return struct.unpack("<d", self._take(8))[0]
        if tag == 10:
            return self._take(1)[0] != 0
        if tag == 11:
            return None
        raise ValueError(f"an unknown tag {tag}")

    def _records(self) -> list[dict[str, Any]]:
        num_rows = _COUNT.unpack(self._take(4))[0]
        keys = [self._text() for _ in range(self._count(4))]
        if num_rows * max(1, len(keys)) > len(self._data) - self.position:
            raise ValueError(f"{num_rows} records of {len(keys)} values are longer than the data")
        tags = {_RECORD_NONE: 11, _RECORD_STR: 7, _RECORD_INT: 8, _RECORD_FLOAT: 9}
        tags[_RECORD_BOOL] = 10
        rows = []
        for _ in range(num_rows):
            row = {}
            for key in keys:
                tag = self._take(1)[0]
                row[key] = self._single(tags.get(tag, tag + 256))
            rows.append(row)
        return rows

    def _text(self) -> str:
        return self._take(self._count()).decode("utf-8")

    def _count(self, least_bytes: int = 1) -> int:
        """Read a number of things that have so many bytes at least."""
        count: int = _COUNT.unpack(self._take(4))[0]
        if count * least_bytes > len(self._data) - self.position:
            raise ValueError(f"{count} things are longer than the data")
        return count

    def _take(self, num_bytes: int) -> bytes:
        end = self.position + num_bytes
        if end > len(self._data):
            raise ValueError("it is cut off")
        taken = self._data[self.position : end]
        self.position = end
        return taken
