"""Read-only maps of files that hold no file descriptor, so that thousands can be open at once."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import weakref
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slipstream_cache.errors import CorruptCacheError
from slipstream_cache.manifest import FileInfo

_NPY_MAGIC: Final = b"\x93NUMPY\x01\x00"
_ADVICE: Final = (
    "run `slipstream verify CACHE --repair SOURCE`, which makes what is damaged again, or copy the "
    "file again"
)
_MAX_HEADER_BYTES: Final = 10 + 65_535  # of a .npy file of version 1.0


class FileMap:
    """A file's bytes in memory, for as long as this object or an array on it lives.

    Parameters
    ----------
    path : Path
        The file.
    info : FileInfo
        What the manifest says about it.

    Raises
    ------
    CorruptCacheError
        The file is missing or has another size.
    """

    def __init__(self, path: Path, info: FileInfo) -> None:
        self.path = path
        self.num_bytes = info.bytes
        try:
            with path.open("rb") as file:
                found = os.fstat(file.fileno()).st_size
                if found != info.bytes:
                    raise CorruptCacheError(
                        f"{path} has {found} bytes, expected {info.bytes}: the file is damaged; "
                        f"{_ADVICE}"
                    )
                self.address = self._map(file.fileno()) if found else 0
        except FileNotFoundError as error:
            raise CorruptCacheError(
                f"{path} is missing, expected {info.bytes} bytes; {_ADVICE}"
            ) from error

    def array(self, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int) -> NDArray[Any]:
        """Return a read-only view; the caller has checked that the file holds it."""
        if 0 in shape:
            return np.empty(shape, dtype)
        return np.asarray(_View(self, dtype, shape, offset))

    def first_bytes(self, limit: int) -> bytes:
        """Return a copy of the first bytes, at most ``limit``."""
        return ctypes.string_at(self.address, min(limit, self.num_bytes))

    def _map(self, descriptor: int) -> int:
        if sys.platform == "win32" or ctypes.sizeof(ctypes.c_void_p) != 8:
            self._owner = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
            return int(np.frombuffer(self._owner, dtype=np.uint8).ctypes.data)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        address = libc.mmap(
            None,
            ctypes.c_size_t(self.num_bytes),
            ctypes.c_int(mmap.PROT_READ),
            ctypes.c_int(mmap.MAP_SHARED),
            ctypes.c_int(descriptor),
            ctypes.c_longlong(0),
        )
        if address == ctypes.c_void_p(-1).value:
            code = ctypes.get_errno()
            raise OSError(code, f"cannot map: {os.strerror(code)}", str(self.path))
        unmap = weakref.finalize(
            self, libc.munmap, ctypes.c_void_p(address), ctypes.c_size_t(self.num_bytes)
        )
        unmap.atexit = False  # threads may still read while the interpreter ends
        return int(address)


class _View:
    """Tells NumPy about a part of a map, and keeps the map alive."""

    def __init__(
        self, owner: FileMap, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int
    ) -> None:
        self._owner = owner
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": dtype.str,
            "descr": np.lib.format.dtype_to_descr(dtype) if dtype.names else [("", dtype.str)],
            "data": (owner.address + offset, True),
        }


class NpyMap:
    """A mapped .npy file whose dtype and shape were checked.

    Parameters
    ----------
    path, info
        As for ``FileMap``.
    dtype : numpy.dtype
        Expected.
    shape : tuple of int
        Expected.

    Raises
    ------
    CorruptCacheError
        The file is missing, has another size, or is not such an array.
    """

    def __init__(
        self, path: Path, info: FileInfo, dtype: np.dtype[Any], shape: tuple[int, ...]
    ) -> None:
        self._map = FileMap(path, info)
        self._dtype, self._shape = dtype, shape
        self._offset = _check_npy(self._map, dtype, shape)
        self.address = self._map.address + self._offset
        """Address of the first element; never 0."""

    def array(self) -> NDArray[Any]:
        """Return a read-only view of the array."""
        return self._map.array(self._dtype, self._shape, self._offset)


def _check_npy(file: FileMap, dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """Bytes before the data of a mapped .npy file that has the expected dtype and shape.

    The header is compared and not evaluated: that is faster, and damaged text harms nothing.
    """
    start = file.first_bytes(_MAX_HEADER_BYTES)
    length = int.from_bytes(start[8:10], "little")
    header = start[10 : 10 + length].decode("latin1").rstrip()
    descr = np.lib.format.dtype_to_descr(dtype)
    expected = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    data_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    whole = file.num_bytes == 10 + length + data_bytes
    if start[:8] != _NPY_MAGIC or header != expected or not whole:
        raise CorruptCacheError(
            f"{file.path} is not the .npy file that was built: expected version 1.0 with "
            f"{expected} and {data_bytes} bytes of data, found {header[:200]!r} in "
            f"{file.num_bytes} bytes; run `slipstream verify`"
        )
    return 10 + length
