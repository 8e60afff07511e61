"""The demonstrations in plain NumPy: whole arrays, no engine."""

from __future__ import annotations

import numpy as np

from sqrtspace_streams import stages
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
    band = stages.bandpass(stages.fft(windows), sr=sr, f_lo=f_lo, f_hi=f_hi, window=window)
    return classifier()(stages.features(band))
