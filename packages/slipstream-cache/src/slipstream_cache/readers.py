"""Reads one field of a cache: maps its part files when they are first needed.

The kernels see a table with the addresses of each part (``_kernels.gather``); 0 marks a part that
is not mapped yet. A table is never written again once a kernel may see it: mapping a part puts
another one in its place.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slipstream_cache._kernels.gather import (
    copy_payloads,
    gather_rows,
    locate_images,
    locate_ragged,
    part_of,
)
from slipstream_cache.buffers import new_array
from slipstream_cache.encoding import TEXT_ERRORS
from slipstream_cache.errors import CorruptCacheError
from slipstream_cache.field_types import field_files
from slipstream_cache.layout import IMAGE_SAMPLE_DTYPE, PAYLOAD_PADDING_BYTES
from slipstream_cache.manifest import PartInfo
from slipstream_cache.maps import FileMap, NpyMap
from slipstream_cache.payloads import Blobs, Payloads
from slipstream_cache.source import FieldSpec

_Ids: TypeAlias = NDArray[np.int64]


class _Reader:
    """Common part: the tables of addresses, and running a kernel that may miss a part."""

    def __init__(
        self,
        cache_dir: Path,
        name: str,
        spec: FieldSpec,
        parts: Sequence[PartInfo],
        after_mapping: Callable[[], None],
    ) -> None:
        self._after_mapping = after_mapping
        self._cache_dir, self._name, self._spec, self._parts = cache_dir, name, spec, parts
        self._files = field_files(name, spec)
        self._lock = threading.Lock()
        self._maps: dict[int, tuple[NpyMap, FileMap | None]] = {}
        first = parts[0].first_sample if parts else 0
        ends = [part.first_sample + part.num_samples for part in parts]
        self._starts = np.array([first, *ends], dtype=np.int64)
        self._table = np.zeros((3, len(parts)), np.int64)

    def map_all(self) -> None:
        """Map the files of all parts."""
        for number in range(len(self._parts)):
            self._ensure_mapped(number)

    def _map_part(self, part: PartInfo) -> tuple[NpyMap, FileMap | None, int]:
        """Map the files of a part: its rows, its payloads, and the bytes of the payloads."""
        raise NotImplementedError

    def _ensure_mapped(self, number: int) -> NpyMap:
        """Map a part if it is not, and return its rows."""
        with self._lock:
            if number not in self._maps:
                rows, payloads, limit = self._map_part(self._parts[number])
                self._after_mapping()
                self._maps[number] = rows, payloads
                table = self._table.copy()
                table[:, number] = rows.address, payloads.address if payloads else 0, limit
                self._table = table
            return self._maps[number][0]

    def _run(self, kernel: Callable[..., int], ids: _Ids, *outputs: Any) -> None:
        """Call a kernel until it has done all ids, and map the parts that it misses."""
        position = 0
        while True:
            position = kernel(ids, self._starts, self._table, position, *outputs)
            if position == len(ids):
                return
            if position < 0:
                raise self._inconsistent(int(ids[-1 - position]))
            self._ensure_mapped(part_of(ids[position], self._starts))

    def _inconsistent(self, sample_id: int) -> CorruptCacheError:
        part = self._parts[part_of(sample_id, self._starts)]
        path = self._cache_dir / part.name / self._files[-1]
        return CorruptCacheError(
            f"{path}: the row of sample {sample_id} points outside {self._files[0]} "
            f"({part.files[self._files[0]].bytes} bytes); run `slipstream verify`"
        )

    def _map_file(self, part: PartInfo, file: str) -> FileMap:
        return FileMap(self._cache_dir / part.name / file, part.files[file])

    def _map_npy(
        self, part: PartInfo, file: str, dtype: np.dtype[Any], shape: tuple[int, ...]
    ) -> NpyMap:
        return NpyMap(self._cache_dir / part.name / file, part.files[file], dtype, shape)


class DenseReader(_Reader):
    """Values of one dtype and shape."""

    def load(self, ids: _Ids) -> NDArray[Any]:
        """Return a new array of shape (B, *shape)."""
        dtype = np.dtype(self._spec.dtype)
        out = new_array((len(ids), *self._spec.shape), dtype)
        if out.size:
            row_bytes = out.nbytes // len(ids)
            self._run(gather_rows, ids, row_bytes, out.ctypes.data)
        return out

    def _map_part(self, part: PartInfo) -> tuple[NpyMap, None, int]:
        shape = (part.num_samples, *self._spec.shape)
        return self._map_npy(part, self._files[0], np.dtype(self._spec.dtype), shape), None, 0


class RaggedReader(_Reader):
    """``bytes``, ``str`` or JSON values."""

    def locate(self, ids: _Ids) -> Blobs:
        """Return where the values are; nothing is copied."""
        addresses, sizes = np.empty(len(ids), np.int64), np.empty(len(ids), np.int64)
        self._run(locate_ragged, ids, addresses, sizes)
        return Blobs(addresses, sizes, owner=self)

    def load_bytes(self, ids: _Ids) -> list[bytes]:
        """Return the values as they are stored."""
        return [bytes(value) for value in self._views(ids)]

    def load(self, ids: _Ids) -> list[Any]:
        """Return the values, one new object each."""
        if self._spec.content == "bytes":
            return self.load_bytes(ids)
        values = self._views(ids)
        try:
            texts = [str(value, "utf-8", TEXT_ERRORS) for value in values]
            return [json.loads(t) for t in texts] if self._spec.content == "json" else texts
        except ValueError as error:
            raise CorruptCacheError(
                f"field {self._name!r} of {self._cache_dir} has a value that is not valid "
                f"{self._spec.content} ({error}); run `slipstream verify`"
            ) from error

    def _views(self, ids: _Ids) -> list[memoryview]:
        blobs = self.locate(ids)
        data, offsets = _gather(blobs.addresses, blobs.sizes)
        view, ends = data.data, (offsets + blobs.sizes).tolist()
        return [view[a:b] for a, b in zip(offsets.tolist(), ends, strict=True)]

    def _map_part(self, part: PartInfo) -> tuple[NpyMap, FileMap, int]:
        payloads = self._map_file(part, self._files[0])
        rows = self._map_npy(part, self._files[1], np.dtype("<u8"), (part.num_samples + 1,))
        return rows, payloads, payloads.num_bytes


class ImageReader(_Reader):
    """Encoded images."""

    def locate(self, ids: _Ids) -> Payloads:
        """Return where the images are; nothing is copied."""
        count = len(ids)
        addresses, sizes = np.empty(count, np.int64), np.empty(count, np.int64)
        heights, widths = np.empty(count, np.int32), np.empty(count, np.int32)
        marks, checksums = np.empty((3, count), np.uint8), np.empty(count, np.int64)
        self._run(locate_images, ids, addresses, sizes, heights, widths, marks, checksums)
        codecs, orientations, conditions = marks
        return Payloads(
            addresses,
            sizes,
            heights,
            widths,
            codecs,
            orientations,
            conditions,
            checksums.view(np.uint64),
            owner=self,
        )

    def load(self, ids: _Ids) -> dict[str, NDArray[Any]]:
        """Return the payloads one after another, with their offsets, sizes and headers."""
        return load_images(self.locate(ids))

    def rows(self, number: int) -> NDArray[Any]:
        """Return the rows of a part (``IMAGE_SAMPLE_DTYPE``), mapped and read-only."""
        return self._ensure_mapped(number).array()

    def conditions(self) -> NDArray[np.uint8]:
        """Return the condition of all samples; only parts with bad images are read."""
        found = np.zeros(int(self._starts[-1]), np.uint8)
        for number, part in enumerate(self._parts):
            counts = part.images[self._name]
            if counts.damaged or counts.unreadable:
                rows = self.rows(number)
                found[self._starts[number] : self._starts[number + 1]] = rows["condition"]
        return found

    def _map_part(self, part: PartInfo) -> tuple[NpyMap, FileMap, int]:
        payloads = self._map_file(part, self._files[0])
        rows = self._map_npy(part, self._files[1], IMAGE_SAMPLE_DTYPE, (part.num_samples,))
        if payloads.num_bytes < PAYLOAD_PADDING_BYTES:
            raise CorruptCacheError(
                f"{payloads.path} has no padding of {PAYLOAD_PADDING_BYTES} bytes at its end"
            )
        return rows, payloads, payloads.num_bytes - PAYLOAD_PADDING_BYTES


def make_reader(
    cache_dir: Path,
    name: str,
    spec: FieldSpec,
    parts: Sequence[PartInfo],
    after_mapping: Callable[[], None] = lambda: None,
) -> DenseReader | RaggedReader | ImageReader:
    """Return the reader of a field's kind; ``after_mapping`` may refuse the files of a part."""
    kinds = {"dense": DenseReader, "ragged": RaggedReader, "image": ImageReader}
    return kinds[spec.kind](  # type: ignore[return-value]
        cache_dir, name, spec, parts, after_mapping
    )


def load_images(payloads: Payloads) -> dict[str, NDArray[Any]]:
    """Copy payloads one after another; returns what ``load_batch`` does for an image field."""
    data, offsets = _gather(payloads.addresses, payloads.sizes)
    return {
        "data": data,
        "offsets": offsets,
        "sizes": payloads.sizes,
        "heights": payloads.heights,
        "widths": payloads.widths,
        "codecs": payloads.codecs,
        "orientations": payloads.orientations,
    }


def _gather(addresses: _Ids, sizes: _Ids) -> tuple[NDArray[np.uint8], _Ids]:
    """Payloads one after another in a new buffer (readable past its end), and their offsets."""
    ends = np.cumsum(sizes)
    offsets = ends - sizes
    total = int(ends[-1]) if len(ends) else 0
    buffer = new_array((total + PAYLOAD_PADDING_BYTES,), np.dtype(np.uint8))
    buffer[total:] = 0
    copy_payloads(addresses, sizes, buffer.ctypes.data, offsets, 0, len(sizes))
    return buffer[:total], offsets
