"""Compares the samples of a part with the source that they came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slipstream_cache.cache import SampleCache
from slipstream_cache.encoding import SampleEncoder
from slipstream_cache.errors import CacheError
from slipstream_cache.field_types import field_files
from slipstream_cache.layout import ImageFlag
from slipstream_cache.manifest import PartInfo
from slipstream_cache.readers import DenseReader, ImageReader, RaggedReader, make_reader
from slipstream_cache.source import Source

_CHUNK_SAMPLES: Final = 64
_NAMED_SAMPLES: Final = 8


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a cache."""

    path: Path
    """The file."""
    message: str
    """What was expected of it and what was found."""
    sample_ids: tuple[int, ...] = ()
    """The samples concerned, if they are known."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class PartComparison:
    """All samples of one part against the source.

    Parameters
    ----------
    cache : SampleCache
        The cache.
    part : PartInfo
        One of its parts.
    source : Source
        What the cache was built from.
    """

    def __init__(self, cache: SampleCache, part: PartInfo, source: Source) -> None:
        self._part, self._source, self._fields = part, source, cache.fields
        self._directory = cache.cache_dir / part.name
        self._readers = {
            name: make_reader(cache.cache_dir, name, spec, [part])
            for name, spec in cache.fields.items()
        }
        encoded = {name: spec for name, spec in cache.fields.items() if spec.kind != "image"}
        self._encoded = list(encoded)
        self._encoder = SampleEncoder(source, encoded, cache.manifest.options, None)
        self._different: dict[str, list[int]] = {}

    def steps(self) -> list[tuple[int, Callable[[], list[Problem]]]]:
        """Return the work: about so many stored bytes each, and what finds out problems."""
        first, count = self._part.first_sample, self._part.num_samples
        return [
            (
                self._part.num_bytes * min(_CHUNK_SAMPLES, count - k) // count,
                partial(self._compare, first + k, first + min(k + _CHUNK_SAMPLES, count)),
            )
            for k in range(0, count, _CHUNK_SAMPLES)
        ]

    def differences(self) -> list[Problem]:
        """Return one problem for each field that was found to differ."""
        problems = []
        for name, found in self._different.items():
            ids = tuple(sorted(found))
            path = self._directory / field_files(name, self._fields[name])[0]
            message = f"field {name!r} is not that of the source: {name_samples(ids)}"
            problems.append(Problem(path, message, ids))
        return problems

    def _compare(self, first: int, end: int) -> list[Problem]:
        """Compare samples [first, end): what cannot be read is returned, differences are kept."""
        ids = np.arange(first, end)
        try:
            stored = {name: self._stored(reader, ids) for name, reader in self._readers.items()}
        except CacheError:
            return []  # it was reported by the check of the part
        problems = []
        for k, sample_id in enumerate(ids.tolist()):
            try:
                given = self._given(sample_id)
            except (CacheError, OSError) as error:
                message = f"sample {sample_id} of the source cannot be read: {error}"
                problems.append(Problem(self._directory, message, (sample_id,)))
                continue
            for name, values in stored.items():
                if values[k] is not None and values[k] != given[name]:
                    self._different.setdefault(name, []).append(sample_id)
        return problems

    def _given(self, sample_id: int) -> dict[str, Any]:
        """The bytes that the source's values have when they are stored."""
        sample = self._source[sample_id]
        encoded = self._encoder.encode(sample_id, sample)
        values: dict[str, Any] = dict(zip(self._encoded, encoded, strict=True))
        for name in self._fields.keys() - values.keys():
            values[name] = bytes(sample[name])
        return values

    def _stored(
        self, reader: DenseReader | RaggedReader | ImageReader, ids: NDArray[np.int64]
    ) -> Sequence[bytes | None]:
        """The stored bytes; None for images that are not the bytes of the source."""
        if isinstance(reader, DenseReader):
            return [np.asarray(value).tobytes() for value in reader.load(ids)]
        if isinstance(reader, RaggedReader):
            return reader.load_bytes(ids)
        batch = reader.load(ids)
        data, offsets, sizes = batch["data"], batch["offsets"], batch["sizes"]
        flags = reader.rows(0)["flags"][ids - self._part.first_sample]
        return [
            None if flag & ImageFlag.TRANSCODED else data[offset : offset + size].tobytes()
            for offset, size, flag in zip(offsets, sizes, flags, strict=True)
        ]


def name_samples(sample_ids: Sequence[int]) -> str:
    """Return ``sample 3`` or ``samples 3, 5, 8 and 12 more``."""
    named = ", ".join(map(str, sample_ids[:_NAMED_SAMPLES]))
    more = len(sample_ids) - _NAMED_SAMPLES
    suffix = f" and {more} more" if more > 0 else ""
    return f"sample{'s' if len(sample_ids) > 1 else ''} {named}{suffix}"
