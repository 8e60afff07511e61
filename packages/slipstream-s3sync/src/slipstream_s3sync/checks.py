"""Whether a file holds the bytes that were expected: size, xxh3, or an ETag."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import xxhash

UPLOAD_PART_BYTES: Final = 64 << 20
"""Larger files are uploaded in pieces of this size; it decides their ETag."""

_BLOCK_BYTES: Final = 256 << 10
"""Of what is read and hashed at a time: it stays in a core's cache."""
_MD5: Final = re.compile(r"[0-9a-f]{32}")
_OF_PIECES: Final = re.compile(r"[0-9a-f]{32}-(\d{1,5})")
_MIB: Final = 1 << 20
_PIECES_IN_USE: Final = tuple(n * _MIB for n in (64, 50, 8, 5, 16, 10, 15, 20, 25, 32, 100, 128))
"""Sizes of pieces that tools upload by: this one, s5cmd's, boto3's and others'."""


@dataclass(frozen=True)
class RemoteFile:
    """A file here and the object that holds, or is to hold, its bytes."""

    name: str
    """Of the object, relative to its folder's URL."""
    path: Path
    """Of the file."""
    size: int
    """Bytes that it must have."""
    xxh3: str | None = None
    """xxh3_64 that its bytes must have, 16 hexadecimal characters."""
    etag: str | None = None
    """ETag of the object; it tells the bytes too, unless the service made it otherwise."""


def problem_with(path: Path, expected: RemoteFile) -> str | None:
    """Say what is wrong with a file that is to hold ``expected``; None if nothing is.

    Raises
    ------
    FileNotFoundError
        There is no file.
    """
    size = path.stat().st_size
    if size != expected.size:
        return f"expected {expected.size} bytes, found {size}"
    if expected.xxh3 is not None:
        digest = xxhash.xxh3_64()
        _feed(digest, path)
        if digest.hexdigest() != expected.xxh3:
            return f"expected xxh3 {expected.xxh3}, found {digest.hexdigest()}"
    elif expected.etag is not None and etag_agrees(path, expected.size, expected.etag) is False:
        return f"its bytes do not have the ETag {expected.etag}"
    return None


def tells_bytes(etag: str) -> bool:
    """Whether an ETag looks like an MD5, or one of pieces; other services make it otherwise."""
    return bool(_MD5.fullmatch(etag) or _OF_PIECES.fullmatch(etag))


def etag_agrees(path: Path, size: int, etag: str) -> bool | None:
    """Whether a file has the bytes of an object with this ETag; None if that cannot be told.

    An object that was uploaded in pieces tells it only if their size is one in common use.
    """
    if _MD5.fullmatch(etag):
        digest = hashlib.md5(usedforsecurity=False)
        _feed(digest, path)
        return digest.hexdigest() == etag
    of_pieces = _OF_PIECES.fullmatch(etag)
    if of_pieces is None:
        return None
    count = int(of_pieces[1])
    for piece in _PIECES_IN_USE:
        if -(-size // piece) == count and etag_of_pieces(path, size, piece) == etag:
            return True
    return None


def etag_of_pieces(path: Path, size: int, piece: int) -> str:
    """The ETag that S3 gives to a file that is uploaded in pieces."""
    digests = b""
    for begin in range(0, size, piece):
        digest = hashlib.md5(usedforsecurity=False)
        _feed(digest, path, begin, piece)
        digests += digest.digest()
    count = -(-size // piece)
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{count}"


def uploaded_etag(path: Path, size: int) -> set[str]:
    """The ETags that a file may have after its upload: in one piece, or in those of ours."""
    digest = hashlib.md5(usedforsecurity=False)
    _feed(digest, path)
    etags = {digest.hexdigest()}
    if size >= UPLOAD_PART_BYTES:
        etags.add(etag_of_pieces(path, size, UPLOAD_PART_BYTES))
    return etags


def _feed(digest: Any, path: Path, begin: int = 0, length: int | None = None) -> None:
    for block in _blocks(path, begin, length):
        digest.update(block)


def _blocks(path: Path, begin: int, length: int | None) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(_BLOCK_BYTES))
    with path.open("rb", buffering=0) as file:
        file.seek(begin)
        left = length
        while left is None or left > 0:
            wanted = len(buffer) if left is None else min(left, len(buffer))
            count = file.readinto(buffer[:wanted])
            if not count:
                return
            left = None if left is None else left - count
            yield buffer[:count]
