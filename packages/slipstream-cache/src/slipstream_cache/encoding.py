"""From a sample's values to the bytes that are stored: one encoder for each field.

Encoders are pure functions of the value, so any number of threads may call them, and what is
written does not depend on how many do.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import xxhash
from numpy.typing import NDArray

from slipstream_cache.errors import FieldTypeError, UnsupportedImageError
from slipstream_cache.image_intake import take_image
from slipstream_cache.source import FieldSpec, Source, StorageOptions, StoredImage, Transcode

TEXT_ERRORS: Final = "surrogatepass"
"""Any Python string survives, also a file name that is not valid UTF-8."""


class EncodedImage(NamedTuple):
    """An image ready to be written."""

    image: StoredImage
    checksum: int
    """xxh3_64 of the payload."""


@dataclass(frozen=True)
class EncodedImages:
    """Images of one field ready to be written, as columns."""

    payloads: list[bytes]
    rows: NDArray[np.void]
    """``IMAGE_SAMPLE_DTYPE``, shape (len(payloads),): all but ``offset`` is right."""

    @classmethod
    def of(cls, payloads: list[bytes], rows: NDArray[np.void]) -> EncodedImages:
        """With the checksums of the payloads; nothing is copied but the rows."""
        summed = rows.copy()
        summed["checksum"] = [xxhash.xxh3_64_intdigest(payload) for payload in payloads]
        return cls(payloads, summed)

    def __len__(self) -> int:
        return len(self.payloads)


Encoded: TypeAlias = "bytes | EncodedImage"
_Encode: TypeAlias = Callable[[Any], Encoded]


class SampleEncoder:
    """Encodes all stored fields of a sample.

    Parameters
    ----------
    source : Source
        Gives the samples and names them in messages.
    fields : Mapping of str to FieldSpec
        The fields to store, checked by ``validate_fields``.
    options, transcode
        For the images.
    """

    def __init__(
        self,
        source: Source,
        fields: Mapping[str, FieldSpec],
        options: StorageOptions,
        transcode: Transcode | None,
    ) -> None:
        self._source = source
        self._declared = frozenset(source.field_types)
        self._encoders = {name: _encoder(spec, options, transcode) for name, spec in fields.items()}

    def encode(self, sample_id: int, sample: Mapping[str, Any]) -> list[Encoded]:
        """Return the stored form of each field, in the fields' order.

        Raises
        ------
        FieldTypeError
            A field is missing, not declared, or has a value that it cannot hold.
        UnsupportedImageError
            An image needs a transcode and there is none.
        """
        if not sample.keys() <= self._declared:
            extra = sorted(map(str, sample.keys() - self._declared))
            raise FieldTypeError(
                f"{self._name(sample_id)} has fields {extra} that the source does not declare; "
                f"expected {sorted(self._declared)}"
            )
        encoded = []
        for name, encode in self._encoders.items():
            if name not in sample:
                raise FieldTypeError(f"{self._name(sample_id)} has no field {name!r}")
            try:
                encoded.append(encode(sample[name]))
            except (TypeError, ValueError, OverflowError) as error:
                where = f"field {name!r} of {self._name(sample_id)}: {error}"
                if isinstance(error, UnsupportedImageError):
                    raise UnsupportedImageError(where, [sample_id]) from error
                raise FieldTypeError(where) from error
        return encoded

    def _name(self, sample_id: int) -> str:
        return f"sample {sample_id} ({self._source.describe(sample_id)})"


def _encoder(spec: FieldSpec, options: StorageOptions, transcode: Transcode | None) -> _Encode:
    if spec.kind == "dense":
        return _dense_encoder(np.dtype(spec.dtype), spec.shape)
    if spec.kind == "image":
        return lambda value: _encode_image(_as_bytes(value), options, transcode)
    return {"bytes": _as_bytes, "str": _encode_text, "json": _encode_json}[str(spec.content)]


def _dense_encoder(dtype: np.dtype[Any], shape: tuple[int, ...]) -> _Encode:
    def encode(value: Any) -> bytes:
        kind = type(value)
        if kind is int and dtype.kind in "iu" and not shape:
            return int(value).to_bytes(dtype.itemsize, "little", signed=dtype.kind == "i")
        if kind is float and dtype.kind == "f" and not shape:
            return _encode_float(value, dtype)
        if kind is bool and dtype.kind == "b" and not shape:
            return b"\1" if value else b"\0"
        array = _as_array(value, dtype, shape)
        return array.astype(dtype, copy=False).tobytes()

    return encode


def _encode_float(value: float, dtype: np.dtype[Any]) -> bytes:
    if dtype.itemsize == 8:
        return struct.pack("<d", value)
    with np.errstate(over="ignore"):
        stored = np.asarray(value).astype(dtype)
    if float(stored) != value and value == value:
        raise ValueError(
            f"expected a number that {dtype.str} holds exactly, got {value!r}; "
            "give a NumPy scalar of that dtype, or declare '<f8'"
        )
    return stored.tobytes()


def _as_array(value: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The value as an array, if it has the field's dtype (in any byte order) and shape."""
    expected = f"{dtype.str} of shape {shape}"
    if not hasattr(value, "__array__"):
        raise TypeError(f"expected {expected}, got {type(value).__name__} {_shortened(value)}")
    array = np.asarray(value)
    if array.dtype.newbyteorder("<") != dtype or array.shape != shape:
        advice = ""
        if array.shape != shape:
            advice = "; arrays of several shapes are stored as lists: give array.tolist()"
        found = f"{array.dtype.str} of shape {array.shape}"
        raise TypeError(f"expected {expected}, got {found}{advice}")
    return array


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    raise TypeError(f"expected bytes, got {type(value).__name__} {_shortened(value)}")


def _encode_text(value: Any) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"expected str, got {type(value).__name__} {_shortened(value)}")
    return value.encode("utf-8", TEXT_ERRORS)


def _encode_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", TEXT_ERRORS)


def _encode_image(
    data: bytes, options: StorageOptions, transcode: Transcode | None
) -> EncodedImage:
    image = take_image(data, options, transcode)
    return EncodedImage(image, xxhash.xxh3_64_intdigest(image.payload))
