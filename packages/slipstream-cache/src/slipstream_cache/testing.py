"""Sources and image bytes for tests of this package and of packages that use it."""

from __future__ import annotations

import multiprocessing
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from slipstream_cache.field_types import infer_field_types
from slipstream_cache.source import FieldSpec

_JPEG_TAIL: Final = b"\xff\xd9"


@dataclass
class MemorySource:
    """A source over a list of samples.

    A sample that is an exception is raised in place of being returned.
    """

    samples: Sequence[Mapping[str, Any] | BaseException]
    types: Mapping[str, FieldSpec] = field(default_factory=dict)
    """The fields; inferred from the first sample when empty."""
    name: str = "memory"
    """Also the fingerprint."""
    delay_s: float = 0.0
    """Seconds that each read takes."""

    kind = "memory"

    @property
    def uri(self) -> str:
        """Where the samples come from."""
        return f"memory:{self.name}"

    @property
    def field_types(self) -> Mapping[str, FieldSpec]:
        """The fields of every sample."""
        first = self.samples[0] if self.samples else {}
        return self.types or infer_field_types(first if isinstance(first, Mapping) else {})

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        time.sleep(self.delay_s)
        sample = self.samples[index]
        if isinstance(sample, BaseException):
            raise sample
        return sample

    def fingerprint(self) -> str:
        """Hash of the content."""
        return self.name

    def describe(self, index: int) -> str:
        """Name a sample for a message."""
        return f"item {index}"


@dataclass
class CountingSource(MemorySource):
    """Counts the reads of this process and of all that are forked from it."""

    reads: Any = field(default_factory=lambda: multiprocessing.get_context("fork").Value("q", 0))
    """``reads.value`` is the number."""

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        with self.reads.get_lock():
            self.reads.value += 1
        return super().__getitem__(index)


def make_jpeg(
    height: int,
    width: int,
    *,
    body: bytes = b"\x12\x34",
    num_components: int = 3,
    precision: int = 8,
    process: int = 0,
    orientation: int = 0,
    adobe_transform: int | None = None,
) -> bytes:
    """Return a file with the structure of a JPEG: true headers, and ``body`` as its only scan.

    Nothing can decode it; ``body`` must not hold a byte 0xFF.
    """
    segments = []
    if orientation:
        entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
        tiff = b"II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
        segments.append((0xE1, b"Exif\0\0" + tiff))
    if adobe_transform is not None:
        segments.append((0xEE, b"Adobe\0\x64" + bytes(4) + bytes([adobe_transform])))
    components = b"".join(bytes([k + 1, 0x11, 0]) for k in range(num_components))
    frame = struct.pack(">BHHB", precision, height, width, num_components) + components
    scan = b"".join(bytes([k + 1, 0]) for k in range(num_components))
    segments += [(0xC0 + process, frame), (0xDA, bytes([num_components]) + scan + b"\0\x3f\0")]
    parts = [struct.pack(">BBH", 0xFF, code, len(data) + 2) + data for code, data in segments]
    return b"\xff\xd8" + b"".join(parts) + body + _JPEG_TAIL


def read_tree(directory: Path) -> dict[str, bytes]:
    """Return the relative path and the bytes of every file below a directory."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
