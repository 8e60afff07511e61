"""Values of MDS shards, from the bytes of each to what a field holds. Pickles stay bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
from PIL import Image

from slipstream_cache import FieldSpec, infer_field_types
from slipstream_cache.image_header import sniff_image_format
from slipstream_loader.errors import SampleReadError, SourceError
from slipstream_loader.sources.mds_index import Column
from slipstream_loader.sources.pil_files import file_of

Decode: TypeAlias = Callable[[bytes], Any]

_SCALARS: Final = {
    "int": "<i8",
    **{f"{kind}{8 * size}": f"<{kind[0]}{size}" for kind in ("int", "uint") for size in (2, 4, 8)},
    "int8": "|i1",
    "uint8": "|u1",
    **{f"float{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}
_ARRAY_TYPES: Final = {
    8: "uint8",
    9: "int8",
    16: "uint16",
    17: "int16",
    18: "float16",
    32: "uint32",
    33: "int32",
    34: "float32",
    64: "uint64",
    65: "int64",
    66: "float64",
}
_IMAGES: Final = frozenset({"jpeg", "png"})
_BYTES: Final = frozenset({"bytes", "pkl"})


def decoder_of(column: Column, where: str) -> Decode:
    """What turns the bytes of a value of a column into the value of a field.

    Raises
    ------
    SourceError
        The encoding is not known here.
    """
    encoding = column.encoding
    if encoding in _SCALARS:
        dtype = np.dtype(_SCALARS[encoding])
        is_python = encoding == "int"
        return lambda data: _scalar(data, dtype, is_python)
    if encoding in _BYTES | _IMAGES:
        return bytes
    if encoding.partition(":")[0] == "ndarray":
        return _array_decoder(encoding, f"{where}, column {column.name!r}")
    known: dict[str, Decode] = {
        "str": _text,
        "json": json.loads,
        "str_int": lambda data: int(_text(data)),
        "str_float": lambda data: float(_text(data)),
        "str_decimal": _text,
        "pil": _pillow_file,
    }
    if encoding not in known:
        raise SourceError(
            f"{where}: column {column.name!r} has the encoding {encoding!r}, which is not read "
            "here; open the data set with streaming, and give it to slipstream as "
            "SequenceSource(dataset, name='my-data-v1')"
        )
    return known[encoding]


def field_type(column: Column, first: Any) -> FieldSpec:
    """How the field of a column is stored, given its first value."""
    if column.encoding in _IMAGES or column.encoding == "pil":
        return FieldSpec("image")
    if column.encoding == "json":
        return FieldSpec("ragged", content="json")
    if column.encoding in _BYTES:
        is_image = column.encoding == "bytes" and sniff_image_format(first[:32]) is not None
        return FieldSpec("image") if is_image else FieldSpec("ragged", content="bytes")
    return infer_field_types({column.name: first})[column.name]


def decode_value(column: Column, decode: Decode, data: bytes) -> Any:
    """Decode a value.

    Raises
    ------
    SampleReadError
        It is damaged.
    """
    try:
        return decode(data)
    except (ValueError, LookupError, OverflowError, RecursionError, MemoryError) as error:
        raise SampleReadError(
            f"column {column.name!r} of encoding {column.encoding!r}: {error}"
        ) from error


def _text(data: bytes) -> str:
    return data.decode("utf-8")


def _scalar(data: bytes, dtype: np.dtype[Any], is_python: bool) -> Any:
    if len(data) != dtype.itemsize:
        raise ValueError(f"{len(data)} bytes, expected {dtype.itemsize}")
    value = np.frombuffer(data, dtype)[0]
    return int(value) if is_python else value


def _array_decoder(encoding: str, where: str) -> Decode:
    """Arrays whose dtype and shape are told by the encoding, or else by each value."""
    parts = encoding.split(":")[1:]
    try:
        dtype = np.dtype(_little(parts[0])) if parts else None
        shape = tuple(map(int, parts[1].split(","))) if len(parts) > 1 else None
    except (TypeError, ValueError) as error:
        raise SourceError(f"{where}: {encoding!r} is no encoding of MDS: {error}") from error

    def decode(data: bytes) -> np.ndarray[Any, Any]:
        position = 0
        found = dtype
        if found is None:
            found = np.dtype(_little(_ARRAY_TYPES[data[0]]))
            position = 1
        sizes = shape
        if sizes is None:
            num_axes, width = data[position] >> 2, 1 << (data[position] & 3)
            begin = position + 1
            position = begin + num_axes * width
            axes = np.frombuffer(data[begin:position], f"<u{width}")
            if axes.size != num_axes:
                raise ValueError("the shape is cut off")
            sizes = tuple(axes.tolist())
        values = data[position:]
        if len(values) != math.prod(sizes) * found.itemsize:
            raise ValueError(f"{len(values)} bytes for an array of {found} and shape {sizes}")
        return np.frombuffer(values, found).reshape(sizes)

    return decode


def _little(name: str) -> str:
    if name not in _ARRAY_TYPES.values():
        raise ValueError(f"unknown dtype {name!r}")
    return str(np.dtype(name).newbyteorder("<").str)


def _pillow_file(data: bytes) -> bytes:
    """An image as width, height, mode and pixels; returned as a file without loss."""
    width, height, mode_bytes = (int(n) for n in np.frombuffer(data[:12], "<u4"))
    mode = data[12 : 12 + mode_bytes].decode("ascii")
    if mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F", "I;16"):
        raise ValueError(f"an image of mode {mode[:20]!r}")
    pixels = data[12 + mode_bytes :]
    bits = {"1": 1, "I": 32, "F": 32, "I;16": 16}.get(mode, 8 * Image.getmodebands(mode))
    if len(pixels) != height * -(-width * bits // 8) or not pixels:
        raise ValueError(f"{len(pixels)} bytes for {height} x {width} pixels of mode {mode}")
    return file_of(Image.frombytes(mode, (width, height), pixels))
