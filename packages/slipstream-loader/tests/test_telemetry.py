"""The verdict names what was slowed, whichever it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader.telemetry import LoaderStats

pytestmark = pytest.mark.timeout(120)


def slow(seconds: float) -> Callable[[Any], Any]:
    """A stage that takes this long."""

    def slow_stage(value: Any) -> Any:
        time.sleep(seconds)
        return value

    return slow_stage


@pytest.fixture
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SlipstreamDataset:
    """Two fields of numbers."""
    samples = [{"x": number, "y": float(number)} for number in range(40)]
    return SlipstreamDataset(samples, cache_dir=tmp_path_factory.mktemp("caches"))


@pytest.mark.parametrize("culprit", ["x", "y", "batch", "training"])
def test_the_verdict_names_the_culprit(dataset: SlipstreamDataset, culprit: str) -> None:
    """Each stage slowed in turn, and the training loop."""

    def whole_batch(batch: Any) -> Any:
        time.sleep(0.02 if culprit == "batch" else 0)
        return batch

    loader = SlipstreamLoader(
        dataset,
        batch_size=4,
        pipelines={name: [slow(0.02 if culprit == name else 0)] for name in ("x", "y")},
        after_batch_transforms=[whole_batch],
    )
    for _ in range(3):
        for _ in loader:
            time.sleep(0.04 if culprit == "training" else 0)
    stats = loader.stats()
    expected = {
        "x": "bound by x: slow_stage",
        "y": "bound by y: slow_stage",
        "batch": "bound by whole_batch",
        "training": "bound by the training loop",
    }
    assert stats.verdict.startswith(expected[culprit]), stats
    assert (stats.wait_share > 0.3) == (culprit != "training")
    assert (stats.ready_seconds > 0.3) == (culprit == "training")


def test_a_slow_read_is_named(dataset: SlipstreamDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading from the cache is a stage too."""
    loader = SlipstreamLoader(dataset, batch_size=4, exclude_fields=["y"])
    load = type(loader.cache).load_batch

    def slow_load(*arguments: Any, **options: Any) -> Any:
        time.sleep(0.02)
        return load(*arguments, **options)

    monkeypatch.setattr(type(loader.cache), "load_batch", slow_load)
    list(loader)
    assert loader.stats().verdict.startswith("bound by x: read")


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
