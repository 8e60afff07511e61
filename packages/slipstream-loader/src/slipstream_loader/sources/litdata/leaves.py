"""From the stored bytes of a leaf to its value, for each kind of leaf that LitData writes.

Kinds whose bytes are those of a file (images, audio, PDF...) give these bytes, unchanged. Numbers
are little-endian, but for the header of ``tensor``; tensors become NumPy arrays.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slipstream_loader.errors import SampleReadError, SourceError
from slipstream_loader.image_files import BAD_IMAGE_ERRORS, describe_problem
from slipstream_loader.sources.litdata.nested import load_nested
from slipstream_loader.sources.litdata.pickles import load_anything, load_scalar
from slipstream_loader.sources.pil_files import file_of

_logger = logging.getLogger(__name__)

_NUMPY_DTYPES: Final = (
    *("<i1", "<i2", "<i4", "<i8", "<u1", "<u2", "<u4", "<u8"),
    *("<f2", "<f4", "<f8", "<c8", "<c16", "|b1"),
)
"""By LitData's number; behind these come object, bytes, str and void, which have no fixed size."""
_TORCH_DTYPES: Final = (
    *("<f4", "<f4", "<f8", "<f8", "<c8", "<c8", "<c16", "<c16", "<f2", "<f2", None),
    *("<u1", "<i1", "<i2", "<i2", "<i4", "<i4", "<i8", "<i8", "|b1", "<u2"),
)
"""By LitData's number; there is no NumPy dtype for bfloat16."""
_PIXEL_BITS: Final = {
    "1": 1,
    **dict.fromkeys(("L", "P"), 8),
    **dict.fromkeys(("LA", "La", "PA", "I;16", "I;16B", "I;16L"), 16),
    **dict.fromkeys(("RGB", "YCbCr", "LAB", "HSV"), 24),
    **dict.fromkeys(("RGBA", "RGBX", "RGBa", "CMYK", "I", "F"), 32),
}
_MAX_DIMENSIONS: Final = 32

Decode = Callable[[bytes], Any]


@dataclass(frozen=True)
class LeafKind:
    """How one leaf of every sample is read."""

    decode: Decode
    is_image: bool = False
    """Whether its value is the bytes of an image file."""
    is_json: bool = False
    """Whether its value is a JSON value."""


def leaf_kind(name: str, *, allow_pickle: bool) -> LeafKind:
    """Return how a leaf is read whose kind has this name in ``data_format``.

    Raises
    ------
    SourceError
        The leaves have a dtype that cannot be stored.
    """
    base, _, argument = name.partition(":")
    if base in _SIMPLE:
        return _SIMPLE[base]
    if base == "pickle":
        return LeafKind(load_anything if allow_pickle else load_scalar, is_json=True)
    if base in ("no_header_numpy", "no_header_tensor"):
        table = _NUMPY_DTYPES if base == "no_header_numpy" else _TORCH_DTYPES
        try:
            dtype = _dtype(table, int(argument))
        except (SampleReadError, ValueError) as error:
            raise SourceError(f"leaves of kind {name!r}: {error}") from error
        return LeafKind(lambda data: _array(data, dtype, None))
    if base not in _FILES:
        _logger.warning("leaves of the unknown kind %r are kept as bytes", name)
    return LeafKind(bytes)


def _decode_bool(data: bytes) -> bool:
    if len(data) != 1:
        raise SampleReadError(f"a bool of {len(data)} bytes, expected 1")
    return data != b"\0"


def _number_decoder(layout: str) -> Decode:
    number = struct.Struct(layout)

    def decode(data: bytes) -> Any:
        if len(data) != number.size:
            raise SampleReadError(f"a number of {len(data)} bytes, expected {number.size}")
        return number.unpack(data)[0]

    return decode


def _decode_text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SampleReadError(f"text that is not UTF-8: {error}") from error


def _decode_numpy(data: bytes) -> NDArray[Any]:
    return _with_header(data, _NUMPY_DTYPES, "<")


def _decode_tensor(data: bytes) -> NDArray[Any]:
    return _with_header(data, _TORCH_DTYPES, ">")


def _with_header(data: bytes, dtypes: tuple[str | None, ...], order: str) -> NDArray[Any]:
    """Read number of the dtype, number of dimensions, shape, values."""
    try:
        number, num_dimensions = struct.unpack_from(f"{order}II", data)
        if num_dimensions > _MAX_DIMENSIONS:
            raise SampleReadError(f"an array of {num_dimensions} dimensions")
        shape = struct.unpack_from(f"{order}{num_dimensions}I", data, 8)
    except struct.error as error:
        raise SampleReadError(f"an array that is cut off: {error}") from error
    return _array(data[8 + 4 * num_dimensions :], _dtype(dtypes, number), shape)


def _array(data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...] | None) -> NDArray[Any]:
    """Return a copy of the values; a vector where the shape is not known."""
    if shape is None:
        shape = (len(data) // dtype.itemsize,)
    expected = dtype.itemsize
    for length in shape:
        expected *= length
    if len(data) != expected:
        raise SampleReadError(
            f"an array of dtype {dtype} and shape {shape} in {len(data)} bytes, expected {expected}"
        )
    array: NDArray[Any] = np.frombuffer(data, dtype).reshape(shape).copy()
    return array


def _dtype(dtypes: tuple[str | None, ...], number: int) -> np.dtype[Any]:
    name = dtypes[number] if 0 <= number < len(dtypes) else None
    if name is None:
        raise SampleReadError(f"an array of dtype number {number}, which cannot be stored")
    return np.dtype(name)


def _decode_pil(data: bytes) -> bytes:
    """Turn the pixels of a Pillow image into an image file without loss."""
    try:
        width, height, num_mode = struct.unpack_from("<III", data)
    except struct.error as error:
        raise SampleReadError(f"a Pillow image that is cut off: {error}") from error
    mode, pixels = data[12 : 12 + num_mode].decode("ascii", "replace"), data[12 + num_mode :]
    expected = height * ((width * _PIXEL_BITS.get(mode, 0) + 7) // 8)
    if not expected or len(pixels) != expected:
        raise SampleReadError(
            f"a Pillow image of mode {mode[:10]!r} with {width}x{height} pixels in {len(pixels)} "
            f"bytes, expected {expected}"
        )
    try:
        return file_of(Image.frombytes(mode, (width, height), pixels))
    except BAD_IMAGE_ERRORS as error:
        raise SampleReadError(f"a Pillow image: {describe_problem(error)}") from error


_SIMPLE: Final = {
    "int": LeafKind(_number_decoder("<q"), is_json=True),
    "float": LeafKind(_number_decoder("<d"), is_json=True),
    "bool": LeafKind(_decode_bool, is_json=True),
    "str": LeafKind(_decode_text, is_json=True),
    "text": LeafKind(_decode_text, is_json=True),
    "json": LeafKind(load_nested, is_json=True),
    "bytes": LeafKind(bytes),
    "jpeg": LeafKind(bytes, is_image=True),
    "image": LeafKind(bytes, is_image=True),
    "tifffile": LeafKind(bytes, is_image=True),
    "tiff": LeafKind(bytes, is_image=True),
    "pil": LeafKind(_decode_pil, is_image=True),
    "numpy": LeafKind(_decode_numpy),
    "tensor": LeafKind(_decode_tensor),
}
_FILES: Final = ("audio", "file", "graph", "jpeg_array", "mesh", "nifti", "pdf", "video")
