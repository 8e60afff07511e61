"""Random pipelines give the bytes of an answer that is made without the engine."""

from __future__ import annotations

import pytest

from sqrtspace_streams.testing import try_draw


@pytest.mark.parametrize("first", range(0, 300, 25))
def test_every_way_of_asking_gives_the_same_bytes(first: int) -> None:
    """Tiles, checkpoints, caches, threads, ranges, chunks and pulls leave no trace (25 draws)."""
    assert sum(try_draw(seed) for seed in range(first, first + 25)) > 0
