"""The end of a parquet file: what pyarrow's metadata does not tell without risk.

pyarrow ends the process, with no exception, when it is asked for the metadata of a column whose
size statistics are damaged. What is needed of columns is read here from the footer itself.

Source: ``parquet.thrift`` of Apache Parquet (``FileMetaData``).
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slipstream_loader.errors import SourceError
from slipstream_loader.sources.thrift_compact import CompactReader, Wanted

_MAGIC: Final = b"PAR1"
_TAIL_BYTES: Final = 8
"""The length of the footer and the magic."""
_FIRST_READ_BYTES: Final = 64 << 10

_BY_DICTIONARY: Final = {2, 8}
"""Encodings of values that are numbers of a dictionary's."""
_GROUPS, _COLUMNS, _META_DATA = 4, 1, 3
_ENCODINGS, _NUM_VALUES, _PACKED_BYTES, _DATA_PLACE, _DICTIONARY_PLACE = 2, 5, 7, 9, 11
_WANTED: Final[Wanted] = {
    _GROUPS: {
        _COLUMNS: {
            _META_DATA: {
                _ENCODINGS: {},
                _NUM_VALUES: {},
                _PACKED_BYTES: {},
                _DATA_PLACE: {},
                _DICTIONARY_PLACE: {},
            }
        }
    }
}


class RowGroups(NamedTuple):
    """What is told of the columns of each row group."""

    begins: NDArray[np.int64]
    """Where the first page of each column is, in bytes; shape (groups, columns)."""
    ends: NDArray[np.int64]
    """And where the last one ends."""
    num_values: NDArray[np.int64]
    """Numbers in each column, those in lists counted one by one; shape (groups, columns)."""
    dictionary_bytes: NDArray[np.int64]
    """Bytes of the dictionary of each column, packed; 1 if there is one of unknown size, 0 if none;
    shape (groups, columns)."""


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


def row_groups(footer: bytes) -> RowGroups:
    """Read what a footer tells of row groups.

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
        groups = CompactReader(footer, begin).struct(_WANTED).get(_GROUPS, [])
        facts = [list(map(_column_facts, group.get(_COLUMNS, []))) for group in groups]
        shape = (len(facts), len(facts[0]) if facts else 0, 4)
        columns = np.array(facts, np.int64).reshape(shape)
    except (
        IndexError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise SourceError(f"the footer is damaged: {error!r}") from error
    return RowGroups(*np.moveaxis(columns, -1, 0))


def _column_facts(column: dict[int, Any]) -> tuple[int, int, int, int]:
    """Begin, end, number of values, and bytes of the dictionary; see ``RowGroups``."""
    facts = column[_META_DATA]
    data = begin = int(facts[_DATA_PLACE])
    if 0 < int(facts.get(_DICTIONARY_PLACE, 0)) < data:
        begin = int(facts[_DICTIONARY_PLACE])
    # Older writers do not tell the place of a dictionary, which is then where data should be.
    has_unknown = begin == data and not _BY_DICTIONARY.isdisjoint(facts.get(_ENCODINGS, ()))
    dictionary = 1 if has_unknown else data - begin
    return begin, begin + int(facts[_PACKED_BYTES]), int(facts[_NUM_VALUES]), dictionary
