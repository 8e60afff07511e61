"""Caches as FFCV's ``.beton`` files, version 2."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from slipstream_cache import Codec, FieldSpec, SampleReader
from slipstream_loader.errors import ExportError
from slipstream_loader.exports.samples import ExportedImage, ExportedSamples
from slipstream_loader.exports.whole_file import whole_file
from slipstream_loader.sample_runs import runs_of
from slipstream_loader.sources.beton_layout import (
    ALLOCATION,
    ARRAY_ARGUMENTS,
    FIELD,
    HEADER,
    JPEG_MODE,
    RAW_MODE,
    TYPE_IDS,
    VERSION,
    BetonKind,
    row_type,
)

_NAME_BYTES: Final = 16
_PAGE_BYTES: Final = 8 << 20
"""FFCV's own default."""
_MAX_PAGE_BYTES: Final = 1 << 31
_MAX_SIDE: Final = 65_535
_TYPE_OF_KIND: Final = {kind: number for number, kind in reversed(TYPE_IDS.items())}


def export_beton(
    cache: SampleReader | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    fields: Sequence[str] | None = None,
    verbose: bool = True,
) -> Path:
    """Write a file that FFCV reads.

    JPEG images keep their bytes; others are stored as pixels. Integers become ``IntField``,
    floating-point numbers ``FloatField``, arrays ``NDArrayField``, bytes ``BytesField``, text and
    JSON values ``JSONField``.

    Parameters
    ----------
    cache : SampleCache, view or path
    path : path
        The new file; it appears when it is complete.
    fields : sequence of str, optional
        The fields to write, in the cache's order; default: all.
    verbose : bool
        Whether progress is shown (on a terminal or in a notebook only).

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ExportError
        The file exists; a name is longer than 16 ASCII characters; a field, an image or a payload
        is one that the format does not hold; an image is unreadable.
    """
    samples = ExportedSamples(cache, fields, verbose=verbose)
    kinds = {name: _kind_of(name, spec) for name, spec in samples.fields.items()}
    target = Path(path).expanduser().absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as file:
        _Writer(file, samples, kinds).write()
    return target


class _Writer:
    """Writes one file from its beginning to its end; the tables' places are filled in last."""

    def __init__(
        self, file: BinaryIO, samples: ExportedSamples, kinds: dict[str, BetonKind]
    ) -> None:
        self._file, self._samples, self._kinds = file, samples, kinds
        self._rows = np.zeros(len(samples), row_type(kinds.values()))
        num_payloads = sum(kind not in ("int", "float") for kind in kinds.values())
        self._allocations = np.zeros(len(samples) * num_payloads, ALLOCATION)
        self._num_allocations = 0
        self._page_bytes = _page_bytes(samples)
        self._metadata_start = HEADER.itemsize + len(kinds) * FIELD.itemsize
        first = self._metadata_start + self._rows.nbytes
        self._position = self._page_end = -(-first // self._page_bytes) * self._page_bytes

    def write(self) -> None:
        """Write everything."""
        for sample_id, sample in enumerate(self._samples):
            payloads = {}
            for number, (name, kind) in enumerate(self._kinds.items()):
                try:
                    value = _encoded(kind, sample[name])
                except (ValueError, OverflowError) as error:
                    raise ExportError(f"field {name!r} of sample {sample_id}: {error}") from error
                if kind in ("int", "float"):
                    self._rows[f"f{number}"][sample_id] = value
                else:
                    payloads[number] = value
                    self._describe(number, kind, sample_id, sample[name], len(value))
            self._place(sample_id, payloads)
        self._file.seek(0, os.SEEK_END)
        end = self._page_end
        self._file.truncate(end)
        self._file.seek(end)
        self._file.write(self._allocations[: self._num_allocations].tobytes())
        self._file.seek(0)
        self._file.write(self._header(end) + self._fields() + self._rows.tobytes())

    def _describe(
        self, number: int, kind: BetonKind, sample_id: int, value: Any, num_bytes: int
    ) -> None:
        """All of a payload's metadata but its place."""
        row = self._rows[f"f{number}"]
        if kind in ("bytes", "json"):
            row["size"][sample_id] = num_bytes
        elif kind == "rgb":
            row["mode"][sample_id] = JPEG_MODE if value.is_jpeg else RAW_MODE
            row["height"][sample_id], row["width"][sample_id] = value.height, value.width

    def _place(self, sample_id: int, payloads: dict[int, bytes]) -> None:
        """Write the payloads of a sample into one page, if they fit, else into several."""
        needed = sum(max(1, len(data)) for data in payloads.values())
        if self._position + needed > self._page_end and needed <= self._page_bytes:
            self._turn_page()
        for number, data in payloads.items():
            if len(data) > self._page_bytes:
                raise ExportError(
                    f"sample {sample_id} has a value of {len(data)} bytes; the pages of this file "
                    f"have {self._page_bytes}"
                )
            if self._position + len(data) > self._page_end:
                self._turn_page()
            self._file.seek(self._position)
            self._file.write(data)
            row = self._rows[f"f{number}"]
            (row if row.dtype.names is None else row["ptr"])[sample_id] = self._position
            entry = (sample_id, self._position, len(data))
            self._allocations[self._num_allocations] = entry
            self._num_allocations += 1
            self._position += max(1, len(data))  # FFCV finds payloads by places: no two at one

    def _turn_page(self) -> None:
        self._position = self._page_end
        self._page_end += self._page_bytes

    def _header(self, table_ptr: int) -> bytes:
        header = np.zeros(1, HEADER)
        header[0] = (VERSION, len(self._kinds), self._page_bytes, len(self._samples), table_ptr)
        return header.tobytes()

    def _fields(self) -> bytes:
        described = np.zeros(len(self._kinds), FIELD)
        for entry, (name, kind) in zip(described, self._kinds.items(), strict=True):
            entry["type_id"], entry["name"] = _TYPE_OF_KIND[kind], name.encode("ascii")
            if kind == "ndarray":
                entry["arguments"] = _array_arguments(self._samples.fields[name])
        return described.tobytes()


def _kind_of(name: str, spec: FieldSpec) -> BetonKind:
    if not name.isascii() or len(name) > _NAME_BYTES:
        raise ExportError(
            f"field {name!r}: names in a .beton file have at most {_NAME_BYTES} ASCII characters; "
            "leave the field out with fields=, or rename it with select(cache, rename=...) and "
            "build again"
        )
    if spec.kind == "image":
        return "rgb"
    if spec.kind == "ragged":
        return "bytes" if spec.content == "bytes" else "json"
    dtype = np.dtype(spec.dtype)
    if not spec.shape and dtype.kind in "biu":
        return "int"
    if not spec.shape and dtype.kind == "f":
        return "float"
    if spec.shape and not all(spec.shape):
        raise ExportError(f"field {name!r}: arrays of shape {spec.shape} have no place in FFCV")
    return "ndarray"


def _encoded(kind: BetonKind, value: Any) -> Any:
    """A number, or the bytes of a payload."""
    if kind == "int":
        return np.int64(int(value))
    if kind == "float":
        return float(value)
    if kind == "bytes":
        return value
    if kind == "json":
        return json.dumps(value).encode() + b"\0"
    if kind == "rgb":
        return _image(value)
    return np.ascontiguousarray(value).tobytes()


def _image(image: ExportedImage) -> bytes:
    if image.codec is Codec.UNKNOWN or not 0 < max(image.height, image.width) <= _MAX_SIDE:
        raise ValueError(
            f"an image of {image.height} x {image.width} pixels, codec {image.codec.name}; FFCV "
            f"holds JPEG files and pixels, with sides up to {_MAX_SIDE}"
        )
    data = image.payload if image.is_jpeg else image.pixels()
    if len(data) > _MAX_PAGE_BYTES:
        raise ValueError(f"an image of {len(data)} bytes; FFCV holds up to {_MAX_PAGE_BYTES}")
    return data


def _array_arguments(spec: FieldSpec) -> bytes:
    header = np.zeros(1, ARRAY_ARGUMENTS)
    shape = spec.shape or (1,)
    header["shape"][0][: len(shape)] = shape
    code = json.dumps(np.dtype(spec.dtype).descr).encode("ascii")
    header["type_length"] = len(code)
    return header.tobytes() + code


def _page_bytes(samples: ExportedSamples) -> int:
    """A power of two that holds the largest payload."""
    largest = _PAGE_BYTES
    for name, spec in samples.fields.items():
        if spec.kind == "dense":
            largest = max(largest, int(np.prod(spec.shape, dtype=np.int64)) * 16)
        if spec.kind != "image":
            continue
        for ids in runs_of(len(samples)):
            rows = samples.cache.payloads(name, ids)
            pixels = 3 * rows.heights.astype(np.int64) * rows.widths
            sizes = np.where(rows.codecs == Codec.JPEG, rows.sizes, pixels)
            largest = max(largest, int(sizes.max()))
    return min(_MAX_PAGE_BYTES, 1 << (largest - 1).bit_length())
