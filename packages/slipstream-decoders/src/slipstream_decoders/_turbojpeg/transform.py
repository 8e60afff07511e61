"""Lossless conversion of a JPEG to baseline by libjpeg-turbo's transform.

The quantised coefficients stay as they are and are entropy-coded anew, so the pixels are the same.
Constants are those of turbojpeg.h, which 2.x and 3.x share.
"""

from __future__ import annotations

import ctypes
from typing import Final

from slipstream_decoders._turbojpeg.library import TurboJpeg
from slipstream_decoders.errors import BackendUnavailableError

_TJXOPT_COPYNONE: Final = 64
_TJFLAG_STOPONWARNING: Final = 8192
_TJFLAG_LIMITSCANS: Final = 32768


class _Transform(ctypes.Structure):
    """``tjtransform``: no rotation, no crop, no metadata."""

    _fields_ = (
        ("region", ctypes.c_int * 4),
        ("operation", ctypes.c_int),
        ("options", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("filter", ctypes.c_void_p),
    )


class BaselineTransform:
    """Converts JPEGs one after another; for one thread at a time.

    Parameters
    ----------
    library : TurboJpeg

    Raises
    ------
    BackendUnavailableError
        If the library was built without its transform.
    MemoryError
        If the library cannot make a transformer.
    """

    def __init__(self, library: TurboJpeg) -> None:
        try:
            self._init = library.dll.tjInitTransform
            self._run = library.dll.tjTransform
            self._free_buffer = library.dll.tjFree
        except AttributeError as error:
            raise BackendUnavailableError(
                f"{library.path} cannot transform JPEGs ({error}): install libjpeg-turbo 2.1 or "
                "newer, or set TURBOJPEG to its path"
            ) from error
        self._destroy = library.dll.tjDestroy
        self._init.restype = ctypes.c_void_p
        self._run.argtypes = [
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_ulong,
            ctypes.c_int,
            ctypes.POINTER(ctypes.c_void_p),
            ctypes.POINTER(ctypes.c_ulong),
            ctypes.POINTER(_Transform),
            ctypes.c_int,
        ]
        self._free_buffer.argtypes = [ctypes.c_void_p]

    def convert(self, address: int, size: int) -> bytes | None:
        """The JPEG at an address as a baseline JPEG; None if libjpeg-turbo finds a fault in it.

        A handle serves one image only: tables and restart intervals would stay in it.
        """
        handle = self._init()
        if not handle:
            raise MemoryError("tjInitTransform failed")
        buffer, length = ctypes.c_void_p(), ctypes.c_ulong()
        transform = _Transform(options=_TJXOPT_COPYNONE)
        flags = _TJFLAG_STOPONWARNING | _TJFLAG_LIMITSCANS
        try:
            code = self._run(
                handle,
                address,
                size,
                1,
                ctypes.byref(buffer),
                ctypes.byref(length),
                ctypes.byref(transform),
                flags,
            )
            if code != 0 or not buffer.value:
                return None
            return ctypes.string_at(buffer.value, length.value)
        finally:
            self._free_buffer(buffer)
            self._destroy(handle)
