"""Sums of pixels: NumPy's, exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipstream_decoders import channel_sums
from slipstream_decoders._kernels.channel_sums import add_channel_sums


@given(height=st.integers(0, 60), width=st.integers(0, 60), seed=st.integers(0, 9))
def test_sums_are_numpys(height: int, width: int, seed: int) -> None:
    """Of images of any size, also of views that are not contiguous."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)[:, ::-1]
    wide = image.astype(np.int64)
    expected = [wide.sum(axis=(0, 1)), (wide**2).sum(axis=(0, 1))]
    np.testing.assert_array_equal(channel_sums(image), expected)


def test_many_white_pixels_do_not_overflow() -> None:
    """20 million pixels of 255: more than 32-bit sums of squares can hold."""
    num = 20_000_000
    white = np.lib.stride_tricks.as_strided(np.full(3, 255, np.uint8), (1, num, 3), (0, 0, 1))
    np.testing.assert_array_equal(channel_sums(white)[:, 0], [255 * num, 255**2 * num])


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4, 4), np.uint8), np.zeros((4, 3), np.uint8), np.zeros((4, 4, 3))]
)
def test_other_arrays_are_refused(image: np.ndarray) -> None:
    """Four channels, no image, floats."""
    with pytest.raises(ValueError, match="expected uint8"):
        channel_sums(image)


def test_the_kernel_checks_shapes() -> None:
    """Pixels that are no triples and sums of another shape are refused."""
    sums = np.zeros((2, 3), np.int64)
    assert not add_channel_sums(np.ones(4, np.uint8), sums)
    assert not add_channel_sums(np.ones(3, np.uint8), sums[:1])
    assert not sums.any()
