"""What a pipeline can read: arrays, maps, files, frames, functions, iterators, pushed samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqrtspace_streams.config import Settings
from sqrtspace_streams.errors import SourceError
from sqrtspace_streams.sources.array import ArraySource, MmapSource
from sqrtspace_streams.sources.base import FiniteSource, Source
from sqrtspace_streams.sources.files import RawFileSource, npy_source
from sqrtspace_streams.sources.frames import ArrowSource, PandasSource, frame_source
from sqrtspace_streams.sources.lines import LineSource
from sqrtspace_streams.sources.sound import SoundSource
from sqrtspace_streams.sources.streams import CallableSource, IteratorSource, PushSource
from sqrtspace_streams.sources.table import TableSource

__all__ = [
    "ArraySource",
    "ArrowSource",
    "CallableSource",
    "FiniteSource",
    "IteratorSource",
    "LineSource",
    "MmapSource",
    "PandasSource",
    "PushSource",
    "RawFileSource",
    "SoundSource",
    "Source",
    "SourceLike",
    "TableSource",
    "as_source",
    "npy_source",
]

SourceLike = Source | NDArray[Any] | str | Path | Callable[[int, int], Any] | Iterable[Any]
"""What `as_source` accepts."""

_SOUND = (".wav", ".flac", ".ogg", ".aif", ".aiff")
_TABLES = (".parquet", ".csv")
_RAW = (".raw", ".bin")
_LINES = (".log", ".txt")


def as_source(data: SourceLike, settings: Settings) -> Source:
    """Make a source of an array, a path, a frame, a function ``read(start, n)`` or an iterable.

    Raises
    ------
    SourceError
        For a path with an ending that says nothing of the format.
    TypeError
        For anything else.
    """
    if isinstance(data, Source):
        return data
    if isinstance(data, np.memmap):
        return MmapSource(data)
    if isinstance(data, np.ndarray):
        return ArraySource(data)
    if isinstance(data, str | Path):
        return _file_source(Path(data), settings)
    source = frame_source(data, settings.capacity)
    if source is not None:
        return source
    if callable(data):
        return CallableSource(data, dtype=settings.dtype)
    if isinstance(data, Iterable):
        return IteratorSource(iter(data), keep=settings.capacity, dtype=settings.dtype)
    raise TypeError(f"{type(data).__name__} is no source: expected an array, path or function")


def _file_source(path: Path, settings: Settings) -> Source:
    ending = path.suffix.lower()
    if ending == ".npy":
        return npy_source(path)
    if ending in _SOUND:
        return SoundSource(path, dtype=settings.dtype)
    if ending in _TABLES:
        return TableSource(path)
    if ending in _RAW:
        return RawFileSource(path, settings.dtype)
    if ending in _LINES:
        return LineSource(path)
    known = [".npy", *_SOUND, *_TABLES, *_RAW, *_LINES]
    raise SourceError(f"{path}: unknown ending {ending!r}; bind RawFileSource or one of {known}")
