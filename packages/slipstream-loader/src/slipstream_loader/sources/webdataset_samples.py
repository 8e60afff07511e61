"""How the members of a WebDataset shard make up samples, and what each holds.

A sample is a run of members whose names are equal up to the first dot of the file's name (its key);
what follows the dot, in lower case, is the member's extension, and the last part of it its type.
Source: webdataset 1.0.2, ``tariterators.py`` and ``autodecode.py``.
"""

from __future__ import annotations

import io
import json
import math
import re
import tokenize
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from slipstream_cache import FieldSpec
from slipstream_loader.errors import SampleReadError, SourceError
from slipstream_loader.sources.file_names import IMAGE_EXTENSIONS, PackedNames, printable
from slipstream_loader.sources.npy_headers import PARSING

MemberType = Literal["image", "int", "text", "json", "array", "bytes"]

_NAME: Final = re.compile(r"((?:.*/|)[^./][^.]*)\.([^/]*)", re.DOTALL)
_META: Final = re.compile(r"(^|/)__[^/]*__($|/)")
_INT_EXTENSIONS: Final = frozenset({"cls", "cls2", "class", "count", "index", "inx", "id"})
_TEXT_EXTENSIONS: Final = frozenset({"txt", "text", "transcript"})
_JSON_EXTENSIONS: Final = frozenset({"json", "jsn"})
_MAX_HEADER_BYTES: Final = 1 << 16
_BAD_VALUE_ERRORS: Final = (
    ValueError,
    TypeError,
    RecursionError,
    SyntaxError,
    MemoryError,
    tokenize.TokenError,
)
"""What JSON, text and the headers of arrays raise; the last three are of NumPy's parser."""


def split_name(name: str) -> tuple[str, str] | None:
    """Key and extension of a member; None if it belongs to no sample."""
    match = None if _META.search(name) else _NAME.fullmatch(name)
    return None if match is None else (match[1], match[2].lower())


def member_type(extension: str) -> MemberType:
    """What a member holds, by the last part of its extension."""
    last = extension.rpartition(".")[2]
    if f".{last}" in IMAGE_EXTENSIONS:
        return "image"
    if last in _INT_EXTENSIONS:
        return "int"
    if last in _TEXT_EXTENSIONS:
        return "text"
    if last in _JSON_EXTENSIONS:
        return "json"
    return "array" if last == "npy" else "bytes"


@dataclass(frozen=True)
class ShardSamples:
    """The samples of one shard."""

    keys: PackedNames
    members: dict[str, NDArray[np.int64]]
    """Extension -> shape (N,): number of the member in the shard; -1 where a sample has none."""

    def __len__(self) -> int:
        return len(self.keys)


def group_members(names: Iterable[str], where: str) -> ShardSamples:
    """Group the members of a shard, in their order.

    Raises
    ------
    SourceError
        A sample has two members of one extension.
    """
    keys: list[str] = []
    rows: dict[str, list[tuple[int, int]]] = {}
    current: set[str] = set()
    for number, name in enumerate(names):
        parts = split_name(name)
        if parts is None:
            continue
        key, extension = parts
        if not keys or keys[-1] != key:
            keys.append(key)
            current = set()
        if extension in current:
            raise SourceError(f"{where}: sample {printable(key)!r} has two members .{extension}")
        current.add(extension)
        rows.setdefault(extension, []).append((len(keys) - 1, number))
    members = {}
    for extension, pairs in rows.items():
        column = np.full(len(keys), -1, np.int64)
        places = np.array(pairs, np.int64)
        column[places[:, 0]] = places[:, 1]
        members[extension] = column
    return ShardSamples(PackedNames.pack(keys), members)


@dataclass(frozen=True)
class Component:
    """A field, and the extensions that hold it."""

    name: str
    extensions: tuple[str, ...]
    """Of the members, of which each sample has one."""
    type: MemberType


def choose_components(
    shards: Sequence[ShardSamples], wanted: Sequence[str] | None, where: str
) -> list[Component]:
    """The fields of all samples.

    The only image of a sample is the field ``image``, whatever its format; ``cls`` is ``label``;
    of others, a name before the type is the field's name (``caption.txt``), else the extension is.

    Raises
    ------
    SourceError
        Some samples lack a member that others have; names it, and one of them.
    """
    found = sorted({extension for shard in shards for extension in shard.members})
    if wanted is not None:
        missing = [extension for extension in wanted if extension not in found]
        if missing:
            raise SourceError(f"{where} has no members .{missing[0]}; there are {found}")
        found = sorted(wanted)
    images = [ext for ext in found if member_type(ext) == "image" and "." not in ext]
    together = bool(images) and _is_one_each(shards, images)
    groups = [tuple(images)] if together else [(ext,) for ext in images]
    groups += [(ext,) for ext in found if ext not in images]
    components: list[Component] = []
    for extensions in groups:
        _check_complete(shards, extensions, where)
        kind = member_type(extensions[0])
        name = "image" if together and extensions[0] in images else _field_name(extensions[0])
        if any(other.name == name for other in components):
            name = extensions[0]
        components.append(Component(name, extensions, kind))
    first = {"image": 0, "label": 1}
    return sorted(components, key=lambda component: first.get(component.name, 2))


def _is_one_each(shards: Sequence[ShardSamples], extensions: Sequence[str]) -> bool:
    """Whether every sample has one member of some extensions."""
    return all((_counts(shard, extensions) == 1).all() for shard in shards)


def _counts(shard: ShardSamples, extensions: Sequence[str]) -> NDArray[np.int64]:
    counts = np.zeros(len(shard), np.int64)
    for extension in extensions:
        if extension in shard.members:
            counts += shard.members[extension] >= 0
    return counts


def _check_complete(
    shards: Sequence[ShardSamples], extensions: tuple[str, ...], where: str
) -> None:
    for shard in shards:
        lacking = np.flatnonzero(_counts(shard, extensions) == 0)
        if lacking.size:
            raise SourceError(
                f"{where}: sample {printable(shard.keys[int(lacking[0])])!r} has no member "
                f".{extensions[0]}, but others have; leave it out: WebDatasetSource(location, "
                "extensions=[...]) with those that every sample has"
            )


def _field_name(extension: str) -> str:
    if extension == "cls":
        return "label"
    name, _, last = extension.rpartition(".")
    return name if name and (member_type(extension) != "bytes" or last == "bin") else extension


def component_spec(component: Component, first: bytes) -> tuple[Component, FieldSpec]:
    """How a field is stored, told from its first value; integers that are none become text."""
    kind = component.type
    if kind == "int":
        try:
            _parse("int", first)
        except ValueError:
            kind = "text"
        component = Component(component.name, component.extensions, kind)
    if kind == "image":
        return component, FieldSpec("image")
    if kind == "int":
        return component, FieldSpec("dense", dtype="<i8")
    if kind == "array":
        array = decode_member(component, first)
        return component, FieldSpec("dense", dtype=array.dtype.str, shape=array.shape)
    content: Any = {"text": "str", "json": "json", "bytes": "bytes"}[kind]
    return component, FieldSpec("ragged", content=content)


def decode_member(component: Component, data: bytes) -> Any:
    """The value of a field.

    Raises
    ------
    SampleReadError
        The member is damaged.
    """
    try:
        return _parse(component.type, data)
    except _BAD_VALUE_ERRORS as error:
        raise SampleReadError(f"member .{component.extensions[0]}: {error}") from error


def _parse(kind: MemberType, data: bytes) -> Any:
    if kind == "int":
        number = int(data.decode("ascii"))
        if not -(1 << 63) <= number < 1 << 63:
            raise ValueError(f"{number} has more than 64 bits")
        return number
    if kind == "text":
        return data.decode("utf-8")
    if kind == "json":
        return json.loads(data)
    return _array(data) if kind == "array" else data


def _array(data: bytes) -> np.ndarray[Any, Any]:
    """An array of an ``.npy`` file that holds exactly what its header says."""
    file = io.BytesIO(data[:_MAX_HEADER_BYTES])
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"an .npy file of version {version}")
    with PARSING:
        shape, is_fortran, dtype = read(file)
    values = data[file.tell() :]
    if dtype.hasobject:
        raise ValueError("an array of Python objects, which is a pickle")
    if len(values) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(values)} bytes for an array of {dtype} and shape {shape}")
    array = np.frombuffer(values, dtype).reshape(shape, order="F" if is_fortran else "C")
    return np.ascontiguousarray(array.astype(dtype.newbyteorder("<"), copy=False)).reshape(shape)
