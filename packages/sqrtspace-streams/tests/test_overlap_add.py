"""Windows added to samples: what NumPy gives for the whole, to the bit, in any pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqrtspace_streams import SqrtSpacePipeline
from sqrtspace_streams.overlap_add import OverlapAdd, overlap_added, write_samples

RNG = np.random.default_rng(2)


def whole(rows: np.ndarray, hop: int) -> np.ndarray:
    """Everything at once."""
    window = rows.shape[1]
    samples = np.zeros(((len(rows) - 1) * hop + window, *rows.shape[2:]), rows.dtype)
    for t, row in enumerate(rows):
        samples[t * hop : t * hop + window] += row
    return samples


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 20), st.data())
@settings(max_examples=60, deadline=None)
def test_any_pieces_give_the_same_bits(count: int, hop: int, more: int, data: Any) -> None:
    """Also with channels, and of windows that only just meet."""
    rows = np.random.default_rng(count).standard_normal((count, hop + more, 2)).astype("float32")
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=5)))
    total, found = OverlapAdd(hop), []
    for piece in np.split(rows, cuts):
        if len(piece):
            found.append(total.add(piece))
            assert len(found[-1]) == len(piece) * hop
    rest = total.finish()
    assert rest is not None
    assert np.concatenate([*found, rest]).tobytes() == whole(rows, hop).tobytes()
    assert total.finish() is None


def test_a_spectral_change_and_back(tmp_path: Path) -> None:
    """Taper, spectrum, inverse, taper: the signal again, at both ends as well, in a file."""
    taper = np.hanning(65)[:-1]
    signal = RNG.standard_normal((64 + 16 * 300, 2))
    pipe = SqrtSpacePipeline(window=64, hop=16, tile=16)
    pipe.stage("spectrum")(lambda x: np.fft.rfft(x * taper[:, None], axis=1))
    pipe.stage("back", ["spectrum"])(lambda s: np.fft.irfft(s, axis=1) * taper[:, None])
    pipe.bind(signal)
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.float64, signal.shape)
    assert write_samples(overlap_added(pipe, "back", taper=taper**2), out) == len(signal)
    np.testing.assert_allclose(out[1:-1], signal[1:-1], rtol=1e-6, atol=1e-9)
    assert not out[0].any()  # where the taper is zero, nothing is known


def test_what_does_not_fit_is_refused() -> None:
    """Windows shorter than the hop or unlike the taper, no hop, and a small array."""
    for total in (OverlapAdd(9), OverlapAdd(2, np.ones(5))):
        with pytest.raises(ValueError, match="rows of 8 samples"):
            total.add(np.zeros((1, 8)))
    with pytest.raises(ValueError, match="hop=0"):
        OverlapAdd(0)
    with pytest.raises(ValueError, match="room for 3"):
        write_samples([np.zeros(4)], np.zeros(3))
