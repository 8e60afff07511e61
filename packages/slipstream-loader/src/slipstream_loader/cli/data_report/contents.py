"""What a report tells of the values in a cache, gathered in one pass over it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from slipstream_cache import FieldSpec, SampleCache
from slipstream_loader.sample_runs import runs_of

_MAX_VALUES: Final = 20_000
"""Distinct values that are counted; a field with more is no label."""
_BINS_PER_OCTAVE: Final = 8
_OCTAVES: Final = range(-16, 48)


@dataclass
class Histogram:
    """Counts of positive numbers in bins of equal ratio."""

    counts: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(_BINS_PER_OCTAVE * len(_OCTAVES), np.int64)
    )
    lowest: float = np.inf
    highest: float = -np.inf
    total: float = 0.0

    def add(self, values: NDArray[Any]) -> None:
        """Count some values; those that are not positive are left out."""
        values = values[values > 0].astype(np.float64)
        if not values.size:
            return
        places = np.floor(_BINS_PER_OCTAVE * (np.log2(values) - _OCTAVES.start)).astype(np.int64)
        places = np.clip(places, 0, self.counts.size - 1)
        self.counts += np.bincount(places, minlength=self.counts.size)
        self.lowest = min(self.lowest, float(values.min()))
        self.highest = max(self.highest, float(values.max()))
        self.total += float(values.sum())

    @property
    def num_values(self) -> int:
        """Values that were counted."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """Of all values; 0 without any."""
        return self.total / max(1, self.num_values)

    def occupied(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Edges and counts of the bins from the first to the last that holds a value."""
        held = np.flatnonzero(self.counts)
        if not held.size:
            return np.zeros(1), np.zeros(0, np.int64)
        begin, end = int(held[0]), int(held[-1]) + 1
        edges = 2.0 ** (np.arange(begin, end + 1) / _BINS_PER_OCTAVE + _OCTAVES.start)
        return edges, self.counts[begin:end]


@dataclass
class ImageContents:
    """Sizes of the images of a field."""

    widths: Histogram = field(default_factory=Histogram)
    heights: Histogram = field(default_factory=Histogram)
    num_bytes: Histogram = field(default_factory=Histogram)
    bits_per_pixel: Histogram = field(default_factory=Histogram)


@dataclass
class ValueCounts:
    """How often each value of a field occurs, and where first."""

    counts: Counter[Any] = field(default_factory=Counter)
    first: dict[Any, int] = field(default_factory=dict)
    """Value -> the first sample that has it."""
    is_complete: bool = True
    """False if there are too many different values; they are not counted then."""

    def add(self, values: Any, ids: NDArray[np.int64]) -> None:
        """Count the values of some samples."""
        if not self.is_complete:
            return
        if isinstance(values, np.ndarray):
            found, places, numbers = np.unique(values, return_index=True, return_counts=True)
            self.counts.update(dict(zip(found.tolist(), numbers.tolist(), strict=True)))
            rows = zip(found.tolist(), places.tolist(), strict=True)
        else:
            self.counts.update(values)
            rows = zip(values, range(len(values)), strict=True)
        for value, place in rows:
            if value not in self.first:
                self.first[value] = int(ids[place])
        if len(self.counts) > _MAX_VALUES:
            self.is_complete = False
            self.counts.clear()
            self.first.clear()


@dataclass
class Contents:
    """What was found in a cache."""

    images: dict[str, ImageContents]
    values: dict[str, ValueCounts]
    """Of the fields with integers, truth values or texts."""


def read_contents(cache: SampleCache) -> Contents:
    """Read all fields whose values can be counted; of images the headers only.

    Raises
    ------
    CorruptCacheError
        A file of the cache cannot be read.
    """
    images = {name: ImageContents() for name in cache.image_fields}
    values = {name: ValueCounts() for name, spec in cache.fields.items() if _is_countable(spec)}
    for ids in runs_of(len(cache)):
        for name, image in images.items():
            payloads = cache.payloads(name, ids)
            pixels = payloads.heights.astype(np.int64) * payloads.widths
            image.widths.add(payloads.widths)
            image.heights.add(payloads.heights)
            image.num_bytes.add(payloads.sizes)
            image.bits_per_pixel.add(8 * payloads.sizes / np.maximum(pixels, 1))
        counted = [name for name, found in values.items() if found.is_complete]
        for name, batch in cache.load_batch(ids, counted).items() if counted else ():
            values[name].add(batch, ids)
    return Contents(images, values)


def class_names(cache: SampleCache, counted: ValueCounts) -> dict[Any, str]:
    """Values as people know them: numbers with the folder of their files, where that is one each.

    Parameters
    ----------
    cache : SampleCache
        Whose field ``path``, if it has one, tells where each sample was.
    counted : ValueCounts
    """
    plain = {value: str(value) for value in counted.counts}
    spec = cache.fields.get("path")
    if spec is None or spec.content != "str" or any(isinstance(v, str) for v in plain):
        return plain
    ids = np.array([counted.first[value] for value in plain], np.int64)
    folders = [path.rpartition("/")[0] for path in cache.load_batch(ids, ["path"])["path"]]
    if not all(folders) or len(set(folders)) < len(folders):
        return plain
    return {value: f"{value} {folder}" for value, folder in zip(plain, folders, strict=True)}


def _is_countable(spec: FieldSpec) -> bool:
    if spec.kind == "dense":
        return not spec.shape and np.dtype(spec.dtype).kind in "biu"
    return spec.kind == "ragged" and spec.content == "str"
