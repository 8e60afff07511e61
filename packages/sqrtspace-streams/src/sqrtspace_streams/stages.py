"""Common stages: windowed FFT, band-pass, spectral features, resampling, a tiny classifier.

They are plain functions and one kernel, to be registered under any name::

    pipe.stage("fft", batch_invariant=True)(stages.fft)
    pipe.stage("bandpass", ["fft"], batch_invariant=True)(stages.bandpass)
    pipe.stage("features", ["bandpass"])(stages.features)
    pipe.stage("classify", ["features"])(stages.TinyMLP.drawn(stages.NUM_FEATURES, 4))

Samples that are NaN or infinite make the rows of their windows NaN, and no others.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.fft  # NumPy imports it late, which would count as memory of the first run

from sqrtspace_streams._rows import Array
from sqrtspace_streams._stage import Kernel

NUM_PEAKS = 3
NUM_FEATURES = 2 * NUM_PEAKS + 2
_HALF_LENGTH = 10  # of the resampling filter, in samples of the lower of the two rates
_KAISER_BETA = 5.0
_FFT_ROWS = 16  # that are transformed at once


@functools.lru_cache(maxsize=8)
def hann(window: int, dtype: str = "float32") -> Array:
    """The periodic Hann window, read-only: ``scipy.signal.windows.hann(window, sym=False)``."""
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    taper = (taper if window > 1 else np.ones(1)).astype(dtype)
    taper.setflags(write=False)
    return taper


def fft(x: Array) -> Array:
    """Spectrum of each window under a Hann taper; may be declared ``batch_invariant``.

    Parameters
    ----------
    x : ndarray, shape (n, window)

    Returns
    -------
    ndarray, shape (n, window // 2 + 1)
        complex64 for float32 and smaller types, else complex128.
    """
    real = np.result_type(x.dtype, np.float32)
    taper = hann(x.shape[1], real.name)
    shape = (len(x), x.shape[1] // 2 + 1)
    spectrum = np.empty(shape, np.result_type(real, np.complex64))
    for start in range(0, len(x), _FFT_ROWS):  # NumPy makes copies in double precision
        rows = slice(start, start + _FFT_ROWS)
        spectrum[rows] = np.fft.rfft(x[rows] * taper)
    return spectrum


def band(window: int, sr: float, f_lo: float, f_hi: float) -> slice:
    """The bins of a window's spectrum whose frequencies are in ``[f_lo, f_hi]`` Hz.

    Raises
    ------
    ValueError
        If there are none.
    """
    width = sr / window
    first = max(math.ceil(f_lo / width - 1e-9), 0)
    stop = min(math.floor(f_hi / width + 1e-9), window // 2) + 1
    if not first < stop:
        raise ValueError(
            f"no bin is in [{f_lo}, {f_hi}] Hz: bins are {width:g} Hz apart, up to {sr / 2:g} Hz"
        )
    return slice(first, stop)


def bandpass(
    spectrum: Array, *, sr: float, f_lo: float, f_hi: float, window: int | None = None
) -> Array:
    """The bins in ``[f_lo, f_hi]`` Hz; may be declared ``batch_invariant``.

    Parameters
    ----------
    spectrum : ndarray, shape (n, window // 2 + 1)
    sr : float
        Samples a second.
    f_lo, f_hi : float
        In hertz, both included.
    window : int, optional
        Samples in a window; needed where it is odd.

    Returns
    -------
    ndarray, shape (n, bins of the band)
        A view.
    """
    return spectrum[:, band(window or 2 * (spectrum.shape[1] - 1), sr, f_lo, f_hi)]


def features(spectrum: Array) -> Array:
    """Peaks, centroid and kurtosis of the magnitudes of each row.

    A peak is a bin above both of its neighbours. Positions are bins of what is given: after
    `bandpass`, those above the lowest one of the band.

    Parameters
    ----------
    spectrum : ndarray, shape (n, bins)

    Returns
    -------
    ndarray, shape (n, NUM_FEATURES), float32
        Positions of the highest `NUM_PEAKS` peaks, highest first; their magnitudes; the centroid;
        the kurtosis about it (3 for a bell, 0 for silence). Peaks that are not there are 0.
    """
    magnitude = np.abs(spectrum).astype(np.float64)
    bins = np.arange(magnitude.shape[1], dtype=np.float64)
    total = magnitude.sum(axis=1)
    share = magnitude / np.where(total == 0, 1, total)[:, None]
    centroid = (share * bins).sum(axis=1)
    squared = (bins - centroid[:, None]) ** 2
    variance = (share * squared).sum(axis=1)
    fourth = (share * squared**2).sum(axis=1)
    kurtosis = fourth / np.where(variance == 0, 1, variance) ** 2
    positions, heights = _highest_peaks(magnitude)
    rows = np.column_stack([positions, heights, centroid, kurtosis])
    rows[~np.isfinite(total)] = np.nan
    return rows.astype(np.float32)


def _highest_peaks(magnitude: Array) -> tuple[Array, Array]:
    """Position and height of the peaks of each row, highest first, equal ones from the left."""
    height = np.zeros((len(magnitude), max(magnitude.shape[1], NUM_PEAKS)))
    middle = magnitude[:, 1:-1]
    above = (middle > magnitude[:, :-2]) & (middle > magnitude[:, 2:])
    height[:, 1 : 1 + middle.shape[1]] = np.where(above, middle, 0)
    order = np.argsort(-height, axis=1, kind="stable")[:, :NUM_PEAKS]
    highest = np.take_along_axis(height, order, axis=1)
    return np.where(highest > 0, order, 0), highest


@dataclass(frozen=True, eq=False)
class TinyMLP:
    """A classifier with one hidden layer, as a stage; not batch invariant.

    Features span decades and are at least 0: the layer sees ``log1p`` of them.
    """

    hidden_weights: Array
    """Shape (features, hidden)."""
    hidden_bias: Array
    class_weights: Array
    """Shape (hidden, classes)."""
    class_bias: Array

    @classmethod
    def drawn(
        cls, num_features: int, num_classes: int, *, hidden: int = 16, seed: int = 0
    ) -> TinyMLP:
        """One with weights drawn from ``seed``: for trials, it has learned nothing."""
        rng = np.random.default_rng(seed)

        def layer(rows: int, columns: int) -> Array:
            return (rng.standard_normal((rows, columns)) / math.sqrt(rows)).astype(np.float32)

        zeros = functools.partial(np.zeros, dtype=np.float32)
        weights = layer(num_features, hidden), layer(hidden, num_classes)
        return cls(weights[0], zeros(hidden), weights[1], zeros(num_classes))

    def __call__(self, rows: Array) -> Array:
        """Probabilities of the classes.

        Parameters
        ----------
        rows : ndarray, shape (n, features)

        Returns
        -------
        ndarray, shape (n, classes), float32
        """
        hidden = np.tanh(np.log1p(rows) @ self.hidden_weights + self.hidden_bias)
        scores = hidden @ self.class_weights + self.class_bias
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))


class Resample(Kernel):
    """Change of sample rate by ``up / down``: ``scipy.signal.resample_poly`` of the whole stream.

    Row t has the ``hop * up / down`` samples of the time of input samples
    ``[t * hop, (t + 1) * hop)``; rows put end to end are the resampled stream. What the filter
    needs of the past is the state, what it needs of the future is the rest of the window.

    Parameters
    ----------
    up, down : int
    hop : int
        That of the pipeline.

    Raises
    ------
    ValueError
        If a row would not have a whole number of samples or, at the first window, if windows
        overlap too little.
    """

    def __init__(self, up: int, down: int, hop: int) -> None:
        if up < 1 or down < 1:
            raise ValueError(f"up={up}, down={down}: expected at least 1")
        common = math.gcd(up, down)
        self.up, self.down, self.hop = up // common, down // common, hop
        if hop * self.up % self.down:
            raise ValueError(f"hop={hop}: expected a multiple of down={self.down}")
        taps = self._filter()
        half = len(taps) // 2
        self.reach = -(-half // self.up)
        # Output n takes input i with the tap at n * down + half - i * up.
        outputs = np.arange(hop * self.up // self.down)[:, None]
        last = (outputs * self.down + half) // self.up
        self._inputs = last - np.arange(2 * half // self.up + 1)
        tap = outputs * self.down + half - self._inputs * self.up
        self._taps = np.where(tap < len(taps), taps[np.minimum(tap, len(taps) - 1)], 0.0)
        self._inputs += self.reach

    def _filter(self) -> Array:
        """A windowed sinc with the cutoff of the lower rate, as ``resample_poly`` designs it."""
        lower = max(self.up, self.down)
        half = _HALF_LENGTH * lower if lower > 1 else 0
        taps = np.sinc(np.arange(-half, half + 1) / lower) * np.kaiser(2 * half + 1, _KAISER_BETA)
        return np.asarray(taps / taps.sum() * self.up)

    def init_state(self, shape: Any, dtype: Any, **_: Any) -> dict[str, Any]:
        """Silence before the stream."""
        (window,) = shape
        if window - self.hop < self.reach:
            raise ValueError(
                f"window={window}, hop={self.hop}: resampling by {self.up}/{self.down} looks "
                f"{self.reach} samples ahead, so the window must be at least "
                f"{self.hop + self.reach}"
            )
        return {"past": np.zeros(self.reach, dtype)}

    def step(self, x_block: Any, state: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        """One window."""
        samples = np.concatenate([state["past"], x_block[0]])
        row = (samples[self._inputs] * self._taps).sum(axis=1)
        past = samples[self.hop : self.hop + self.reach].copy()
        return row[None].astype(np.result_type(samples.dtype, np.float32)), {"past": past}
