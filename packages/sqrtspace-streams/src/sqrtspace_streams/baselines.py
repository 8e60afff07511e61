"""The demonstrations in plain NumPy: whole arrays, no engine."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from sqrtspace_streams import stages
from sqrtspace_streams._calls import window_rng
from sqrtspace_streams._rows import Array

NUM_CLASSES = 4


def classifier() -> stages.TinyMLP:
    """The classifier of the audio demonstration; its weights are drawn, not learned."""
    return stages.TinyMLP.drawn(stages.NUM_FEATURES, NUM_CLASSES)


def audio(
    x: Array, *, sr: float, f_lo: float, f_hi: float, window: int = 4096, hop: int = 1024
) -> Array:
    """Class probabilities of every window of a recording.

    Parameters
    ----------
    x : ndarray, shape (samples,)
    sr : float
        Samples a second.
    f_lo, f_hi : float
        The band in hertz.

    Returns
    -------
    ndarray, shape (windows, NUM_CLASSES), float32
    """
    if len(x) < window:
        return np.empty((0, NUM_CLASSES), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(x, window)[::hop]
    spectrum = np.fft.rfft(windows * stages.hann(window)).astype(np.complex64, copy=False)
    band = stages.bandpass(spectrum, sr=sr, f_lo=f_lo, f_hi=f_hi, window=window)
    return classifier()(stages.features(band))


def logs(path: str | Path, *, window: int = 256, length: int = 8, prefix: str = "/api/") -> Array:
    """Error rate, 95th percentile in microseconds and alert of every window of an access log.

    Parameters
    ----------
    path : path
    window : int
        Lines in a window; windows do not overlap.
    length : int
        Windows that rates and percentiles are of.
    prefix : str
        Of the paths that count.

    Returns
    -------
    ndarray, shape (windows, 3), float64
    """
    line = re.compile(r'\S+ \S+ \S+ \[[^\]]*\] "[A-Z]+ (\S+) [^"]*" (\d{3}) \d+ (\d+)')
    with open(path, encoding="ascii") as file:
        matches = [line.fullmatch(text.rstrip("\n")) for text in file]
    kept = [m is not None and m[1].startswith(prefix) for m in matches]
    status = np.array([int(m[2]) if m and k else 0 for m, k in zip(matches, kept, strict=True)])
    micros = np.array([int(m[3]) if m and k else 0 for m, k in zip(matches, kept, strict=True)])
    rows, usual, loud, calm = np.zeros((len(matches) // window, 3)), 0.0, False, 0
    for t in range(len(rows)):
        part = slice(max(t + 1 - length, 0) * window, (t + 1) * window)
        times = micros[part][status[part] > 0]
        rate = int((status[part] >= 500).sum()) / max(len(times), 1)
        p95 = float(np.quantile(times, 0.95, method="inverted_cdf")) if len(times) else 0.0
        is_bad = rate > 0.05 or 0 < usual * 3 < p95
        calm = 0 if is_bad else calm + 1
        loud = is_bad or (loud and calm < 3)
        if not loud:
            usual = 0.9 * usual + 0.1 * p95 if usual else p95
        rows[t] = rate, p95, loud
    return rows


def shingles(images: Array, *, seed: int = 0) -> Array:
    """Features of the augmented shingles of images, as of ``demo ml``.

    Parameters
    ----------
    images : ndarray, shape (n, height, width, 3), uint8
    seed : int
        That of the pipeline.

    Returns
    -------
    ndarray, shape (n, shingles, features), float32
    """
    from sqrtspace_streams.demos import ml

    cut = ml.tile(images[:, None])
    changed = np.stack(
        [ml.augment(cut[t], rng=window_rng(seed, "augment", t)) for t in range(len(cut))]
    )
    return ml.features(changed)
