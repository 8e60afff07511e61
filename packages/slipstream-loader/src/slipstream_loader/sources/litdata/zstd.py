"""Unpacking zstd frames, never more bytes than expected."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, Final, Protocol

from slipstream_loader.errors import SampleReadError

_MAX_WINDOW_BYTES: Final = 1 << 27
"""zstd's own limit for decoders that are not told otherwise."""
_BLOCK_BYTES: Final = 1 << 20

_local = threading.local()
_largest_buffer: Final = threading.Lock()
"""Held by the only thread that may fill a buffer of the largest size."""


class Readable(Protocol):
    """A file, as far as it is read here."""

    def read(self, num_bytes: int = -1, /) -> bytes:
        """Return the next bytes; fewer at the end."""


def unpack(data: bytes, max_bytes: int) -> bytes:
    """Unpack one frame in memory.

    Raises
    ------
    SampleReadError
        It is damaged, or holds more than so many bytes.
    """
    zstandard = _zstandard()
    try:
        declared = zstandard.frame_content_size(data)
        if declared <= max_bytes:
            # where the frame does not tell its size, the limit is that of the buffer
            with _largest_buffer if declared < 0 else nullcontext():
                unpacked: bytes = _decompressor().decompress(data, max_output_size=max_bytes)
            return unpacked
    except zstandard.ZstdError as error:
        raise SampleReadError(f"a damaged zstd frame: {error}") from error
    raise SampleReadError(f"a zstd frame of {declared} bytes, expected at most {max_bytes}")


def unpack_blocks(source: Readable, num_bytes: int) -> Iterator[bytes]:
    """Unpack the frame that begins where a file stands, block by block.

    Parameters
    ----------
    source : binary file
        It is read to the end of the frame, or further.
    num_bytes : int
        How many bytes the frame holds.

    Raises
    ------
    SampleReadError
        The frame is damaged or holds another number of bytes.
    """
    zstandard = _zstandard()
    left = num_bytes
    try:
        with _decompressor().stream_reader(source, read_size=_BLOCK_BYTES, closefd=False) as reader:
            while block := reader.read(min(_BLOCK_BYTES, left + 1)):
                left -= len(block)
                if left < 0:
                    raise SampleReadError(f"a zstd frame of more than {num_bytes} bytes")
                yield block
    except zstandard.ZstdError as error:
        raise SampleReadError(f"a damaged zstd frame: {error}") from error
    if left:
        raise SampleReadError(f"a zstd frame of {num_bytes - left} bytes, expected {num_bytes}")


def _decompressor() -> Any:
    """This thread's own: they are not safe to share."""
    if not hasattr(_local, "decompressor"):
        _local.decompressor = _zstandard().ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    return _local.decompressor


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise ImportError(
            "compressed LitData chunks need zstandard: "
            "pip install 'visionlab-slipstream-loader[litdata]'"
        ) from error
    return zstandard
