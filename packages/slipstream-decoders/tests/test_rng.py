"""The random streams: published vectors, and what a draw depends on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipstream_decoders import stream_key, uniforms, words
from slipstream_decoders._kernels.philox import philox4x32

ZEROS, ONES = [0] * 6, [0xFFFFFFFF] * 6
PI = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0]


@pytest.mark.parametrize(
    ("counter_and_key", "expected"),
    [
        (ZEROS, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        (ONES, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (PI, [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
    ],
)
def test_philox_gives_the_published_vectors(
    counter_and_key: list[int], expected: list[int]
) -> None:
    """Known answers of the Random123 library for philox4x32-10."""
    assert list(philox4x32(*[np.uint64(word) for word in counter_and_key])) == expected


def _draw(key: int, ids: list[int], count: int, occurrence: int = 0) -> np.ndarray:
    sample_ids = np.array(ids, np.int64)
    return uniforms(key, sample_ids, np.full_like(sample_ids, occurrence), count)


@given(
    ids=st.lists(st.integers(0, 2**40), min_size=1, max_size=20),
    count=st.integers(1, 9),
    extra=st.integers(0, 5),
)
def test_a_draw_depends_on_its_sample_alone(ids: list[int], count: int, extra: int) -> None:
    """Neither the other samples of the batch nor the number of draws changes a draw."""
    key = stream_key(7, 3, "view", "stage")
    together = _draw(key, ids, count + extra)
    alone = np.concatenate([_draw(key, [sample_id], count) for sample_id in ids])
    np.testing.assert_array_equal(together[:, :count], alone)


def test_keys_differ_in_every_part() -> None:
    """Seed, epoch and names all matter, and names cannot run into one another."""
    parts = [
        (0, 0),
        (0, 1),
        (1, 0),
        (0, 0, "a"),
        (0, 0, "a", "b"),
        (0, 0, "ab"),
        (0, 0, "b", "a"),
        (0, 0, "a", ""),
        (0, 0, "a/1:b"),
    ]
    assert len({stream_key(*part) for part in parts}) == len(parts)


def test_streams_are_uniform_and_uncorrelated() -> None:
    """Mean, variance and correlations between neighbours, views and occurrences are those of
    independent uniform numbers."""
    num = 200_000
    ids = list(range(num))
    one = _draw(stream_key(1, 0, "view_0"), ids, 2)
    others = [
        one[:, 1],
        np.roll(one[:, 0], 1),
        _draw(stream_key(1, 0, "view_1"), ids, 1)[:, 0],
        _draw(stream_key(1, 1, "view_0"), ids, 1)[:, 0],
        _draw(stream_key(1, 0, "view_0"), ids, 1, occurrence=1)[:, 0],
    ]
    assert abs(one.mean() - 0.5) < 5 * np.sqrt(1 / 12 / one.size)
    assert abs(one.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / one.size)
    for other in others:
        assert abs(np.corrcoef(one[:, 0], other)[0, 1]) < 5 / np.sqrt(num)


def test_words_are_distinct_and_prefix_stable() -> None:
    """A longer list of words starts with the shorter one."""
    key = stream_key(5, 0, "order")
    np.testing.assert_array_equal(words(key, 1000)[:333], words(key, 333))
    assert np.unique(words(key, 100_000)).size == 100_000
