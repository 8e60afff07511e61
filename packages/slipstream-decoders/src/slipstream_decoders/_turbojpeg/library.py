"""Find and load the system's TurboJPEG library, and give the addresses of its functions.

The library is looked for where PyTurboJPEG looks: the ``TURBOJPEG`` environment variable, the
loader's search path, and the usual folders of Homebrew and of libjpeg-turbo's own installers.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders.errors import BackendUnavailableError

_logger = logging.getLogger(__name__)

_FUNCTIONS = (
    "tjDecompressHeader3",
    "tjDecompress2",
    "tjDecompressToYUVPlanes",
    "tjInitDecompress",
    "tjDestroy",
)
_PATHS = {
    "darwin": (
        "/opt/homebrew/opt/jpeg-turbo/lib/libturbojpeg.dylib",
        "/usr/local/opt/jpeg-turbo/lib/libturbojpeg.dylib",
    ),
    "linux": ("libturbojpeg.so.0", "/opt/libjpeg-turbo/lib64/libturbojpeg.so"),
    "win32": (
        r"C:\libjpeg-turbo64\bin\turbojpeg.dll",
        r"C:\libjpeg-turbo-gcc64\bin\libturbojpeg.dll",
    ),
}


@dataclass(frozen=True)
class TurboJpeg:
    """A loaded TurboJPEG library."""

    path: str
    addresses: NDArray[np.int64]
    """Of the functions that kernels call, in the order of ``_FUNCTIONS``."""
    dll: ctypes.CDLL

    def new_handle(self) -> int:
        """A decompressor for one image; give it back to ``free_handle``.

        Not for more: restart intervals and tables of an image can change what becomes of the next.

        Raises
        ------
        MemoryError
            If the library cannot make one.
        """
        handle = self.dll.tjInitDecompress()
        if not handle:
            raise MemoryError("tjInitDecompress failed")
        return int(handle)

    def free_handle(self, handle: int) -> None:
        """Destroy a decompressor."""
        self.dll.tjDestroy(handle)

    def last_message(self, handle: int) -> str:
        """What the library said about the handle's last failure."""
        message: bytes | None = self.dll.tjGetErrorStr2(handle)
        return (message or b"unknown error").decode(errors="replace")


def _candidates() -> Iterator[str]:
    if "TURBOJPEG" in os.environ:
        yield os.environ["TURBOJPEG"]
    found = ctypes.util.find_library("turbojpeg")
    if found:
        yield found
    yield from _PATHS.get(sys.platform, ())


@cache
def find_turbojpeg() -> TurboJpeg | None:
    """The system's library, or None when there is none that has what the engine needs."""
    for path in _candidates():
        try:
            dll = ctypes.CDLL(path)
            addresses = [
                ctypes.cast(getattr(dll, name), ctypes.c_void_p).value for name in _FUNCTIONS
            ]
            dll.tjInitDecompress.restype = ctypes.c_void_p
            dll.tjDestroy.argtypes = [ctypes.c_void_p]
            dll.tjGetErrorStr2.argtypes = [ctypes.c_void_p]
            dll.tjGetErrorStr2.restype = ctypes.c_char_p
        except (OSError, AttributeError) as error:
            _logger.debug("TurboJPEG library %s is not usable: %s", path, error)
            continue
        return TurboJpeg(path, np.array(addresses, np.int64), dll)
    return None


def load_turbojpeg() -> TurboJpeg:
    """The system's library.

    Raises
    ------
    BackendUnavailableError
        If there is none.
    """
    library = find_turbojpeg()
    if library is None:
        raise BackendUnavailableError(
            "no TurboJPEG library found; install it (Debian and Ubuntu: apt install libturbojpeg0; "
            "macOS: brew install jpeg-turbo; conda: conda install libjpeg-turbo) or set TURBOJPEG "
            "to its path, or use engine='pillow'"
        )
    return library
