"""A file that is read at given places."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path


class PositionedFile:
    """Threads, and processes that were forked off, may read at the same time.

    It closes itself with its last user: a pipeline that is bound to a path need not be closed.

    Parameters
    ----------
    path : path
    """

    def __init__(self, path: str | Path) -> None:
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._lock = threading.Lock()
        self._close = weakref.finalize(self, os.close, self._file)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from byte ``offset`` on; return how many bytes there were."""
        if not self._close.alive:
            raise ValueError("the file is closed: bind it again")
        filled = 0
        while filled < len(buffer):
            count = self._read_some(offset + filled, buffer[filled:])
            if not count:
                break
            filled += count
        return filled

    def _read_some(self, offset: int, buffer: memoryview) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file, [buffer], offset)
        with self._lock:
            os.lseek(self._file, offset, os.SEEK_SET)
            data = os.read(self._file, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close it."""
        self._close()
