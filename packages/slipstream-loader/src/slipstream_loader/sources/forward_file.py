"""Reading a file from a place on, forward: plain or decompressed, with requests made ahead."""

from __future__ import annotations

import bz2
import io
import lzma
import os
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Literal, Protocol

from slipstream_loader.errors import SampleReadError
from slipstream_loader.sources.stored_file import StoredFile

Compression = Literal["none", "gzip", "bzip2", "xz"]

_MAGIC: Final[dict[bytes, Compression]] = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
}
_REMOTE_BLOCK_BYTES: Final = 16 << 20
_REMOTE_AHEAD: Final = 4
_STEP_BYTES: Final = 256 << 10
"""Input and output of one step of a decompressor."""
_XZ_MEMORY_BYTES: Final = 256 << 20
"""An archive that needs more to be decompressed is refused; ``xz -9`` takes 65 MiB."""
_RESTART_BYTES: Final = 64 << 20
_MAX_RESTARTS: Final = 256


class ForwardReader(Protocol):
    """What is read from its beginning to its end."""

    position: int
    """Bytes read or skipped."""

    def read(self, size: int) -> bytes:
        """Return so many bytes; fewer only at the end."""

    def skip(self, size: int) -> None:
        """Leave out so many bytes, which may lie behind the end."""

    def close(self) -> None:
        """Stop what goes on in the background."""


def sniff_compression(file: StoredFile) -> Compression:
    """Tell by its first bytes how a file is compressed."""
    begin = file.read(0, min(6, file.size))
    return next((kind for magic, kind in _MAGIC.items() if begin.startswith(magic)), "none")


class PlainReader:
    """The bytes of a file; of a remote one, several blocks are requested ahead."""

    def __init__(self, file: StoredFile, position: int = 0) -> None:
        self.position = position
        self._file = file
        self._pool = ThreadPoolExecutor(_REMOTE_AHEAD) if file.is_remote else None
        self._process = os.getpid()
        self._blocks: deque[tuple[int, Future[bytes]]] = deque()
        self._requested = position

    def read(self, size: int) -> bytes:
        """See ``ForwardReader``."""
        stop = min(self.position + size, self._file.size)
        if self.position >= stop:
            return b""
        if self._pool is None:
            data = self._file.read(self.position, stop)
        else:
            data = b"".join(self._pieces(stop))
        self.position = stop
        return data

    def skip(self, size: int) -> None:
        """See ``ForwardReader``."""
        self.position += size

    def close(self) -> None:
        """See ``ForwardReader``."""
        if self._pool is not None and self._process == os.getpid():
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._blocks.clear()

    def _pieces(self, stop: int) -> list[bytes]:
        pieces = []
        position = self.position
        while position < stop:
            start, block = self._block_at(position)
            piece = block[position - start : stop - start]
            pieces.append(piece)
            position += len(piece)
        return pieces

    def _block_at(self, position: int) -> tuple[int, bytes]:
        """The requested block that holds a position, after requesting those behind it."""
        assert self._pool is not None
        while self._blocks and self._blocks[0][0] + _REMOTE_BLOCK_BYTES <= position:
            self._blocks.popleft()[1].cancel()
        if not self._blocks:
            self._requested = position
        while len(self._blocks) < _REMOTE_AHEAD and self._requested < self._file.size:
            start = self._requested
            self._requested = min(start + _REMOTE_BLOCK_BYTES, self._file.size)
            future = self._pool.submit(self._file.read, start, self._requested)
            self._blocks.append((start, future))
        start, future = self._blocks[0]
        return start, future.result()


class DecompressedReader:
    """The bytes of a compressed file. Several streams one after another count as one.

    Where the format allows (gzip), the state can be copied, so that a reader of an earlier
    place need not start at the beginning; see ``Restarts``.

    Raises
    ------
    SampleReadError
        By ``read`` and ``skip``: the data is damaged or cut off.
    """

    def __init__(self, file: StoredFile, compression: Compression) -> None:
        self.position = 0
        self._file, self._compression = file, compression
        self._input = PlainReader(file)
        self._decompressor: Any = _new_decompressor(compression)
        self._pending = b""
        self._output = memoryview(b"")
        self._is_done = False

    def read(self, size: int) -> bytes:
        """See ``ForwardReader``."""
        found = io.BytesIO()  # which hands its bytes over, without another copy
        while size > 0 and self._fill():
            piece = self._output[:size]
            found.write(piece)
            self._advance(len(piece))
            size -= len(piece)
        return found.getvalue()

    def skip(self, size: int) -> None:
        """See ``ForwardReader``."""
        while size > 0 and self._fill():
            step = min(size, len(self._output))
            self._advance(step)
            size -= step

    def close(self) -> None:
        """See ``ForwardReader``."""
        self._input.close()

    def copy(self) -> DecompressedReader | None:
        """A second reader at the same place; None if the format has none."""
        if self._compression != "gzip" or self._is_done:
            return None
        twin = DecompressedReader(self._file, self._compression)
        twin.position, twin._output = self.position, self._output
        twin._input.position = self._input.position - len(self._pending)
        twin._decompressor = self._decompressor.copy()
        return twin

    def _advance(self, size: int) -> None:
        self._output = self._output[size:]
        self.position += size

    def _fill(self) -> bool:
        """Have some output; False at the end."""
        while not len(self._output) and not self._is_done:
            try:
                self._output = memoryview(self._decompress())
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
                if isinstance(error, OSError) and not _is_bad_data(error):
                    raise
                raise SampleReadError(
                    f"{self._file.uri}: the {self._compression} data is damaged after "
                    f"{self.position} decompressed bytes: {error}"
                ) from error
        return len(self._output) > 0

    def _decompress(self) -> bytes:
        is_hungry = self._decompressor.eof or getattr(self._decompressor, "needs_input", True)
        data = self._pending or (self._input.read(_STEP_BYTES) if is_hungry else b"")
        if self._decompressor.eof:
            data = data.lstrip(b"\0")  # padding between and after streams
            if not data:
                self._pending = b""
                self._is_done = self._input.position >= self._file.size
                return b""
            self._decompressor = _new_decompressor(self._compression)
        elif not data and is_hungry:
            raise EOFError("the file is cut off")
        output: bytes = self._decompressor.decompress(data, _STEP_BYTES)
        if self._decompressor.eof:
            self._pending = self._decompressor.unused_data
        elif self._compression == "gzip":
            self._pending = self._decompressor.unconsumed_tail
        else:  # these keep what they have not consumed
            self._pending = b""
        return output


class Restarts:
    """Places of a decompressed file that a reader can begin at, found as readers pass them."""

    def __init__(self) -> None:
        self._readers: dict[int, tuple[int, DecompressedReader]] = {}
        self._spacing = _RESTART_BYTES

    def keep(self, number: int, reader: DecompressedReader) -> None:
        """Keep the state of a reader, named by a number that grows with its position.

        It is kept only if no place near it is known.
        """
        nearest = max((n for n in self._readers if n <= number), default=None)
        known = 0 if nearest is None else self._readers[nearest][0]
        if reader.position - known < self._spacing:
            return
        twin = reader.copy()
        if twin is not None:
            self._readers[number] = reader.position, twin
        if len(self._readers) > _MAX_RESTARTS:
            self._spacing *= 2
            for other in sorted(self._readers)[1::2]:
                del self._readers[other]

    def before(self, number: int) -> tuple[int, DecompressedReader] | None:
        """The last known place up to a number: its number, and a new reader there."""
        nearest = max((n for n in self._readers if n <= number), default=None)
        if nearest is None:
            return None
        twin = self._readers[nearest][1].copy()
        return None if twin is None else (nearest, twin)


def _new_decompressor(compression: Compression) -> Any:
    if compression == "gzip":
        return zlib.decompressobj(wbits=31)
    if compression == "bzip2":
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)


def _is_bad_data(error: OSError) -> bool:
    """Tell bzip2's complaint about data, a plain OSError, from a failure to read."""
    return type(error) is OSError and error.errno is None


def open_forward(file: StoredFile, compression: Compression) -> ForwardReader:
    """Open a file at its beginning."""
    return PlainReader(file) if compression == "none" else DecompressedReader(file, compression)
