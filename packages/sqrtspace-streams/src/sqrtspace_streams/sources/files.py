"""Samples in a file of plain numbers: .npy or raw."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import DTypeLike

from sqrtspace_streams.errors import SourceError
from sqrtspace_streams.sources.base import FiniteSource, Samples
from sqrtspace_streams.sources.positioned import PositionedFile


class RawFileSource(FiniteSource):
    """Numbers in a file, read piece by piece.

    Parameters
    ----------
    path : path
    dtype : dtype
        Of a sample, byte order included.
    offset : int
        Bytes before the first sample.
    item_shape : tuple of int
        Shape of a sample.

    Raises
    ------
    SourceError
        If the file does not hold a whole number of samples.
    """

    def __init__(
        self,
        path: str | Path,
        dtype: DTypeLike,
        *,
        offset: int = 0,
        item_shape: tuple[int, ...] = (),
    ) -> None:
        self.path, self.dtype, self.item_shape = Path(path), np.dtype(dtype), tuple(item_shape)
        if self.dtype.hasobject:
            raise SourceError(f"{path} holds Python objects: only plain numbers can be read")
        self._offset = offset
        self._item_bytes = self.dtype.itemsize * int(np.prod(self.item_shape, dtype=np.int64))
        if not self._item_bytes:
            raise SourceError(f"{path}: a sample of shape {self.item_shape} holds nothing")
        data_bytes = os.path.getsize(path) - offset
        self.length, rest = divmod(data_bytes, self._item_bytes)
        if data_bytes < 0 or rest:
            raise SourceError(
                f"{path} has {data_bytes} bytes after offset {offset}: not a whole number of "
                f"samples of {self._item_bytes} bytes"
            )
        self._file = PositionedFile(path)

    def read(self, start: int, stop: int) -> Samples:
        """A copy."""
        self.check_range(start, stop)
        samples = np.empty((stop - start, *self.item_shape), self.dtype)
        flat: Any = samples.reshape(-1).view(np.uint8) if samples.size else b""
        buffer = memoryview(flat)
        filled = self._file.read_into(self._offset + start * self._item_bytes, buffer)
        if filled < len(buffer):
            raise SourceError(
                f"{self.path} ended at sample {start + filled // self._item_bytes}; it had "
                f"{self.length} when it was opened"
            )
        return samples

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def npy_source(path: str | Path) -> RawFileSource:
    """The array of a .npy file; its first axis is time.

    Raises
    ------
    SourceError
        If it is no .npy file of plain numbers in C order.
    """
    with open(path, "rb") as file:
        try:
            version = npy_format.read_magic(file)
            read = {
                (1, 0): npy_format.read_array_header_1_0,
                (2, 0): npy_format.read_array_header_2_0,
            }[version]
            shape, fortran, dtype = read(file)
        except (KeyError, ValueError) as error:
            raise SourceError(f"{path} is not a .npy file that can be read: {error}") from error
        offset = file.tell()
    if not shape or (fortran and len(shape) > 1):
        raise SourceError(f"{path} has shape {shape} in Fortran order={fortran}: expected C order")
    source = RawFileSource(path, dtype, offset=offset, item_shape=shape[1:])
    if source.length < shape[0]:
        raise SourceError(f"{path} is cut off: {source.length} of {shape[0]} samples")
    source.length = shape[0]
    return source
