"""The members of a tar archive, read forward and bounds-checked: ustar, pax and GNU headers.

Nothing is ever written to the file system, and no name is followed. Source: POSIX.1-2017 `pax`,
"ustar Interchange Format"; GNU tar 1.35 manual, "Basic Tar Format".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from slipstream_loader.errors import SourceError
from slipstream_loader.sources.forward_file import ForwardReader

MemberKind = Literal["file", "directory", "hard link", "other"]

_BLOCK: Final = 512
_MAX_EXTENDED_BYTES: Final = 1 << 20
"""Largest extended header; a path has a few kilobytes at most."""
_ENCODING: Final = ("utf-8", "surrogateescape")
_PAX_RECORD: Final = re.compile(rb"(\d{1,20}) ([^=]+)=")
_FILE_TYPES: Final = frozenset({b"0", b"\0", b"7"})
_LINK_TYPES: Final[dict[bytes, str]] = {
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
}


class TarMember(NamedTuple):
    """One member of an archive."""

    name: str
    """As stored, undecodable bytes as surrogates (``os.fsdecode``)."""
    kind: MemberKind
    start: int
    """Where its data begins in the (decompressed) archive, bytes."""
    size: int
    """Bytes."""
    target: str
    """The member that a hard link names; what an ``other`` member is."""


def iter_members(reader: ForwardReader, where: str) -> Iterator[TarMember]:
    """Yield the members of an archive in their order; their data is skipped.

    Parameters
    ----------
    reader : ForwardReader
        At the beginning of the archive.
    where : str
        The archive, for messages.

    Raises
    ------
    SourceError
        When it is no tar archive, is cut off, or a header is damaged or not supported. An archive
        without the blocks of zeros that mark its end counts as cut off.
    """
    overrides: dict[str, str] = {}
    while True:
        offset = reader.position
        block = reader.read(_BLOCK)
        place = f"{where}, header at byte {offset}"
        if len(block) < _BLOCK:
            raise SourceError(
                f"{where} is cut off: the end of the archive is missing at byte {offset}"
            )
        if not any(block):
            return
        header = _Header(block, place)
        padded = -(-header.size // _BLOCK) * _BLOCK
        if header.kind in (b"x", b"L", b"K", b"g"):
            overrides |= _read_extended(reader, header, padded, place)
            continue
        size = _override_size(overrides, header.size, place)
        name = overrides.get("path", header.name)
        if any(key.startswith("GNU.sparse") for key in overrides) or header.kind == b"S":
            raise SourceError(f"{place}: {name!r} is a sparse file, which is not supported")
        if header.kind == b"M":
            raise SourceError(f"{place}: archives of several volumes are not supported")
        member = _member(header, name, overrides.get("linkpath"), reader.position, size)
        overrides = {}
        if member.kind == "file" or header.kind not in (b"1", b"2", b"3", b"4", b"5", b"6"):
            reader.skip(-(-size // _BLOCK) * _BLOCK)
        yield member


class _Header:
    """The fields of one header block that matter here."""

    def __init__(self, block: bytes, place: str) -> None:
        stored = _number(block[148:156], place)
        blanked = block[:148] + b" " * 8 + block[156:]
        if stored != sum(blanked) and stored != _signed_sum(blanked):
            raise SourceError(f"{place}: not a tar header, or a damaged one (wrong checksum)")
        self.kind = block[156:157]
        self.size = _number(block[124:136], place)
        self.link = _text(block[157:257])
        self.name = _text(block[:100])
        prefix = _text(block[345:500])
        if block[257:263] == b"ustar\0" and prefix:
            self.name = f"{prefix}/{self.name}"


def _signed_sum(block: bytes) -> int:
    """The checksum of writers that take bytes as signed."""
    return sum(byte - 256 if byte > 127 else byte for byte in block)


def _member(header: _Header, name: str, link: str | None, position: int, size: int) -> TarMember:
    target = header.link if link is None else link
    if header.kind == b"5" or (header.kind == b"\0" and name.endswith("/")):
        return TarMember(name, "directory", position, 0, "")
    if header.kind in _FILE_TYPES:
        return TarMember(name, "file", position, size, "")
    if header.kind == b"1":
        return TarMember(name, "hard link", position, 0, target)
    kind = _LINK_TYPES.get(header.kind, f"of type {header.kind!r}")
    return TarMember(name, "other", position, 0, kind)


def _read_extended(
    reader: ForwardReader, header: _Header, padded: int, place: str
) -> dict[str, str]:
    """What an extended header says about the next member."""
    if header.size > _MAX_EXTENDED_BYTES:
        raise SourceError(
            f"{place}: an extended header of {header.size} bytes; at most {_MAX_EXTENDED_BYTES} "
            "are read"
        )
    data = reader.read(padded)
    if len(data) < padded:
        raise SourceError(f"{place}: the archive is cut off in an extended header")
    data = data[: header.size]
    if header.kind == b"g":
        return {}
    if header.kind in (b"L", b"K"):
        return {"path" if header.kind == b"L" else "linkpath": _text(data)}
    return _pax_records(data, place)


def _pax_records(data: bytes, place: str) -> dict[str, str]:
    records: dict[str, str] = {}
    position = 0
    while position < len(data) and data[position]:
        match = _PAX_RECORD.match(data, position)
        end = position + int(match[1]) if match else 0
        if match is None or not match.end() < end <= len(data) or data[end - 1] != 0x0A:
            raise SourceError(f"{place}: a damaged pax header")
        records[match[2].decode(*_ENCODING)] = data[match.end() : end - 1].decode(*_ENCODING)
        position = end
    return records


def _override_size(overrides: dict[str, str], size: int, place: str) -> int:
    text = overrides.get("size")
    if text is None:
        return size
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise SourceError(f"{place}: a size of {text[:40]!r}")
    return int(text)


def _number(field: bytes, place: str) -> int:
    """An octal number, or one in base 256."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.split(b"\0", 1)[0].strip()
    try:
        return int(text or b"0", 8) if text.isdigit() or not text else int("x")
    except ValueError:
        raise SourceError(f"{place}: {field!r} is not a number of a tar header") from None


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode(*_ENCODING)
