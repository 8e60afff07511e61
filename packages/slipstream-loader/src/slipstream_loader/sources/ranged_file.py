"""A file of a store as a file object, for libraries that read files by themselves."""

from __future__ import annotations

import io
import os
from collections import OrderedDict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from slipstream_loader.sources.stored_file import StoredFile

_BLOCK_BYTES: Final = 2 << 20
_BLOCKS_AHEAD: Final = 4
_BLOCKS_KEPT: Final = 16
_PLACES: Final = 64
"""Where this many reads have ended is remembered: as many columns may be read in turns."""


class RangedFile(io.RawIOBase):
    """Reads ranges of a remote file; blocks behind what is read forward are requested ahead.

    For one thread at a time.

    Parameters
    ----------
    file : StoredFile
    """

    def __init__(self, file: StoredFile) -> None:
        self._file, self._position = file, 0
        self._ends: deque[int] = deque(maxlen=_PLACES)
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._pool = ThreadPoolExecutor(_BLOCKS_AHEAD, "slipstream-ranges")
        self._process = os.getpid()

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Position of the next read."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Set the position of the next read, and return it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._file.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """Return so many bytes, or all that are left; fewer at the end.

        Raises
        ------
        OSError
            They cannot be read.
        """
        start = self._position
        stop = self._file.size if size is None or size < 0 else min(start + size, self._file.size)
        if start >= stop:
            return b""
        if start in self._ends:
            data = b"".join(self._pieces(start, stop))
        else:
            data = self._file.read(start, stop)
        self._ends.append(stop)
        self._position = stop
        return data

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer as far as there are bytes, and return their number; see ``read``."""
        view = memoryview(buffer)
        data = self.read(view.nbytes)
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Stop requests that were made ahead."""
        if self._process == os.getpid():  # a forked child has not the threads
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._blocks.clear()
        super().close()

    def _pieces(self, start: int, stop: int) -> list[bytes]:
        pieces = []
        while start < stop:
            number = start // _BLOCK_BYTES
            begin = number * _BLOCK_BYTES
            pieces.append(self._block(number)[start - begin : stop - begin])
            start += len(pieces[-1])
        return pieces

    def _block(self, number: int) -> bytes:
        for coming in range(number, number + _BLOCKS_AHEAD):
            begin = coming * _BLOCK_BYTES
            if coming not in self._blocks and begin < self._file.size:
                end = min(begin + _BLOCK_BYTES, self._file.size)
                self._blocks[coming] = self._pool.submit(self._file.read, begin, end)
        self._blocks.move_to_end(number)
        while len(self._blocks) > _BLOCKS_KEPT:
            self._blocks.popitem(last=False)[1].cancel()
        try:
            return self._blocks[number].result()
        except OSError:
            del self._blocks[number]
            raise
