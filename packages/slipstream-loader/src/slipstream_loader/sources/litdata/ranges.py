"""Ranges of bytes of a chunk: in a file, or in an object of a store."""

from __future__ import annotations

import os
import threading
from collections import deque
from pathlib import Path
from typing import Final, Protocol

from slipstream_loader.errors import SampleReadError, SourceError
from slipstream_loader.sources.object_store import ObjectStore
from slipstream_loader.sources.stored_file import size_of_file

_WINDOW_BYTES: Final = 64 << 10
"""A request for less takes as long."""
_SMALL_BYTES: Final = 16 << 10
_WINDOWS_KEPT: Final = 4


class ByteRanges(Protocol):
    """Bytes that are read in pieces, from any number of threads."""

    @property
    def size(self) -> int:
        """Number of bytes."""

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``, excluded.

        Raises
        ------
        SampleReadError
            When not all of them are there.
        """


class FileRanges:
    """An open file; it is closed when nobody holds this object any more.

    Reads are plain ones and not through a memory map, so that a file which somebody else cuts off
    ends in an error and not in the end of the process.

    Parameters
    ----------
    descriptor : int
        Of the file; taken over.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self.size = os.fstat(descriptor).st_size
        self._modified: int | None = None

    @classmethod
    def open(cls, path: Path) -> FileRanges:
        """Open the file at a path, which nobody may write to as long as it is read.

        Raises
        ------
        SampleReadError
            It is a pipe, a device or a folder, or may not be read.
        """
        try:
            size_of_file(path)
        except SourceError as error:
            raise SampleReadError(str(error)) from error
        ranges = cls(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
        ranges._modified = os.fstat(ranges._descriptor).st_mtime_ns
        return ranges

    def read(self, start: int, stop: int) -> bytes:
        """Return a range of bytes."""
        check_range(start, stop, self.size)
        data = self._read_at(start, stop - start)
        if len(data) != stop - start:
            raise SampleReadError(f"the file was cut off, it had {self.size} bytes before")
        if self._modified not in (None, os.fstat(self._descriptor).st_mtime_ns):
            raise SampleReadError("the file was changed since it was opened: open it again")
        return data

    def _read_at(self, start: int, num_bytes: int) -> bytes:
        if hasattr(os, "pread"):
            data = os.pread(self._descriptor, num_bytes, start)
            if len(data) in (0, num_bytes):
                return data
        with self._lock:  # no pread, or more than it reads at once
            os.lseek(self._descriptor, start, os.SEEK_SET)
            pieces = []
            while num_bytes and (piece := os.read(self._descriptor, num_bytes)):
                pieces.append(piece)
                num_bytes -= len(piece)
        return b"".join(pieces)

    def __del__(self) -> None:
        os.close(self._descriptor)


class ObjectRanges:
    """An object of a store, of which each range is a request.

    Tables and headers are read in many small pieces that lie together: a small range brings what
    is around it, which is kept for those that follow.

    Parameters
    ----------
    store : ObjectStore
        Where it is.
    name : str
        Its name there.
    size : int
        How many bytes it should have.
    """

    def __init__(self, store: ObjectStore, name: str, size: int) -> None:
        self._store, self._name, self.size = store, name, size
        self._windows: deque[tuple[int, bytes]] = deque(maxlen=_WINDOWS_KEPT)

    def read(self, start: int, stop: int) -> bytes:
        """Return a range of bytes."""
        check_range(start, stop, self.size)
        for first, window in tuple(self._windows):
            if first <= start and stop <= first + len(window):
                return window[start - first : stop - first]
        if stop - start > _SMALL_BYTES:
            return self._request(start, stop)
        first = max(0, min(start, self.size - _WINDOW_BYTES))
        window = self._request(first, min(first + _WINDOW_BYTES, self.size))
        self._windows.append((first, window))
        return window[start - first : stop - first]

    def _request(self, start: int, stop: int) -> bytes:
        data = self._store.read(self._name, start, stop)
        if len(data) != stop - start:
            raise SampleReadError(f"the object is cut off: expected {self.size} bytes")
        return data


class RangeReader:
    """A range of bytes as a file that is read once, from its beginning to its end.

    Parameters
    ----------
    data : ByteRanges
        What is read.
    start, stop : int
        The range.
    """

    def __init__(self, data: ByteRanges, start: int, stop: int) -> None:
        self._data, self._position, self._stop = data, start, stop

    def read(self, num_bytes: int = -1, /) -> bytes:
        """Return the next bytes; fewer at the end."""
        left = self._stop - self._position
        start = self._position
        self._position += left if num_bytes < 0 else min(num_bytes, left)
        return self._data.read(start, self._position)


def check_range(start: int, stop: int, size: int) -> None:
    """Raise SampleReadError unless ``0 <= start <= stop <= size``."""
    if not 0 <= start <= stop <= size:
        raise SampleReadError(
            f"bytes {start} to {stop} were to be read of {size}: the chunk is cut off, or its "
            "offsets are damaged"
        )
