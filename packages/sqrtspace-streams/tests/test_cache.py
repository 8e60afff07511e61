"""The LRU cache and the checkpoint ring."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqrtspace_streams._state import copy_state, state_bytes
from sqrtspace_streams.cache import CheckpointRing, LRUCache
from sqrtspace_streams.errors import StateError


@given(
    capacity=st.integers(0, 400),
    actions=st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, 60)), max_size=200),
)
@settings(max_examples=60)
def test_the_cache_is_a_list_in_order_of_use(
    capacity: int, actions: list[tuple[bool, int, int]]
) -> None:
    """Bytes never exceed the capacity; the least recently used goes first."""
    cache, model = LRUCache(capacity), {}
    for puts, key, size in actions:
        if puts:
            array = np.full(size, key, np.uint8)
            assert cache.put(key, array) == (size <= capacity)
            if size <= capacity:
                model.pop(key, None)
                while sum(map(len, model.values())) + size > capacity:
                    del model[next(iter(model))]
                model[key] = array
        else:
            found = cache.get(key)
            assert (found is None) == (key not in model)
            if key in model:
                model[key] = model.pop(key)
                np.testing.assert_array_equal(found, model[key])
        assert cache.nbytes == sum(map(len, model.values())) <= capacity
        assert cache.keys() == list(model)


def test_a_long_use_keeps_the_count_of_bytes() -> None:
    """After 100,000 random calls the count is that of the arrays that are there."""
    rng, cache = np.random.default_rng(0), LRUCache(5_000)
    arrays = [np.zeros(size, np.uint8) for size in rng.integers(0, 6_000, 50)]
    for key, which in rng.integers(0, 50, (100_000, 2)).tolist():
        cache.put(key, arrays[which])
    kept = [cache.get(key) for key in cache.keys()]  # noqa: SIM118 not a dict
    assert cache.nbytes == sum(array.nbytes for array in kept if array is not None) <= 5_000


def test_a_view_does_not_keep_its_buffer() -> None:
    """What is kept of a view is a copy of its own size, which nobody can write to."""
    large, cache = np.zeros(1_000_000), LRUCache(1_000)
    cache.put("a", large[:10])
    kept = cache.get("a")
    assert kept is not None
    assert kept.base is None
    assert not kept.flags.writeable
    assert cache.nbytes == 80


def test_a_ring_forgets_what_is_a_lap_behind() -> None:
    """With k=3 and 4 slots, the last 4 multiples of 3 are kept, matched exactly."""
    ring = CheckpointRing(3, 4, "window")
    for t in range(0, 120, 3):
        ring.save(t, np.array([t]), {"t": t})
        assert ring.times() == list(range(max(0, t - 9), t + 1, 3))
    for t in range(130):
        entry, floor = ring.load(t), ring.floor(t)
        assert (entry is not None) == (t in ring.times())
        before = [u for u in ring.times() if u <= t]
        assert (floor.t if floor else None) == (before[-1] if before else None)
        if entry:
            assert (entry.output[0], entry.state["t"]) == (t, t)


@given(slots=st.integers(2, 40), length=st.integers(1, 2_000), every=st.integers(1, 5))
@settings(max_examples=40)
def test_a_thinning_ring_covers_all_of_the_past(slots: int, length: int, every: int) -> None:
    """At most ``slots`` checkpoints, never more than ``2 T / slots`` windows apart."""
    ring, t = CheckpointRing(every, slots, "thin"), 0
    while t < length:
        ring.save(t, np.zeros(1))
        t = ring.next_due(t + 1)
    times = ring.times()
    assert times[0] == 0
    assert len(times) <= slots
    assert np.diff([*times, length]).max(initial=0) <= max(2 * length / slots, every) + 1


def test_a_thinning_ring_keeps_to_its_bytes() -> None:
    """Ten times as many windows take no more; of large states there are 32 to 64 all the same."""
    for size, limit, fewest in [(1_000, 200_000, 65), (50_000, 200_000, 32)]:
        ring, peaks = CheckpointRing(1, 10_000, "thin", limit), []
        entry = 8 + 64 + size + 400
        for stop in (1_000, 10_000):
            peak, t = 0, ring.next_due(stop // 10 if peaks else 0)
            while t < stop:
                ring.save(t, np.zeros(1), {"y": np.zeros(size, np.uint8)})
                peak, t = max(peak, ring.nbytes), ring.next_due(t + 1)
            peaks.append(peak)
        assert peaks[0] == peaks[1] <= max(limit, 64 * entry)
        assert fewest <= len(ring) <= max(limit // entry, 64)
        assert np.diff(ring.times()).max() == ring.every


def test_a_ring_without_limit_keeps_everything() -> None:
    """``all`` never drops a checkpoint."""
    ring = CheckpointRing(2, 1, "all")
    for t in range(0, 100, 2):
        ring.save(t, np.zeros(1))
    assert ring.times() == list(range(0, 100, 2))


def test_a_pinned_checkpoint_outlives_its_slot() -> None:
    """It stays while it is replayed from, beside the one that takes its slot, and goes after."""
    ring = CheckpointRing(1, 2, "window")
    for t in range(2):
        ring.save(t, np.array([t]))
    with ring.pinned(0):
        ring.save(2, np.array([2]))
        assert ring.times() == [0, 1, 2]
        pinned = ring.floor(0)
        assert pinned is not None
        assert pinned.t == 0
    assert ring.times() == [1, 2]
    assert ring.nbytes == sum(entry.nbytes for t in (1, 2) if (entry := ring.load(t)))


def test_checkpoints_are_copies() -> None:
    """Neither output nor state change with what they were copied from."""
    ring, output, state = CheckpointRing(1, 1), np.zeros(3), {"y": np.zeros(2), "n": [1, 2]}
    ring.save(0, output, state)
    output[:] = 1
    state["y"][:] = 1
    state["n"].append(3)
    entry = ring.load(0)
    assert entry is not None
    assert not entry.output.any()
    assert not entry.state["y"].any()
    assert entry.state["n"] == [1, 2]


@pytest.mark.parametrize("bad", [{"every": 0}, {"slots": 0}])
def test_rings_have_room(bad: dict[str, int]) -> None:
    """A ring without spacing or slots is refused, as is a window between the multiples."""
    with pytest.raises(ValueError, match="at least 1"):
        CheckpointRing(**{"every": 1, "slots": 1, **bad})
    with pytest.raises(ValueError, match="multiple"):
        CheckpointRing(4, 1).save(3, np.zeros(1))


def test_state_is_copied_bit_for_bit() -> None:
    """NaN payloads, 0-d arrays, extreme integers, complex numbers and strides survive."""
    nan = np.array([0x7FF8DEADBEEF0001], np.uint64).view(np.float64)
    state = {
        "nan": nan,
        "zero_d": np.array(3, np.int8),
        "ends": [np.iinfo(np.int64).min, 2**70, -0.0, float("inf")],
        "complex": (np.complex64(1 - 2j), 3j),
        "strided": np.arange(12).reshape(3, 4).T,
        "nested": {"deep": [{"flag": True, "none": None, "text": "é"}]},
        1: np.array(["a", "bc"]),
    }
    copy = copy_state(state)
    assert copy["nan"].tobytes() == nan.tobytes()
    assert (copy["zero_d"].shape, copy["zero_d"].dtype) == ((), np.int8)
    assert copy["ends"][:2] == state["ends"][:2]
    assert np.signbit(copy["ends"][2])
    assert copy["complex"] == state["complex"]
    assert copy["strided"].strides == state["strided"].strides
    assert copy["nested"] == state["nested"]
    assert copy["nested"]["deep"] is not state["nested"]["deep"]
    assert copy[1].tolist() == ["a", "bc"]
    assert state_bytes(state) >= sum(v.nbytes for v in state.values() if isinstance(v, np.ndarray))


@pytest.mark.parametrize(
    ("state", "path"),
    [
        ({"a": [1, {2, 3}]}, r"state\['a'\]\[1\] is a set"),
        ({"f": {"g": np.array([None])}}, r"state\['f'\]\['g'\] is an array of Python objects"),
        ({(1, 2): 3}, "has the key"),
        (object(), "state is a object"),
    ],
)
def test_state_that_cannot_be_copied_is_named(state: object, path: str) -> None:
    """The message has the path to what is wrong."""
    with pytest.raises(StateError, match=path):
        copy_state(state)
