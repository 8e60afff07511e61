"""Names of files: which are images, how odd ones are shown, and many of them in little memory."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

IMAGE_EXTENSIONS: Final = (
    ".jpg",
    ".jpeg",
    ".png",
    ".ppm",
    ".bmp",
    ".pgm",
    ".tif",
    ".tiff",
    ".webp",
)
"""Endings of the file names that count as images, in any case; torchvision's list."""

MAX_FILE_BYTES: Final = 256 << 20
"""A file or member that is larger is refused: it would be held in memory."""

_MAX_REPORTED: Final = 10


def is_image_name(name: str) -> bool:
    """Tell whether a file counts as an image by its name."""
    return name.lower().endswith(IMAGE_EXTENSIONS)


def too_large(size: int) -> str | None:
    """What is wrong with a file of so many bytes; None if it may be held in memory."""
    if size <= MAX_FILE_BYTES:
        return None
    return f"has {size:,} bytes; at most {MAX_FILE_BYTES:,} are read as an image"


def printable(name: str) -> str:
    r"""Return a file name with bytes that are not UTF-8 written as ``\xNN``."""
    if name.isascii():
        return name
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")


def report(summary: str, names: Sequence[str]) -> str:
    """A message that names the first of many."""
    shown = "".join(f"\n  {name}" for name in names[:_MAX_REPORTED])
    rest = len(names) - _MAX_REPORTED
    return f"{summary}:{shown}" + (f"\n  ... and {rest} more" if rest > 0 else "")


class PackedNames(Sequence[str]):
    """Many names one after another in one array: a tenth of the memory of a list of str.

    Parameters
    ----------
    data : ndarray of uint8, shape (bytes,)
        The names as the file system has them (``os.fsencode``).
    ends : ndarray of int64, shape (N,)
        Where each one ends.
    """

    def __init__(self, data: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        self.data, self.ends = data, ends

    @classmethod
    def pack(cls, names: Iterable[str]) -> PackedNames:
        """Pack names in their order."""
        data, ends = bytearray(), array("q")
        for name in names:
            data += os.fsencode(name)
            ends.append(len(data))
        return cls(np.frombuffer(data, np.uint8), np.frombuffer(ends, np.int64))

    def equals(self, other: PackedNames) -> bool:
        """Whether the names are the same, in the same order."""
        return np.array_equal(self.ends, other.ends) and np.array_equal(self.data, other.data)

    def __len__(self) -> int:
        return int(self.ends.size)

    def __getitem__(self, index: Any) -> Any:
        """The name at a position."""
        return os.fsdecode(self.encoded(int(index)))

    def encoded(self, index: int) -> bytes:
        """The bytes of the name at a position."""
        if not 0 <= index < len(self):
            raise IndexError(f"name {index} of {len(self)}")
        begin = int(self.ends[index - 1]) if index else 0
        return self.data[begin : int(self.ends[index])].tobytes()
