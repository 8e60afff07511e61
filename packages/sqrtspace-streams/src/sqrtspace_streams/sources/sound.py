"""Samples of a sound file: WAV, FLAC and what else libsndfile reads."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from sqrtspace_streams.errors import SourceError
from sqrtspace_streams.sources.base import FiniteSource, Samples

_TYPES = ("float32", "float64", "int16", "int32")


class SoundSource(FiniteSource):
    """A sound file, decoded piece by piece; needs the ``soundfile`` package.

    Threads, and processes that were forked off, may read at the same time. Samples of several
    channels have shape ``(channels,)``. ``sample_rate`` is in hertz.

    Parameters
    ----------
    path : path
    dtype : {"float32", "float64", "int16", "int32"}
        What samples are converted to; floats are in [-1, 1].

    Raises
    ------
    ImportError
        Without ``soundfile``.
    SourceError
        If the file is no sound, or its samples cannot be counted.
    """

    def __init__(self, path: str | Path, *, dtype: DTypeLike = "float32") -> None:
        soundfile = _soundfile()
        self.path, self.dtype = Path(path), np.dtype(dtype)
        if self.dtype.name not in _TYPES:
            raise SourceError(f"{path} cannot be read as {self.dtype}: expected one of {_TYPES}")
        try:
            self._file = soundfile.SoundFile(str(path))
        except soundfile.LibsndfileError as error:
            raise SourceError(f"{path} cannot be read as sound: {error}") from error
        if not self._file.seekable():
            raise SourceError(f"{path} cannot be read from the middle: convert it to WAV or FLAC")
        self.sample_rate = int(self._file.samplerate)
        self.length = int(self._file.frames)
        channels = int(self._file.channels)
        self.item_shape = () if channels == 1 else (channels,)
        self._lock = threading.Lock()
        self._position, self._process = 0, os.getpid()

    def read(self, start: int, stop: int) -> Samples:
        """A copy."""
        self.check_range(start, stop)
        with self._lock:
            if os.getpid() != self._process:
                self._reopen()
            if start != self._position:
                self._file.seek(start)
            samples: Samples = self._file.read(stop - start, dtype=self.dtype.name)
            self._position = start + len(samples)
        if len(samples) != stop - start:
            raise SourceError(
                f"{self.path} ended at sample {start + len(samples)}; its header says {self.length}"
            )
        return samples

    def _reopen(self) -> None:
        """After a fork: processes would move the position of one file under each other."""
        if not self._file.closed:
            self._file = _soundfile().SoundFile(str(self.path))
        self._position, self._process = 0, os.getpid()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _soundfile() -> Any:
    try:
        import soundfile
    except ImportError as error:
        raise ImportError(
            "sound files need soundfile: pip install 'sqrtspace-streams[audio]'"
        ) from error
    return soundfile
