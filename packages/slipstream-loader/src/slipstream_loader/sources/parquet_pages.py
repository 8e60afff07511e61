"""Pages of parquet files: told from their headers, before pyarrow unpacks them.

pyarrow unpacks a page as a whole, and a page of a few bytes may unpack to gigabytes. Footers do
not tell the sizes of pages, and nobody compares them with what the pages say of themselves.

Source: ``parquet.thrift`` of Apache Parquet (``PageHeader``).
"""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slipstream_loader.errors import SourceError
from slipstream_loader.sources.parquet_footer import RowGroups
from slipstream_loader.sources.thrift_compact import CompactReader, Wanted

_MAX_PAGE_BYTES: Final = 192 << 20
"""Unpacked at a time: a page of each column."""
_MAX_PLAIN_BYTES: Final = 1 << 30
"""The same where pages are little more than what is stored: they cannot come out of nothing."""
_PLAIN_RATIO: Final = 4

REPEATED_BYTES: Final = 256 << 20
"""Meant for the rows of a step if all are the largest value that a dictionary may hold: sizes of
row groups do not tell how often a value is repeated."""
_DICTIONARY_BYTES: Final = (1 << 20, 16 << 20)
"""Of dictionaries of text, unpacked: writers mostly end them there, and hardly ever later."""
_DICTIONARY_RATIO: Final = 16
"""Of text unpacked to what is stored; dictionaries of photos are large, and hardly packed."""

_UNPACKED_BYTES, _PACKED_BYTES = 2, 3
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_2, _NUM_VALUES = 5, 7, 8, 1
_WANTED: Final[Wanted] = {
    _UNPACKED_BYTES: {},
    _PACKED_BYTES: {},
    _DATA_PAGE: {_NUM_VALUES: {}},
    _DICTIONARY_PAGE: {},
    _DATA_PAGE_2: {_NUM_VALUES: {}},
}
_HEADER_BYTES: Final = 4 << 10
"""Read for a header; again twice as many while it is longer."""
_MAX_HEADER_BYTES: Final = 16 << 20
"""Of a header that pyarrow reads."""
_NUMBERS_END: Final = 1 << 31
"""Of the numbers in a header, which have 32 bits and a sign."""


def expected_bytes(dictionaries: NDArray[np.int64]) -> NDArray[np.int64]:
    """About what dictionaries of so many stored bytes unpack to; 0 for those of none."""
    text = np.clip(_DICTIONARY_RATIO * dictionaries, *_DICTIONARY_BYTES)
    found: NDArray[np.int64] = np.where(dictionaries > 0, np.maximum(dictionaries, text), 0)
    return found


class Columns(NamedTuple):
    """What the schema tells of the columns."""

    value_bytes: NDArray[np.int64]
    """Of a value, unpacked, without the bytes of strings; shape (columns,)."""
    has_strings: NDArray[np.bool_]
    """Whether values have any length; shape (columns,)."""
    has_lists: NDArray[np.bool_]
    """Whether a row may hold many values: those of a page are unpacked together."""


class CheckedPages(io.RawIOBase):
    """A parquet file that ends in an error before a page that would take too much memory.

    What pyarrow reads passes through here, and so do the headers of all pages before it can see
    them. For one thread at a time.

    Parameters
    ----------
    file : BinaryIO
        It is closed with this one.
    groups : RowGroups
        Of its footer.
    columns : Columns
    """

    def __init__(self, file: BinaryIO, groups: RowGroups, columns: Columns) -> None:
        self._file, self._groups, self._columns = file, groups, columns
        self.select_group(0, 1)

    def select_group(self, number: int, step: int) -> None:
        """Expect reads of a row group, so many rows at a time."""
        self._step = step
        group = slice(number, number + 1)  # empty where there are no groups
        self._next = self._groups.begins[group].flatten()
        self._ends = self._groups.ends[group].flatten()
        self._num_left = self._groups.num_values[group].flatten()
        self._unpacked = np.zeros(self._next.size, np.int64)
        self._packed = np.zeros(self._next.size, np.int64)

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Position of the next read."""
        return self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Set the position of the next read, and return it."""
        return self._file.seek(offset, whence)

    def read(self, size: int = -1, /) -> bytes:
        """Read as the file does.

        Raises
        ------
        SourceError
            A page in these bytes is too large, or its header is damaged.
        OSError
            They cannot be read.
        """
        begin = self._file.tell()
        data = self._file.read(size)
        end = begin + len(data)
        for column in np.flatnonzero((self._next < end) & (self._ends > begin)).tolist():
            self._check_pages(column, begin, data)
        self._file.seek(end)
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _check_pages(self, column: int, begin: int, data: bytes) -> None:
        """Look at all headers of a column that begin before the end of what was read."""
        place, end = int(self._next[column]), min(int(self._ends[column]), begin + len(data))
        while place < end and self._num_left[column] > 0:  # what follows is not read either
            offset = max(0, place - begin)
            read = data[offset : offset + _HEADER_BYTES] if place >= begin else b""
            header, length = self._header(place, read)
            self._count(column, header)
            place += length + header[_PACKED_BYTES]
        self._next[column] = place

    def _count(self, column: int, header: dict[int, Any]) -> None:
        """Count what a page takes; SourceError if that is too much."""
        unpacked, packed = header[_UNPACKED_BYTES], header[_PACKED_BYTES]
        num_values = (header.get(_DATA_PAGE) or header.get(_DATA_PAGE_2) or {}).get(_NUM_VALUES, 0)
        self._num_left[column] -= num_values
        if _DICTIONARY_PAGE in header and self._columns.has_strings[column]:
            self._check_dictionary(unpacked)
        if self._columns.has_lists[column]:
            unpacked = max(unpacked, int(self._columns.value_bytes[column]) * num_values)
        if max(packed, unpacked) > self._unpacked[column]:
            self._unpacked[column], self._packed[column] = max(packed, unpacked), packed
        all_unpacked, all_packed = self._unpacked.sum(), self._packed.sum()
        is_plain = all_unpacked <= min(_MAX_PLAIN_BYTES, _PLAIN_RATIO * all_packed)
        if all_unpacked > _MAX_PAGE_BYTES and not is_plain:
            raise SourceError(
                f"its pages unpack to {all_unpacked:,} bytes; at most {_MAX_PAGE_BYTES:,} are "
                f"unpacked at a time ({_MAX_PLAIN_BYTES:,} where they are at most "
                f"{_PLAIN_RATIO} times what is stored): write the file with fewer rows in a row "
                "group (pyarrow.parquet.write_table(..., row_group_size=100))"
            )

    def _check_dictionary(self, unpacked: int) -> None:
        """Raise if a dictionary is larger than what the rows of a step were chosen for."""
        if self._step > 1 and self._step * unpacked > 2 * REPEATED_BYTES:
            raise SourceError(
                f"a dictionary unpacks to {unpacked:,} bytes, and {self._step} rows may repeat its "
                "largest value: write the file without dictionaries "
                "(pyarrow.parquet.write_table(..., use_dictionary=False))"
            )

    def _header(self, place: int, data: bytes) -> tuple[dict[int, Any], int]:
        """Read a page's header, of which some bytes may be there already; and its length."""
        size = len(data)
        while True:
            reader = CompactReader(data, 0)
            try:
                header = reader.struct(_WANTED)
                page = header.get(_DATA_PAGE) or header.get(_DATA_PAGE_2) or {_NUM_VALUES: 0}
                numbers = header[_UNPACKED_BYTES], header[_PACKED_BYTES], page[_NUM_VALUES]
                if all(0 <= number < _NUMBERS_END for number in numbers):
                    return header, reader.place
                raise ValueError(f"sizes of {numbers}")
            except IndexError as error:
                if len(data) < size or size > _MAX_HEADER_BYTES:
                    raise self._damaged(place, error) from error
            except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
                raise self._damaged(place, error) from error
            size = max(2 * size, _HEADER_BYTES)
            self._file.seek(place)
            data = self._file.read(size)

    def _damaged(self, place: int, why: object) -> SourceError:
        return SourceError(
            f"the header of a page at byte {place} is damaged, or encrypted ({why!r})"
        )
