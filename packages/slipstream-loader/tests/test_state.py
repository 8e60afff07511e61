"""state_dict and load_state_dict: where a run is, and going on from there."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipstream_decoders import BatchContext, Stage
from slipstream_loader import SlipstreamDataset, SlipstreamLoader, StateError

pytestmark = pytest.mark.timeout(120)

NUM = 41


class Draw(Stage):
    """Adds a random number of its own to each sample's value."""

    def apply(self, batch: Any, context: BatchContext) -> Any:
        return batch + torch.from_numpy(context.uniforms(1)[:, 0])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SlipstreamDataset:
    """Numbers, so that loading costs nothing."""
    samples = [{"x": float(number)} for number in range(NUM)]
    return SlipstreamDataset(samples, cache_dir=tmp_path_factory.mktemp("caches"))


def loader(dataset: SlipstreamDataset, **options: Any) -> SlipstreamLoader:
    """A loader whose values are random numbers that belong to the samples."""
    return SlipstreamLoader(
        dataset, **{"batch_size": 4, "seed": 9, "pipelines": {"x": [Draw()]}, **options}
    )


def values(batches: list[dict[str, Any]]) -> list[float]:
    """The random values of some batches, one after another."""
    return [value for batch in batches for value in batch["x"].tolist()]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.integers(0, 10),
    first=st.integers(1, 9),
    second=st.integers(1, 9),
    ahead=st.integers(1, 4),
    order=st.sampled_from(["random", "sequential", "quasi_random"]),
)
def test_a_resumed_run_sees_what_an_unbroken_one_does(
    dataset: SlipstreamDataset, steps: int, first: int, second: int, ahead: int, order: Any
) -> None:
    """Values and order, at any break, with another batch size; batches made ahead do not count."""
    options: dict[str, Any] = {"order": order, "drop_last": False, "batches_ahead": ahead}
    unbroken = loader(dataset, batch_size=5, **options)
    expected = values(list(unbroken)) + values(list(unbroken))
    before = loader(dataset, batch_size=first, **options)
    iterator = iter(before)
    done = values([batch for _, batch in zip(range(steps), iterator, strict=False)])
    state = json.loads(json.dumps(before.state_dict()))
    after = loader(dataset, batch_size=second, seed=1234, **options)
    after.load_state_dict(state)
    assert after.state_dict() == before.state_dict()
    rest = values(list(after))
    if len(done) < NUM:  # else the epoch was over, and the next one came
        rest += values(list(after))
    assert done + rest == expected


def test_the_state_after_the_last_batch_is_the_next_epoch(dataset: SlipstreamDataset) -> None:
    """Whether or not the loop saw StopIteration; with and without a dropped rest."""
    for options in ({"drop_last": False}, {"drop_last": True}, {"repeats": 2}):
        run = loader(dataset, **options)
        iterator = iter(run)
        for _ in range(len(run)):
            next(iterator)
        state = run.state_dict()
        assert (state["epoch"], state["samples"]) == (1, 0)
        assert next(iterator, None) is None
        assert run.state_dict() == state
        del iterator
        assert run.state_dict() == state


def test_breaking_out_of_a_loop_keeps_the_place(dataset: SlipstreamDataset) -> None:
    """The iterator is gone, its place is not; set_epoch to another epoch forgets it."""
    run = loader(dataset)
    for number, _ in enumerate(run):
        if number == 2:
            break
    state = run.state_dict()
    assert (state["epoch"], state["samples"]) == (0, 12)
    run.set_epoch(5)
    assert (run.state_dict()["epoch"], run.state_dict()["samples"]) == (5, 0)


def test_len_is_that_of_a_whole_epoch(dataset: SlipstreamDataset) -> None:
    """Also after a resume, where the first epoch has fewer batches left."""
    run = loader(dataset, drop_last=False)
    iterator = iter(run)
    for _ in range(3):
        next(iterator)
    again = loader(dataset, drop_last=False)
    again.load_state_dict(run.state_dict())
    assert len(again) == len(run) == 11
    assert len(list(again)) == 8
    assert len(list(again)) == 11


def test_set_epoch_after_a_load(dataset: SlipstreamDataset) -> None:
    """The resumed epoch goes on (trainers set it); another one starts at its beginning."""
    run = loader(dataset)
    iterator = iter(run)
    next(iterator)
    state = run.state_dict()
    for epoch, expected in ((0, 9), (1, 10)):
        again = loader(dataset)
        again.load_state_dict(state)
        again.set_epoch(epoch)
        assert len(list(again)) == expected


def test_trainers_set_the_epoch_after_making_the_iterator(dataset: SlipstreamDataset) -> None:
    """... and may make several: the epoch is the one that was set; in the middle of an epoch,
    setting it again does not lose the place."""
    run = loader(dataset)
    expected = [values(list(run)), values(list(run))]
    for epoch in (0, 1):
        iter(run)
        iterator = iter(run)
        run.set_epoch(epoch)
        seen = values([next(iterator), next(iterator)])
        run.set_epoch(epoch)
        assert (run.state_dict()["epoch"], run.state_dict()["samples"]) == (epoch, 8)
        assert seen + values(list(iterator)) == expected[epoch]
    run.set_epoch(1)
    assert (run.state_dict()["epoch"], run.state_dict()["samples"]) == (1, 0)
    resumed = loader(dataset)
    resumed.load_state_dict({**run.state_dict(), "epoch": 0, "samples": 12})
    iter(resumed)
    iterator = iter(resumed)
    resumed.set_epoch(0)
    assert values(list(iterator)) == expected[0][12:]


def test_states_of_other_runs_are_refused(dataset: SlipstreamDataset, tmp_path: Path) -> None:
    """Another data set, order, subset, version, and things that are no state at all."""
    state = loader(dataset).state_dict()
    other = SlipstreamDataset([{"x": 1.0}] * NUM, cache_dir=tmp_path)
    for different, name in [
        (loader(other), "cache_key"),
        (loader(dataset, shuffle=False), "order"),
        (loader(dataset, indices=range(20)), "order"),
        (loader(dataset, repeats=2), "order"),
    ]:
        with pytest.raises(StateError, match=name):
            different.load_state_dict(state)
    damaged = [{**state, name: value} for name in ("epoch", "samples") for value in (-1, "1")]
    versions = [{**state, "order_version": 0}, {**state, "version": 99}]
    for wrong in (*damaged, *versions, {**state, "seed": None}, {}, {"epoch": 1}):
        with pytest.raises(StateError):
            loader(dataset).load_state_dict(wrong)


def test_a_state_says_nothing_of_batches_or_threads(dataset: SlipstreamDataset) -> None:
    """Numbers and text only: it can be saved anywhere."""
    at_start = loader(dataset, batch_size=7, num_threads=1)
    at_start.set_epoch(np.int64(0))
    state = at_start.state_dict()
    assert state == loader(dataset, batch_size=2, num_threads=2).state_dict()
    assert all(type(value) in (int, str) for value in state.values())
    with pytest.raises(TypeError):
        at_start.set_epoch(1.5)  # type: ignore[arg-type]


def test_a_pickled_loader_goes_on_where_it_was(dataset: SlipstreamDataset) -> None:
    """With the seed that it drew; spawned processes get loaders this way."""
    run = loader(dataset, seed=None, drop_last=False)
    iterator = iter(run)
    done = values([next(iterator), next(iterator)])
    copy = pickle.loads(pickle.dumps(run))
    rest = values(list(iterator))
    assert values(list(copy)) == rest
    assert copy.seed == run.seed
    np.testing.assert_array_equal(len(done) + len(rest), NUM)


def test_repeated_augmentation_gives_each_repeat_its_own_numbers(
    dataset: SlipstreamDataset,
) -> None:
    """Repeats of a sample stand together and differ; weighted repeats differ too."""
    run = loader(dataset, repeats=3, batch_size=6)
    for batch in run:
        ids = batch["_indices"].tolist()
        assert ids[0] == ids[1] == ids[2]
        assert len(set(batch["x"].tolist())) == 6
    drawn = loader(dataset, weights=[1.0] + [0.0] * (NUM - 1), drop_last=False)
    collected = values(list(drawn))
    assert len(set(collected)) == len(collected) == NUM
    assert all(0 <= value < 1 for value in collected)
