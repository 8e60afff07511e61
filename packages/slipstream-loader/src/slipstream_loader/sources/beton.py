"""FFCV's ``.beton`` files, local or in an object store, read without FFCV."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from slipstream_cache import FieldNameError, FieldSpec
from slipstream_cache.field_types import validate_fields
from slipstream_cache.image_header import sniff_image_format
from slipstream_loader.errors import EmptyDatasetError, SampleReadError, SourceError
from slipstream_loader.sources.beton_layout import (
    JPEG_MODE,
    RAW_MODE,
    BetonField,
    BetonKind,
    read_tables,
)
from slipstream_loader.sources.neighbouring_reads import NeighbouringReads
from slipstream_loader.sources.stored_file import open_stored_file

BETON_EXTENSIONS: Final = (".beton", ".ffcv")
"""Endings of names that are taken for files of FFCV."""

_RECIPE: Final = "beton 1"
_SAMPLED_PAYLOADS: Final = 16
_SAMPLED_BYTES: Final = 1 << 16


def is_beton(location: str) -> bool:
    """Tell by the name of a path or URL whether it is a file of FFCV."""
    return location.split("?")[0].lower().endswith(BETON_EXTENSIONS)


class BetonSource:
    """The samples of a file that FFCV (or FFCV-SSL) has written.

    JPEG images are the bytes of the file; images that are stored as pixels come as PPM files, which
    hold the same pixels. Bytes that begin like an image file are images too.

    Parameters
    ----------
    location : str or path
        The file: a path, or a URL ``s3://``, ``http://``, ``https://``.
    custom_fields : mapping of str to {"rgb", "bytes", "json", "int", "float"}, optional
        Fields of types that FFCV does not know, and the type that they are laid out like. Those
        that are not named are told from the file, if they are images or bytes.
    storage_options : mapping, optional
        Of an ``s3://`` URL; see ``open_object_store``.

    Raises
    ------
    SourceError
        When it is no such file, of another version, cut off, unfinished or damaged;
        `EmptyDatasetError` when it has no samples.
    RemoteError
        When the server fails.

    Notes
    -----
    The tables are read here, about 50 bytes a sample, and stay in memory. Samples are read from
    several threads. Source: ``beton_layout``.
    """

    kind: Final = "beton"

    def __init__(
        self,
        location: str | os.PathLike[str],
        *,
        custom_fields: Mapping[str, BetonKind] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        file = open_stored_file(location, storage_options)
        self._file = NeighbouringReads(file) if file.is_remote else file
        self._custom_fields = dict(custom_fields or {})
        self._tables = read_tables(file, self._custom_fields)
        if not len(self):
            raise EmptyDatasetError(f"{self.uri} has no samples")
        self._field_types = {
            field.name: self._field_type(number, field)
            for number, field in enumerate(self._tables.fields)
        }
        try:
            validate_fields(self._field_types)
        except FieldNameError as error:
            raise SourceError(f"{self.uri}: {error}") from error
        self._fingerprint: str | None = None

    @property
    def uri(self) -> str:
        """Path or URL of the file, without credentials."""
        return self._file.uri

    @property
    def field_types(self) -> Mapping[str, FieldSpec]:
        """The fields of every sample."""
        return dict(self._field_types)

    def __len__(self) -> int:
        return len(self._tables)

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of the {len(self)} in {self.uri}")
        try:
            return {
                field.name: self._value(number, field, index)
                for number, field in enumerate(self._tables.fields)
            }
        except SampleReadError as error:
            raise SampleReadError(f"{self.describe(index)}: {error}") from error

    def fingerprint(self) -> str:
        """Hash of all tables and of some payloads: 64 hexadecimal characters."""
        if self._fingerprint is None:
            digest = hashlib.sha256(f"{_RECIPE}\0".encode())
            digest.update(self._tables.digest)
            if self._custom_fields:
                digest.update(json.dumps(self._custom_fields, sort_keys=True).encode())
            for start, stop in self._sampled_ranges():
                digest.update(self._file.read(start, min(stop, start + _SAMPLED_BYTES)))
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def describe(self, index: int, /) -> str:
        """Return file name and number of a sample."""
        return f"{self.uri.rpartition('/')[2]}[{index}]"

    def close(self) -> None:
        """Forget what was read ahead; reading begins anew."""
        if isinstance(self._file, NeighbouringReads):
            self._file.close()

    def __repr__(self) -> str:
        return f"BetonSource({self.uri!r}: {len(self)} samples of {list(self._field_types)})"

    def _sampled_ranges(self) -> list[tuple[int, int]]:
        """Payloads that take part in the fingerprint: raw images of one size have equal tables."""
        fields = [n for n, field in enumerate(self._tables.fields) if field.has_payload]
        places = np.linspace(0, len(self) - 1, _SAMPLED_PAYLOADS, dtype=np.int64)
        ranges = []
        for sample_id in dict.fromkeys(places.tolist()):
            for number in fields:
                try:
                    ranges.append(self._tables.payload_range(number, sample_id))
                except SampleReadError:
                    continue  # the tables, which are hashed, tell the same
        return ranges

    def _field_type(self, number: int, field: BetonField) -> FieldSpec:
        if field.kind in ("float", "int"):
            return FieldSpec("dense", dtype="<f8" if field.kind == "float" else "<i8")
        if field.dtype is not None:
            return FieldSpec("dense", dtype=field.dtype.newbyteorder("<").str, shape=field.shape)
        if field.kind == "json":
            return FieldSpec("ragged", content="json")
        if field.kind == "bytes" and not self._begins_like_an_image(number):
            return FieldSpec("ragged", content="bytes")
        return FieldSpec("image")

    def _begins_like_an_image(self, number: int) -> bool:
        try:
            start, stop = self._tables.payload_range(number, 0)
        except SampleReadError:
            return False
        return sniff_image_format(self._file.read(start, min(stop, start + 32))) is not None

    def _value(self, number: int, field: BetonField, index: int) -> Any:
        value = self._tables.rows[f"f{number}"][index]
        if field.kind == "float":
            return float(value)
        if field.kind == "int":
            return int(value)
        data = self._file.read(*self._tables.payload_range(number, index))
        if field.kind == "rgb":
            return _image_file(field.name, data, value)
        if field.dtype is not None:
            return _array(field.name, field.dtype, field.shape, data)
        if field.kind == "json":
            return _json_value(field.name, data)
        return data


def _image_file(name: str, data: bytes, row: Any) -> bytes:
    mode, width, height = int(row["mode"]), int(row["width"]), int(row["height"])
    if mode == JPEG_MODE:
        return data
    if mode != RAW_MODE:
        raise SampleReadError(f"field {name!r} is an image of mode {mode}, which FFCV has not")
    if len(data) != 3 * width * height or not data:
        raise SampleReadError(
            f"field {name!r} is an image of {height} x {width} pixels in {len(data)} bytes, "
            f"expected {3 * width * height}"
        )
    return b"P6\n%d %d\n255\n" % (width, height) + data


def _array(
    name: str, dtype: np.dtype[Any], shape: tuple[int, ...], data: bytes
) -> np.ndarray[Any, Any]:
    expected = dtype.itemsize * math.prod(shape)
    if len(data) != expected:
        raise SampleReadError(
            f"field {name!r} has {len(data)} bytes, expected {expected} of {dtype} and shape "
            f"{shape}"
        )
    array = np.frombuffer(data, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("<"), copy=False)


def _json_value(name: str, data: bytes) -> Any:
    try:
        return json.loads(data.partition(b"\0")[0])
    except (ValueError, RecursionError) as error:
        raise SampleReadError(f"field {name!r} is no JSON: {error}") from error
