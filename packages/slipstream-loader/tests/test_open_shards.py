"""Which shards stay open while threads go through them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from slipstream_loader.sources import open_shards
from slipstream_loader.sources.open_shards import OpenShards


def shards_of(opened: list[int], samples: int = 4, num_bytes: int = 10) -> OpenShards[int]:
    def open_shard(number: int) -> int:
        opened.append(number)
        return number

    return OpenShards(open_shard, [samples] * 50, [num_bytes] * 50)


def test_who_goes_forward_keeps_two() -> None:
    """Shards whose samples were all asked for are closed when others are opened."""
    opened: list[int] = []
    shards = shards_of(opened)
    for number in range(50):
        assert [shards.for_sample(number, row) for row in range(4)] == [number] * 4
    assert opened == list(range(50))
    assert len(shards._open) == 2


def test_threads_in_many_shards_open_each_once() -> None:
    """Threads that take turns, each in a shard of its own, do not close one another's."""
    opened: list[int] = []
    shards = shards_of(opened)
    barrier = threading.Barrier(25, timeout=60)

    def go(thread: int) -> None:
        for number in (thread, 25 + thread):
            for row in range(4):
                shards.for_sample(number, row)
                barrier.wait()

    with ThreadPoolExecutor(25) as pool:
        list(pool.map(go, range(25)))
    assert sorted(opened) == list(range(50))
    assert len(shards._open) <= 25


@pytest.mark.parametrize(("limit", "value"), [("_MOST_OPEN", 5), ("_MOST_BYTES", 59)])
def test_limits(monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    """Who jumps about keeps no more shards, and no more bytes, than the limits; two at least."""
    monkeypatch.setattr(open_shards, limit, value)
    opened: list[int] = []
    shards = shards_of(opened)
    for number in [*range(50), 45, 46, 0]:
        shards.for_sample(number, 0)
    assert (opened[50:], len(shards._open)) == ([0], 5)
    shards.close()
    large = shards_of(opened, num_bytes=2 << 30)
    for number in (1, 2, 1, 2, 3):
        large.for_sample(number, 0)
    assert (opened[51:], len(large._open)) == ([1, 2, 3], 2)


def test_room_is_made_before_a_shard_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or one more than the limits say would be in memory for a moment."""
    monkeypatch.setattr(open_shards, "_MOST_BYTES", 59)
    beside: list[int] = []

    def open_shard(number: int) -> int:
        beside.append(len(shards._open))
        return number

    shards = OpenShards(open_shard, [4] * 9, [10] * 8 + [45])
    for number in range(9):
        shards.for_sample(number, 0)
    assert beside == [0, 1, 2, 3, 4, 4, 4, 4, 1]
