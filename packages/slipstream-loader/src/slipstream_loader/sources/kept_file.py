"""A remote file that is read twice and requested once: what was read is kept on the disk."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Final

from slipstream_loader.sources.wrapped_file import WrappedFile

_logger = logging.getLogger(__name__)

_BLOCK_BYTES: Final = 1 << 20
_FREE_FOR_EACH_BYTE: Final = 3
"""Space for the copy, for the cache that is built from it, and for others."""


class KeptFile(WrappedFile):
    """A remote file; a ``StoredFile`` itself, and it can be pickled.

    Parameters
    ----------
    file : StoredFile
        What is read.
    """

    def restart(self) -> None:
        """See ``after_fork``: the copies of two processes would not know of each other."""
        self._copy: _Copy | None = None

    def keep(self, directory: Path) -> None:
        """From now on keep what is read, in a file without a name, if there is much space.

        Nothing is left of it, however the process ends.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(directory).free >= _FREE_FOR_EACH_BYTE * self.size:
                with tempfile.TemporaryFile(dir=directory) as file:
                    self._copy = _Copy(os.dup(file.fileno()))
        except OSError as error:
            _logger.debug("%s is not kept: %s", self.uri, error)

    def read(self, start: int, stop: int) -> bytes:
        """See ``StoredFile``."""
        copy = self._copy
        kept = None if copy is None else copy.read(start, stop)
        if kept is not None:
            return kept
        data = self._file.read(start, stop)
        if copy is not None:
            try:
                copy.add(start, data, is_end=stop == self.size)
            except OSError as error:
                _logger.debug("%s is kept no more: %s", self.uri, error)
                self._copy = None
        return data

    def close(self) -> None:
        """Give up what was kept; reading asks for it again."""
        self._copy = None


class _Copy:
    """Whole blocks of a file, in a file that is gone when nobody holds this object any more."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._blocks: set[int] = set()

    def read(self, start: int, stop: int) -> bytes | None:
        """Return a range; None if not all of it is here."""
        pieces = []
        with self._lock:
            wanted = range(start // _BLOCK_BYTES, -(-stop // _BLOCK_BYTES))
            if not self._blocks.issuperset(wanted):
                return None
        while start < stop and (piece := os.pread(self._descriptor, stop - start, start)):
            pieces.append(piece)
            start += len(piece)
        return b"".join(pieces) if start == stop else None

    def add(self, start: int, data: bytes, *, is_end: bool) -> None:
        """Keep the whole blocks of a range; the last one of the file may be shorter."""
        first = -(-start // _BLOCK_BYTES)
        end = start + len(data)
        last = -(-end // _BLOCK_BYTES) if is_end else end // _BLOCK_BYTES
        if last <= first:
            return
        rest = memoryview(data)[first * _BLOCK_BYTES - start :]
        rest = rest[: (last - first) * _BLOCK_BYTES]
        position = first * _BLOCK_BYTES
        while rest:
            written = os.pwrite(self._descriptor, rest, position)
            rest, position = rest[written:], position + written
        with self._lock:
            self._blocks.update(range(first, last))

    def __del__(self) -> None:
        os.close(self._descriptor)
