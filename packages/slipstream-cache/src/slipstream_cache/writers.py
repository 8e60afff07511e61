"""Writes the files of one part: appended to as samples come, hashed, and synced at the end."""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import xxhash

from slipstream_cache.encoding import Encoded, EncodedImage, EncodedImages
from slipstream_cache.field_types import field_files
from slipstream_cache.layout import IMAGE_SAMPLE_DTYPE, PAYLOAD_PADDING_BYTES
from slipstream_cache.manifest import FileInfo
from slipstream_cache.source import FieldSpec

_BUFFER_BYTES: Final = 1 << 16
_IMAGE_ROW: Final = struct.Struct("<QIIIBBBBQ")  # IMAGE_SAMPLE_DTYPE
_LONGEST_COUNT: Final = 10**19  # digits that the .npy header leaves room for


class PartWriter:
    """Writes samples into the files of a part directory.

    Parameters
    ----------
    directory : Path
        An existing, empty directory.
    fields : Mapping of str to FieldSpec
        The stored fields, in the order in which ``add`` gets their values.
    """

    def __init__(self, directory: Path, fields: Mapping[str, FieldSpec]) -> None:
        self._writers: list[_FieldWriter] = []
        self.num_samples = 0
        """Samples written so far."""
        self.num_bytes = 0
        """Bytes of all their values."""
        try:
            for name, spec in fields.items():
                paths = [directory / file for file in field_files(name, spec)]
                self._writers.append(_make_writer(spec, paths))
        except OSError:
            self.abandon()
            raise

    def add(self, sample: Sequence[Encoded]) -> None:
        """Append one sample."""
        for writer, value in zip(self._writers, sample, strict=True):
            self.num_bytes += writer.add(value)
        self.num_samples += 1

    def add_images(self, images: EncodedImages) -> None:
        """Append samples of a part whose one field is an image field."""
        (writer,) = self._writers
        if not isinstance(writer, _ImageWriter):
            raise TypeError("the part's field is not an image field")
        self.num_bytes += writer.add_many(images)
        self.num_samples += len(images)

    def finish(self) -> dict[str, FileInfo]:
        """Complete, sync and close all files; returns file name to size and hash."""
        files: dict[str, FileInfo] = {}
        for writer in self._writers:
            files.update(writer.finish())
        return files

    def abandon(self) -> None:
        """Close all files as they are; does nothing after ``finish``."""
        for writer in self._writers:
            writer.abandon()


class _FieldWriter(Protocol):
    """Writes one field; ``add`` returns the bytes of the value."""

    def add(self, value: Any) -> int: ...
    def finish(self) -> dict[str, FileInfo]: ...
    def abandon(self) -> None: ...


def _make_writer(spec: FieldSpec, paths: Sequence[Path]) -> _FieldWriter:
    if spec.kind == "dense":
        return _DenseWriter(paths[0], np.dtype(spec.dtype), spec.shape)
    if spec.kind == "ragged":
        return _RaggedWriter(*paths)
    return _ImageWriter(*paths)


class _HashedFile:
    """A new file that is hashed while it is written, in blocks that fit a processor's cache."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("xb", buffering=0)
        self._hash = xxhash.xxh3_64()
        self._num_bytes = 0
        self._pieces: list[bytes] = []
        self._num_pending = 0

    def write(self, data: bytes) -> None:
        if self._pieces and len(data) >= _BUFFER_BYTES:
            self._flush()  # what is long goes alone, and is not copied
        self._pieces.append(data)
        self._num_pending += len(data)
        if self._num_pending >= _BUFFER_BYTES:
            self._flush()

    def finish(self) -> dict[str, FileInfo]:
        with self._file:
            self._flush()
            os.fsync(self._file.fileno())
        return {self.path.name: FileInfo(self._num_bytes, self._hash.hexdigest())}

    def abandon(self) -> None:
        self._file.close()

    def _flush(self) -> None:
        block = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._num_pending = 0
        self._hash.update(block)
        self._num_bytes += len(block)
        rest = memoryview(block)
        while rest:
            rest = rest[self._file.write(rest) :]


class _DenseWriter:
    """One .npy file; its header is completed at the end, when the number of rows is known."""

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self._path, self._dtype, self._shape = path, dtype, shape
        self._num_rows = 0
        self._file = path.open("xb", buffering=_BUFFER_BYTES)
        self._file.write(npy_header(dtype, (0, *shape)))

    def add(self, value: bytes) -> int:
        self._file.write(value)
        self._num_rows += 1
        return len(value)

    def finish(self) -> dict[str, FileInfo]:
        with self._file:
            self._file.seek(0)
            self._file.write(npy_header(self._dtype, (self._num_rows, *self._shape)))
            self._file.flush()
            os.fsync(self._file.fileno())
        return {self._path.name: FileInfo(self._path.stat().st_size, hash_file(self._path))}

    def abandon(self) -> None:
        _close_quietly(self._file)


class _RaggedWriter:
    """Payloads one after another, and n + 1 offsets."""

    def __init__(self, payloads: Path, offsets: Path) -> None:
        self._payloads = _HashedFile(payloads)
        self._offsets_path = offsets
        self._offsets = array("Q", [0])

    def add(self, value: bytes) -> int:
        self._payloads.write(value)
        self._offsets.append(self._offsets[-1] + len(value))
        return len(value)

    def finish(self) -> dict[str, FileInfo]:
        offsets = np.array(self._offsets, dtype="<u8")
        return {**self._payloads.finish(), **write_npy(self._offsets_path, offsets)}

    def abandon(self) -> None:
        self._payloads.abandon()


class _ImageWriter:
    """Payloads one after another, padded at the end, and one structured row a sample."""

    def __init__(self, payloads: Path, rows: Path) -> None:
        self._payloads = _HashedFile(payloads)
        self._rows_path = rows
        self._rows = bytearray()
        self._end = 0

    def add(self, value: EncodedImage) -> int:
        image, checksum = value
        size = len(image.payload)
        self._payloads.write(image.payload)
        self._rows += _IMAGE_ROW.pack(
            self._end,
            size,
            image.height,
            image.width,
            image.codec,
            image.orientation,
            image.condition,
            image.flags,
            checksum,
        )
        self._end += size
        return size

    def add_many(self, images: EncodedImages) -> int:
        for payload in images.payloads:
            self._payloads.write(payload)
        rows = images.rows.copy()
        sizes = rows["size"].astype(np.int64)
        ends = self._end + np.cumsum(sizes)
        rows["offset"] = ends - sizes
        self._rows += rows.tobytes()
        self._end += int(sizes.sum())
        return int(sizes.sum())

    def finish(self) -> dict[str, FileInfo]:
        self._payloads.write(bytes(PAYLOAD_PADDING_BYTES))
        rows = np.frombuffer(self._rows, dtype=IMAGE_SAMPLE_DTYPE)
        return {**self._payloads.finish(), **write_npy(self._rows_path, rows)}

    def abandon(self) -> None:
        self._payloads.abandon()


def npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return a .npy header (version 1.0) whose length does not depend on ``shape[0]``.

    Source: the documentation of ``numpy.lib.format``.
    """

    def text(count: int) -> str:
        description = np.lib.format.dtype_to_descr(dtype)
        size = (count, *shape[1:])
        return f"{{'descr': {description!r}, 'fortran_order': False, 'shape': {size!r}, }}"

    longest = 10 + len(text(_LONGEST_COUNT)) + 1
    length = -(-longest // 64) * 64 - 10
    body = text(shape[0]).ljust(length - 1) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", length) + body.encode("latin1")


def write_npy(path: Path, rows: np.ndarray[Any, Any]) -> dict[str, FileInfo]:
    """Write a new, synced .npy file; returns its name with size and hash."""
    file = _HashedFile(path)
    try:
        file.write(npy_header(rows.dtype, rows.shape))
        file.write(rows.tobytes())
        return file.finish()
    except OSError:
        file.abandon()
        raise


def hash_file(path: Path) -> str:
    """Return the xxh3_64 of a file, 16 hexadecimal characters."""
    digest = xxhash.xxh3_64()
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
    return digest.hexdigest()


def _close_quietly(file: Any) -> None:
    """Close a file whose content no longer matters, so that closing may fail to flush it."""
    try:
        file.close()
    except OSError:
        file.raw.close()
