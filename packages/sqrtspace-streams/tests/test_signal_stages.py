"""Stages of signals, against scipy and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import scipy.special
import scipy.stats

from sqrtspace_streams import SqrtSpacePipeline, stages

SIGNAL = np.random.default_rng(0).standard_normal(6_000).astype("float32")


@pytest.mark.parametrize("window", [1, 2, 7, 256])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fft_is_that_of_scipy_under_its_hann_window(window: int, dtype: str) -> None:
    """The taper is periodic and the type of the spectrum follows the samples."""
    x = SIGNAL[: 5 * window].reshape(5, window).astype(dtype)
    expected = np.fft.rfft(x * scipy.signal.windows.hann(window, sym=False))
    spectrum = stages.fft(x)
    assert spectrum.dtype == ("complex64" if dtype == "float32" else "complex128")
    scale = np.abs(expected).max() or 1.0
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(spectrum, expected, atol=tolerance * scale)


def test_fft_of_a_stream_is_the_stft_of_scipy() -> None:
    """Windows of a pipeline are those of scipy.signal.stft without boundary and padding."""
    pipe = SqrtSpacePipeline(window=256, hop=64)
    pipe.stage("fft", batch_invariant=True)(stages.fft)
    pipe.bind(SIGNAL)
    options = {"nperseg": 256, "noverlap": 192, "boundary": None, "padded": False}
    _, _, expected = scipy.signal.stft(SIGNAL, window="hann", **options)
    expected = expected.T * scipy.signal.windows.hann(256, sym=False).sum()
    np.testing.assert_allclose(pipe.evaluate("fft"), expected, atol=1e-4)


@pytest.mark.parametrize("window", [255, 256])
def test_bandpass_keeps_the_bins_of_the_band(window: int) -> None:
    """Both ends belong to the band; frequencies are those of numpy.fft.rfftfreq."""
    sr, f_lo, f_hi = 8_000.0, 8_000.0 * 10 / window, 8_000.0 * 20 / window
    frequencies = np.fft.rfftfreq(window, 1 / sr)
    kept = stages.bandpass(frequencies[None], sr=sr, f_lo=f_lo, f_hi=f_hi, window=window)
    np.testing.assert_array_equal(kept[0], frequencies[10:21])
    everything = stages.bandpass(frequencies[None], sr=sr, f_lo=0, f_hi=sr, window=window)
    np.testing.assert_array_equal(everything[0], frequencies)
    with pytest.raises(ValueError, match=r"no bin is in \[10, 11\] Hz"):
        stages.band(window, sr, 10, 11)


def test_features_are_those_of_scipy() -> None:
    """Peaks as find_peaks finds them; moments of a histogram whose counts are the magnitudes."""
    rng = np.random.default_rng(3)
    for counts in rng.integers(0, 50, (20, 40)):
        row = stages.features(counts[None].astype("complex64"))[0]
        found, _ = scipy.signal.find_peaks(counts, plateau_size=(1, 1))
        found = found[np.argsort(-counts[found], kind="stable")][: stages.NUM_PEAKS]
        np.testing.assert_array_equal(row[:3], found)
        np.testing.assert_array_equal(row[3:6], counts[found])
        values = np.repeat(np.arange(40.0), counts)
        np.testing.assert_allclose(row[6], values.mean(), rtol=1e-6)
        np.testing.assert_allclose(row[7], scipy.stats.kurtosis(values, fisher=False), rtol=1e-6)


def test_features_of_silence_and_of_few_bins() -> None:
    """Silence, a single tone and a single bin give finite rows, without warnings."""
    assert not stages.features(np.zeros((2, 9), "complex64")).any()
    tone = np.zeros((1, 9), "complex64")
    tone[0, 4] = 2j
    np.testing.assert_array_equal(stages.features(tone), [[4, 0, 0, 2, 0, 0, 4, 0]])
    assert stages.features(np.ones((1, 1), "complex64")).shape == (1, stages.NUM_FEATURES)


def test_the_classifier_is_two_layers_and_a_softmax() -> None:
    """Each row is what a loop over its units gives, and sums to 1."""
    mlp = stages.TinyMLP.drawn(8, 3, hidden=5, seed=2)
    rows = np.abs(SIGNAL[:80]).reshape(10, 8) * 1000
    for row, found in zip(rows, mlp(rows), strict=True):
        hidden = [np.tanh(np.log1p(row) @ w) for w in mlp.hidden_weights.T]
        scores = np.array([np.dot(hidden, w) for w in mlp.class_weights.T])
        np.testing.assert_allclose(found, scipy.special.softmax(scores), rtol=1e-4)
    np.testing.assert_allclose(mlp(rows).sum(axis=1), 1, rtol=1e-6)
    assert not np.array_equal(mlp(rows), stages.TinyMLP.drawn(8, 3, hidden=5, seed=3)(rows))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_samples_spoil_their_windows_only(bad: float) -> None:
    """Rows of windows with such a sample are NaN, all others are what they were."""
    x = SIGNAL[:1280].reshape(10, 128).copy()
    mlp = stages.TinyMLP.drawn(stages.NUM_FEATURES, 4)
    good = mlp(stages.features(stages.fft(x)))
    x[3, 100] = bad
    with np.errstate(invalid="ignore"):
        rows = mlp(stages.features(stages.fft(x)))
    assert np.isnan(rows[3]).all()
    others = np.arange(10) != 3
    np.testing.assert_array_equal(rows[others], good[others])


@pytest.mark.parametrize(
    ("up", "down"), [(1, 1), (1, 2), (3, 1), (3, 2), (2, 3), (8, 12), (5, 4), (4, 5), (3, 5)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_resampled_streams_are_those_of_scipy(up: int, down: int, dtype: str) -> None:
    """Rows put end to end are resample_poly of the whole stream, from its first sample on."""
    x, hop = SIGNAL.astype(dtype), 60
    pipe = SqrtSpacePipeline(window=128, hop=hop)
    pipe.kernel("slow", up=up, down=down, hop=hop)(stages.Resample)
    pipe.bind(x)
    rows = pipe.evaluate("slow")
    assert rows.shape == ((6_000 - 128) // hop + 1, hop * up // down)
    assert rows.dtype == dtype
    expected = scipy.signal.resample_poly(x, up, down)[: rows.size]
    tolerance = 2e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(rows.ravel(), expected, atol=tolerance)
    again = pipe.evaluate("slow", (31, 40))
    assert again.tobytes() == rows[31:40].tobytes()


def test_resampling_says_which_windows_it_needs() -> None:
    """A hop without whole rows and windows without look-ahead are refused, with the remedy."""
    with pytest.raises(ValueError, match="expected a multiple of down=3"):
        stages.Resample(2, 3, 64)
    pipe = SqrtSpacePipeline(window=64, hop=64)
    pipe.kernel("slow", up=1, down=2, hop=64)(stages.Resample)
    pipe.bind(SIGNAL)
    with pytest.raises(Exception, match="the window must be at least 84"):
        pipe.evaluate("slow")


def test_stages_give_equal_bytes_in_both_orders() -> None:
    """Classic and sqrt order agree, with fft and bandpass as batch invariant stages."""
    results = []
    for mode in ("classic", "sqrt"):
        pipe = SqrtSpacePipeline(window=256, hop=50, mode=mode, tile=32)
        pipe.stage("fft", batch_invariant=True)(stages.fft)
        pipe.stage("bandpass", ["fft"], batch_invariant=True)(stages.bandpass)
        pipe.stage("features", ["bandpass"])(stages.features)
        pipe.stage("classify", ["features"])(stages.TinyMLP.drawn(stages.NUM_FEATURES, 4))
        pipe.bind(SIGNAL)
        results.append(pipe.evaluate("classify", params={"sr": 8000, "f_lo": 80, "f_hi": 2000}))
    assert results[0].tobytes() == results[1].tobytes()
