"""The verdict names what was slowed, whichever it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from slipstream_loader import SlipstreamDataset, SlipstreamLoader, prefetch, telemetry
from slipstream_loader.prefetch import PrefetchIterator
from slipstream_loader.telemetry import LoaderStats, Telemetry

pytestmark = pytest.mark.timeout(120)


class Clock:
    """Stands in for the module ``time``: it goes on when it is told to, and counts the looks."""

    def __init__(self) -> None:
        self.now = 100.0
        self._looks = {"consumer": 0, "maker": 0}
        self._changed = threading.Condition()

    def perf_counter(self) -> float:
        """Look at the clock."""
        who = "consumer" if threading.current_thread() is threading.main_thread() else "maker"
        with self._changed:
            self._looks[who] += 1
            self._changed.notify_all()
            return self.now

    def pass_time(self, seconds: float, *, after: tuple[str, int] | None = None) -> None:
        """Go on; before that, wait until somebody has looked so many times."""
        with self._changed:
            if after is not None:
                who, looks = after
                assert self._changed.wait_for(lambda: self._looks[who] >= looks, timeout=60)
            self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the telemetry and of the iterator."""
    clock = Clock()
    monkeypatch.setattr(telemetry, "time", clock)
    monkeypatch.setattr(prefetch, "time", clock)
    return clock


@pytest.fixture
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SlipstreamDataset:
    """Two fields of numbers."""
    samples = [{"x": number, "y": float(number)} for number in range(40)]
    return SlipstreamDataset(samples, cache_dir=tmp_path_factory.mktemp("caches"))


@pytest.mark.parametrize("culprit", ["x: jitter", "y: read", "one_hot", "the training loop"])
def test_the_verdict_names_the_culprit(clock: Clock, culprit: str) -> None:
    """Each stage takes a second in turn, and the training loop; all others take a tenth of it."""
    collected = Telemetry()
    stages = ["x: read", "x: jitter", "y: read", "one_hot"]
    for _ in range(3):
        for stage in stages:
            with collected.timed(stage):
                clock.pass_time(1.0 if stage == culprit else 0.1)
        collected.made(np.arange(4))
        trained = culprit == "the training loop"
        clock.pass_time(5.0 if trained else 0.0)
        collected.taken(waited=0.1 if trained else 1.0, lay_ready=0.0)
    stats = collected.snapshot()
    assert stats.verdict.startswith(f"bound by {culprit}: "), stats
    assert stats.batches == 3
    seconds = {stage: pytest.approx(3.0 if stage == culprit else 0.3) for stage in stages}
    assert stats.stage_seconds == seconds


def test_a_consumer_that_waits_is_told_from_batches_that_wait(clock: Clock) -> None:
    """Two seconds in ``next()`` for each batch; then two seconds that each finished batch lay."""

    def make_slowly(number: int) -> int:
        clock.pass_time(2.0, after=("consumer", 2 * number + 1))  # it looks before and after
        return number

    waiting = Telemetry()
    assert list(PrefetchIterator(make_slowly, 5, 1, 1, waiting)) == list(range(5))
    stats = waiting.snapshot()
    assert (stats.wait_seconds, stats.ready_seconds, stats.wait_share) == (10.0, 0.0, 1.0)

    ready = Telemetry()
    made_before = 5
    batches = PrefetchIterator(lambda number: number, 5, 1, 1, ready)
    for number in range(5):
        clock.pass_time(2.0, after=("maker", made_before + number + 1))
        assert next(batches) == number
    stats = ready.snapshot()
    assert (stats.wait_seconds, stats.ready_seconds, stats.elapsed_seconds) == (0.0, 10.0, 8.0)


def slow_stage(value: Any) -> Any:
    """Takes ten milliseconds at least."""
    time.sleep(0.01)
    return value


def quick_stage(value: Any) -> Any:
    """Takes no time."""
    return value


@pytest.mark.parametrize("culprit", ["x", "y", "batch"])
def test_a_loader_times_each_stage_by_its_name(dataset: SlipstreamDataset, culprit: str) -> None:
    """What a stage takes is found under its field and function, and nowhere else."""

    def stage(name: str) -> Callable[[Any], Any]:
        return slow_stage if name == culprit else quick_stage

    loader = SlipstreamLoader(
        dataset,
        batch_size=4,
        pipelines={name: [stage(name)] for name in ("x", "y")},
        after_batch_transforms=[stage("batch")],
    )
    list(loader)
    stats = loader.stats()
    fields = {name: f"{name}: {stage(name).__name__}" for name in ("x", "y")}
    names = {**fields, "batch": stage("batch").__name__}
    assert stats.stage_seconds.keys() == {"x: read", "y: read", *names.values()}
    assert stats.stage_seconds[names[culprit]] >= 10 * 0.01
    assert (stats.batches, stats.samples) == (10, 40)
    assert 0 < stats.wait_seconds <= stats.elapsed_seconds


def test_a_slow_read_is_named(dataset: SlipstreamDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading from the cache is a stage too."""
    loader = SlipstreamLoader(dataset, batch_size=4, exclude_fields=["y"])
    load = type(loader.cache).load_batch

    def slow_load(*arguments: Any, **options: Any) -> Any:
        time.sleep(0.01)
        return load(*arguments, **options)

    monkeypatch.setattr(type(loader.cache), "load_batch", slow_load)
    list(loader)
    assert loader.stats().stage_seconds.keys() == {"x: read"}
    assert loader.stats().stage_seconds["x: read"] >= 10 * 0.01


def test_nothing_measured_is_said() -> None:
    """No division by nothing."""
    assert LoaderStats().verdict == "nothing was measured yet"
    assert LoaderStats().wait_share == 0


def test_batches_without_a_stage_have_a_verdict() -> None:
    """All fields are left out, or the numbers were reset in the middle of a batch."""
    stats = LoaderStats(batches=1, elapsed_seconds=1.0, wait_seconds=1.0)
    assert stats.verdict == "no stage was measured yet"


def test_replay_serves_one_batch_and_leaves_no_trace(dataset: SlipstreamDataset) -> None:
    """As many as an epoch has; the run's place stays what it was."""
    loader = SlipstreamLoader(dataset, batch_size=4, seed=0)
    next(iter(loader))
    state = loader.state_dict()
    batches = list(loader.replay())
    assert len(batches) == len(loader) == 10
    assert all(batch is batches[0] for batch in batches)
    assert loader.state_dict() == state


def test_an_epoch_without_batches_is_replayed(dataset: SlipstreamDataset) -> None:
    """As often as it has batches: not at all."""
    loader = SlipstreamLoader(dataset, batch_sampler=[], verbose=False)
    assert list(loader.replay()) == list(loader) == []
