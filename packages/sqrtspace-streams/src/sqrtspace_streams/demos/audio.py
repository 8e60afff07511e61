"""A recording, window by window: spectrum, band, spectral features, classes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import Unpack

from sqrtspace_streams import baselines, stages
from sqrtspace_streams._rows import Array
from sqrtspace_streams.config import Config
from sqrtspace_streams.demos.demo import Demo
from sqrtspace_streams.pipeline import SqrtSpacePipeline

SAMPLE_RATE = 48_000
BAND = {"sr": SAMPLE_RATE, "f_lo": 80.0, "f_hi": 2000.0}
TARGET = "classify"
_BLOCK = 1 << 16  # samples that are drawn at once


def recording(start: int, n: int, *, seed: int = 0) -> Array:
    """Samples ``[start, start + n)`` of an endless generated recording at 48 kHz.

    Every second has another tone of 100 to 1900 Hz with its octave, in noise.

    Returns
    -------
    ndarray, shape (n,), float32
        In about [-1, 1]; a sample does not depend on the range in which it is asked for.
    """
    blocks = range(start // _BLOCK, math.ceil((start + n) / _BLOCK))
    whole = [_recording_block(index, seed) for index in blocks]
    if not whole:
        return np.empty(0, np.float32)
    first = start - blocks[0] * _BLOCK
    return np.concatenate(whole)[first : first + n]


def _recording_block(index: int, seed: int) -> Array:
    rng = np.random.default_rng([seed, index])
    time = np.arange(index * _BLOCK, (index + 1) * _BLOCK) / SAMPLE_RATE
    pitch = 100.0 + (time.astype(np.int64) * 7919 + seed) % 1800
    phase = 2 * np.pi * pitch * (time % 1.0)
    tone = 0.4 * np.sin(phase) + 0.2 * np.sin(2 * phase)
    return (tone + 0.05 * rng.standard_normal(_BLOCK)).astype(np.float32)


def write_recording(path: str | Path, seconds: float, *, seed: int = 0) -> None:
    """Write the beginning of the recording to a .npy file, block by block."""
    length = round(seconds * SAMPLE_RATE)
    samples = np.lib.format.open_memmap(path, "w+", np.float32, (length,))
    for start in range(0, length, _BLOCK):
        stop = min(start + _BLOCK, length)
        samples[start:stop] = recording(start, stop - start, seed=seed)
    samples.flush()


def pipeline(**config: Unpack[Config]) -> SqrtSpacePipeline:
    """The four stages, not bound to a recording; their parameters are `BAND`."""
    pipe = SqrtSpacePipeline(**config)
    pipe.stage("fft", batch_invariant=True)(stages.fft)
    pipe.stage("bandpass", ["fft"], batch_invariant=True)(stages.bandpass)
    pipe.stage("features", ["bandpass"])(stages.features)
    pipe.stage(TARGET, ["features"])(baselines.classifier())
    return pipe


def params(window: int) -> dict[str, Any]:
    """Parameters of the stages."""
    return {**BAND, "window": window}


class AudioDemo(Demo):
    """The recording in plain NumPy is `sqrtspace_streams.baselines.audio`."""

    name, target, unit = "audio", TARGET, "seconds"
    default_size, file_name = 120.0, "recording.npy"
    window, hop = 4096, 1024

    def write(self, path: Path, size: float, *, seed: int = 0) -> None:
        """A .npy file of samples."""
        write_recording(path, size, seed=seed)

    def num_windows(self, size: float, window: int, hop: int) -> int:
        """Of a recording of ``size`` seconds."""
        return max((round(size * SAMPLE_RATE) - window) // hop + 1, 0)

    def size_of(self, num_windows: int, window: int, hop: int) -> float:
        """Seconds."""
        return ((num_windows - 1) * hop + window) / SAMPLE_RATE

    def pipeline(self, **config: Unpack[Config]) -> SqrtSpacePipeline:
        """The four stages."""
        return pipeline(**config)

    def params(self, window: int) -> dict[str, Any]:
        """The band."""
        return params(window)

    def plain(self, path: Path, *, window: int, hop: int) -> Array:
        """Class probabilities."""
        return baselines.audio(np.load(path), **BAND, window=window, hop=hop)

    def title(self, size: float, num_windows: int) -> str:
        """Duration, rate and windows."""
        return f"audio: {size:g} s at {SAMPLE_RATE / 1000:g} kHz, {num_windows} windows"


DEMO = AudioDemo()
