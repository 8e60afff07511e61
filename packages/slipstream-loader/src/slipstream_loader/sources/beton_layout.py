"""The layout of FFCV's ``.beton`` files, version 2, and their tables read with bounds checks.

::

    header                    24 bytes
    fields                    1041 bytes each: type, name (16 bytes of ASCII), arguments
    metadata                  a row for each sample: numbers as they are, places of everything else
    pages                     payloads, from the next multiple of the page size on
    allocation table          (sample, place, size) of every payload, up to the end of the file

A place is an offset in the file. Only the allocation table tells how long an image or an array is.
Source: FFCV 1.0.2, ``types.py``, ``writer.py``, ``memory_allocator.py`` and ``fields/``.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from slipstream_loader.errors import SampleReadError, SourceError
from slipstream_loader.sources.stored_file import StoredFile

BetonKind = Literal["float", "int", "rgb", "bytes", "ndarray", "json"]

VERSION: Final = 2
HEADER: Final = np.dtype(
    [
        ("version", "<u2"),
        ("num_fields", "<u2"),
        ("page_size", "<u4"),
        ("num_samples", "<u8"),
        ("alloc_table_ptr", "<u8"),
    ]
)
FIELD: Final = np.dtype([("type_id", "u1"), ("name", "S16"), ("arguments", "V1024")])
ALLOCATION: Final = np.dtype([("sample_id", "<u8"), ("ptr", "<u8"), ("size", "<u8")])
ARRAY_ARGUMENTS: Final = np.dtype([("shape", "<u8", 32), ("type_length", "<u8")])

TYPE_IDS: Final[dict[int, BetonKind]] = {
    0: "float",
    1: "int",
    2: "rgb",
    3: "bytes",
    4: "ndarray",
    5: "json",
    6: "ndarray",  # a torch tensor: the same bytes
}
CUSTOM: Final = 255
JPEG_MODE: Final = 0
RAW_MODE: Final = 1

_RANGE: Final = np.dtype([("ptr", "<u8"), ("size", "<u8")])
METADATA: Final[dict[BetonKind, np.dtype[Any]]] = {
    "float": np.dtype("<f8"),
    "int": np.dtype("<i8"),
    "rgb": np.dtype([("mode", "u1"), ("width", "<u2"), ("height", "<u2"), ("ptr", "<u8")]),
    "bytes": _RANGE,
    "ndarray": np.dtype("<u8"),
    "json": _RANGE,
}
"""What the metadata holds of a field."""

_MAX_FIELDS: Final = 4096
_DTYPE: Final = re.compile(r"[<>|=][a-zA-Z]\d{0,9}(\[\w+\])?")
"""One plain type; NumPy would read others as programs of a kind."""
_GUESSES: Final[tuple[BetonKind, ...]] = ("rgb", "bytes")
_GUESSED_SAMPLES: Final = 64


@dataclass(frozen=True)
class BetonField:
    """One field."""

    name: str
    kind: BetonKind | None
    """None: a type of its own, which FFCV does not know either."""
    dtype: np.dtype[Any] | None = None
    """Of an array."""
    shape: tuple[int, ...] = ()
    """Of an array."""

    @property
    def has_payload(self) -> bool:
        """Whether the metadata holds a place and not the value."""
        return self.kind not in ("float", "int")


def row_type(kinds: Iterable[BetonKind]) -> np.dtype[Any]:
    """A row of the metadata: ``f0``, ``f1``, ..., aligned as a C compiler would."""
    return np.dtype([(f"f{i}", METADATA[kind]) for i, kind in enumerate(kinds)], align=True)


class Allocations:
    """Which payload lies where.

    Parameters
    ----------
    table : ndarray of ALLOCATION, shape (N,)
    """

    def __init__(self, table: NDArray[Any]) -> None:
        order = np.lexsort((table["size"], table["ptr"]))
        self._ptrs = table["ptr"][order]
        self._sizes = table["size"][order].astype(np.uint32)
        self._owners = table["sample_id"][order]

    def __len__(self) -> int:
        return int(self._ptrs.size)

    def size_of(self, sample_id: int, ptr: int) -> int | None:
        """Bytes of the payload of a sample at a place; None if it has none there."""
        # Of several at one place, all but the last have no bytes.
        number = int(np.searchsorted(self._ptrs, np.uint64(ptr), side="right")) - 1
        if number < 0 or self._ptrs[number] != ptr or self._owners[number] != sample_id:
            return None
        return int(self._sizes[number])


@dataclass(frozen=True)
class BetonTables:
    """All of a file but its payloads."""

    fields: tuple[BetonField, ...]
    rows: NDArray[Any]
    """Shape (num_samples,), of ``row_type``."""
    allocations: Allocations
    digest: bytes
    """Hash of all tables."""

    def __len__(self) -> int:
        return int(self.rows.size)

    def payload_range(self, number: int, sample_id: int) -> tuple[int, int]:
        """Where the payload of field `number` of a sample begins and ends.

        Raises
        ------
        SampleReadError
            The sample has no payload at the place that its metadata names.
        """
        field, value = self.fields[number], self.rows[f"f{number}"][sample_id]
        ptr = int(value if field.kind == "ndarray" else value["ptr"])
        declared = int(value["size"]) if field.kind in ("bytes", "json") else None
        if declared == 0:
            return 0, 0
        size = self.allocations.size_of(sample_id, ptr)
        if size is None or (declared is not None and size != declared):
            found = "nothing" if size is None else f"{size} bytes"
            wanted = "a payload" if declared is None else f"{declared} bytes"
            raise SampleReadError(
                f"field {field.name!r}: the metadata names {wanted} at byte {ptr}, where the "
                f"allocation table has {found} of this sample: the file is damaged"
            )
        return ptr, ptr + size


def read_tables(file: StoredFile, custom: dict[str, BetonKind]) -> BetonTables:
    """Read header, fields, metadata and allocation table.

    Parameters
    ----------
    file : StoredFile
    custom : dict of str to kind
        Which kind a field of a custom type is; what is not told is guessed.

    Raises
    ------
    SourceError
        It is no such file, or it is cut off or damaged.
    """
    if file.size < HEADER.itemsize:
        raise SourceError(f"{file.uri} has {file.size} bytes and is no .beton file")
    head = file.read(0, HEADER.itemsize)
    header = {name: int(np.frombuffer(head, HEADER)[0][name]) for name in HEADER.names or ()}
    if header["version"] != VERSION:
        raise SourceError(
            f"{file.uri} is no .beton file of version {VERSION}: its first bytes say version "
            f"{header['version']}"
        )
    begin, fields_end = HEADER.itemsize, HEADER.itemsize + header["num_fields"] * FIELD.itemsize
    table_ptr = header["alloc_table_ptr"]
    if table_ptr == 0:
        raise SourceError(f"{file.uri} is unfinished: its writer was interrupted; write it again")
    if not 1 <= header["num_fields"] <= _MAX_FIELDS or fields_end > table_ptr > 0:
        raise SourceError(f"{file.uri} is damaged: {header['num_fields']} fields do not fit in it")
    if table_ptr > file.size or (file.size - table_ptr) % ALLOCATION.itemsize:
        raise SourceError(
            f"{file.uri} is cut off or damaged: it has {file.size} bytes, and an allocation table "
            f"at byte {table_ptr} that does not end there"
        )
    described = file.read(begin, fields_end)
    declared = [_field(entry, file.uri) for entry in np.frombuffer(described, FIELD)]
    names = [field.name for field in declared]
    if len(set(names)) != len(names) or not all(names):
        raise SourceError(f"{file.uri} has fields of one name, or without one: {names}")
    table_bytes = file.read(table_ptr, file.size)
    table = np.frombuffer(table_bytes, ALLOCATION)
    _check_allocations(table, fields_end, table_ptr, header["num_samples"], file.uri)
    allocations = Allocations(table)
    num_samples = header["num_samples"]
    room = table_ptr - fields_end
    if num_samples * len(declared) > room:  # a row has at least a byte for each field
        raise SourceError(f"{file.uri} is damaged: {num_samples} samples do not fit in it")
    fields = _known_fields(
        declared, custom, _Place(file, fields_end, room, num_samples), allocations
    )
    row = row_type([field.kind for field in fields if field.kind])
    if num_samples * row.itemsize > room:
        raise SourceError(f"{file.uri} is damaged: {num_samples} samples do not fit in it")
    stored = file.read(fields_end, fields_end + num_samples * row.itemsize)
    rows = np.frombuffer(stored, row)
    wanted = num_samples * sum(field.has_payload for field in fields)  # empty ones count too
    if len(allocations) < wanted:
        raise SourceError(
            f"{file.uri} is cut off: its allocation table has {len(allocations)} entries, "
            f"expected at least {wanted}"
        )
    digest = hashlib.sha256(head + described)
    for name in row.names or ():  # not the gaps between them
        digest.update(rows[name].tobytes())
    digest.update(table_bytes)
    return BetonTables(tuple(fields), rows, allocations, digest.digest())


def _field(entry: Any, where: str) -> BetonField:
    try:
        name = bytes(entry["name"]).split(b"\0")[0].decode("ascii")
    except UnicodeDecodeError as error:
        raise SourceError(f"{where} is damaged: a field's name is no ASCII text") from error
    type_id = int(entry["type_id"])
    if type_id != CUSTOM and type_id not in TYPE_IDS:
        raise SourceError(f"{where}: field {name!r} is of type {type_id}, which FFCV has not")
    kind = TYPE_IDS.get(type_id)
    if kind != "ndarray":
        return BetonField(name, kind)
    arguments = entry["arguments"].tobytes()
    header = np.frombuffer(arguments[: ARRAY_ARGUMENTS.itemsize], ARRAY_ARGUMENTS)[0]
    text = arguments[ARRAY_ARGUMENTS.itemsize :][: int(header["type_length"])]
    shape = [int(length) for length in header["shape"]]
    while shape and shape[-1] == 0:
        shape.pop()
    try:
        ((_, code),) = json.loads(text.decode("ascii"))
        if not _DTYPE.fullmatch(str(code)):
            raise ValueError(code)
        dtype = np.dtype(str(code))
    except (ValueError, TypeError, RecursionError) as error:
        raise SourceError(
            f"{where}: field {name!r} is an array of a dtype that cannot be read: {text[:80]!r}"
        ) from error
    if dtype.hasobject or math.prod(shape) * dtype.itemsize >= 1 << 32:
        raise SourceError(f"{where}: field {name!r} holds arrays {dtype} of shape {shape}")
    return BetonField(name, kind, dtype, tuple(shape))


def _check_allocations(
    table: NDArray[Any], begin: int, end: int, num_samples: int, where: str
) -> None:
    """Raise unless every payload lies between the tables and belongs to a sample."""
    ptrs, sizes = table["ptr"], table["size"]
    used = sizes > 0
    room = np.uint64(end) - np.minimum(ptrs, np.uint64(end))
    bad = used & ((ptrs < begin) | (sizes > room) | (sizes >= 1 << 32))
    bad |= table["sample_id"] >= num_samples
    if bad.any():
        first = table[np.flatnonzero(bad)[0]]
        raise SourceError(
            f"{where} is damaged: its allocation table names {first['size']} bytes at byte "
            f"{first['ptr']} for sample {first['sample_id']} of {num_samples}, expected a place "
            f"from byte {begin} to {end}"
        )


@dataclass(frozen=True)
class _Place:
    """The metadata before its row type is known."""

    file: StoredFile
    begin: int
    room: int
    num_samples: int


def _known_fields(
    declared: Sequence[BetonField],
    custom: dict[str, BetonKind],
    place: _Place,
    allocations: Allocations,
) -> list[BetonField]:
    """The fields with a kind each: those of custom types as told, or as the file shows."""
    unknown = [field.name for field in declared if field.kind is None]
    wrong = sorted(custom.keys() - set(unknown))
    if wrong:
        raise SourceError(
            f"{place.file.uri}: custom_fields names {wrong[0]!r}; the fields of custom types are "
            f"{unknown}"
        )
    missing = [name for name in unknown if name not in custom]
    if not missing:
        return [_with_kind(field, custom) for field in declared]
    found = []
    for guess in _GUESSES if place.num_samples else ():
        fields = [
            _with_kind(field, {**dict.fromkeys(missing, guess), **custom}) for field in declared
        ]
        if _is_consistent(fields, place, allocations):
            found.append(fields)
    if len(found) != 1:
        raise SourceError(
            f"{place.file.uri}: the fields {missing} are of types of their own, and what they hold "
            "cannot be told from the file; say what they are: BetonSource(path, custom_fields="
            f"{{{missing[0]!r}: 'rgb'}}), or 'bytes', 'json', 'int', 'float'"
        )
    return found[0]


def _with_kind(field: BetonField, kinds: dict[str, BetonKind]) -> BetonField:
    return field if field.kind is not None else BetonField(field.name, kinds[field.name])


def _is_consistent(fields: Sequence[BetonField], place: _Place, allocations: Allocations) -> bool:
    """Whether the first rows, read in this way, name payloads of their samples only."""
    row = row_type([field.kind for field in fields if field.kind])
    if place.num_samples * row.itemsize > place.room:
        return False
    count = min(place.num_samples, _GUESSED_SAMPLES)
    data = place.file.read(place.begin, place.begin + count * row.itemsize)
    tables = BetonTables(tuple(fields), np.frombuffer(data, row), allocations, b"")
    try:
        for number, field in enumerate(fields):
            for sample_id in range(count if field.has_payload else 0):
                tables.payload_range(number, sample_id)
            column = tables.rows[f"f{number}"]
            if field.kind == "rgb" and (column["mode"] > RAW_MODE).any():
                return False
            # Empty values are payloads too: their places are checked as well.
            if field.kind in ("bytes", "json") and (column["ptr"] > place.begin + place.room).any():
                return False
    except SampleReadError:
        return False
    return True
