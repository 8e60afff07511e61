"""Reads of a remote file that lie near one another share requests, which are made ahead.

A build asks for one sample after another, each much smaller than a good request; ``dataset[i]`` in
random order asks for samples that have nothing to do with one another. Both go through here: a read
that follows others fetches whole blocks, and the next ones too; a lonely one fetches what it needs.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from slipstream_loader.sources.wrapped_file import WrappedFile

_BLOCK_BYTES: Final = 8 << 20
_KEPT_BLOCKS: Final = 48
"""Blocks in memory, 384 MiB: files that several processes wrote are read at as many places."""
_TOUCHED_BLOCKS: Final = 256
_AHEAD: Final = 3


class NeighbouringReads(WrappedFile):
    """A remote file, read from several threads; a ``StoredFile`` itself, and it can be pickled.

    Parameters
    ----------
    file : StoredFile
        What is read.
    """

    def restart(self) -> None:
        """See ``after_fork``."""
        self._lock = threading.Lock()
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._touched: OrderedDict[int, None] = OrderedDict()
        self._pool: ThreadPoolExecutor | None = None

    def read(self, start: int, stop: int) -> bytes:
        """See ``StoredFile``."""
        first, last = start // _BLOCK_BYTES, max(start, stop - 1) // _BLOCK_BYTES
        if last - first >= _AHEAD or not self._continues(first, last):
            return self._file.read(start, stop)
        pieces = [self._block(number) for number in range(first, last + 1)]
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        begin = start - first * _BLOCK_BYTES
        return data[begin : begin + stop - start]

    def _continues(self, first: int, last: int) -> bool:
        """Whether something in these blocks, or just before them, was read lately."""
        with self._lock:
            known = any(number in self._touched for number in range(first - 1, last + 1))
            for number in range(first, last + 1):
                self._touched[number] = None
                self._touched.move_to_end(number)
            while len(self._touched) > _TOUCHED_BLOCKS:
                self._touched.popitem(last=False)
            return known

    def _block(self, number: int) -> bytes:
        end = -(-self.size // _BLOCK_BYTES)
        with self._lock:
            for ahead in range(number, min(number + 1 + _AHEAD, end)):
                if ahead not in self._blocks:
                    self._blocks[ahead] = self._submit(ahead)
            wanted = self._blocks[number]
            self._blocks.move_to_end(number)
            while len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)[1].cancel()
        try:
            return wanted.result()
        except BaseException:
            with self._lock:  # the next attempt asks again
                if self._blocks.get(number) is wanted:
                    del self._blocks[number]
            raise

    def _submit(self, number: int) -> Future[bytes]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1 + _AHEAD, thread_name_prefix="slipstream-ranges")
        begin = number * _BLOCK_BYTES
        return self._pool.submit(self._file.read, begin, min(begin + _BLOCK_BYTES, self.size))

    def close(self) -> None:
        """Forget what was read, and end the threads; reading begins anew."""
        with self._lock:
            pool, self._pool = self._pool, None
            self._blocks.clear()
            self._touched.clear()
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
