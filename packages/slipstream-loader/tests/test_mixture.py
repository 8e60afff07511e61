"""Mixtures and balanced classes: exact shares, even use, ranks, resume, statistics."""

from __future__ import annotations

import io
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from slipstream_cache import FieldTypeError, SampleCache, StorageOptions, subset
from slipstream_decoders import DecodeCenterCrop
from slipstream_loader import Mixture, SlipstreamDataset, SlipstreamLoader, StateError, mix
from slipstream_loader.groups import Groups
from slipstream_loader.plan import Selection
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.ranks import Ranks

pytestmark = pytest.mark.timeout(120)


def jpeg(seed: int) -> bytes:
    """A JPEG file of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SampleCache]:
    """Two caches of 30 and 8 samples; the second one has one more field."""
    folder = tmp_path_factory.mktemp("caches")
    large = [{"image": jpeg(n), "label": n % 7 % 3} for n in range(30)]
    small = [{"image": jpeg(100 + n), "label": n % 2, "name": f"s{n}"} for n in range(8)]
    return {
        name: prepare_cache(SlipstreamDataset(samples, cache_dir=folder))
        for name, samples in (("large", large), ("small", small))
    }


group_shapes = st.lists(st.tuples(st.integers(1, 6), st.floats(0.1, 5)), min_size=1, max_size=5)


@settings(max_examples=40)
@given(shape=group_shapes, extra=st.integers(0, 40), seed=st.integers(0, 9))
def test_shares_are_exact_and_samples_come_evenly(
    shape: list[tuple[int, float]], extra: int, seed: int
) -> None:
    """In every epoch each group has its share; over epochs no sample is ahead by more than one."""
    codes = np.repeat(np.arange(len(shape)), [size for size, _ in shape])
    shares = np.array([share for _, share in shape])
    num_samples = 60 * len(shape) + extra
    groups = Groups.of_codes(np.random.default_rng(seed).permutation(codes), shares, num_samples)
    ideal = shares / shares.sum() * num_samples
    assert (np.abs(groups.counts - ideal) < 1).all()
    code_of = np.empty(codes.size, np.int64)
    code_of[groups.ids] = np.repeat(np.arange(len(shape)), np.diff(groups.starts))
    seen = np.zeros(codes.size, np.int64)
    for epoch in range(3):
        ids = groups.draws(seed, epoch)
        assert (np.bincount(code_of[ids], minlength=len(shape)) == groups.counts).all()
        seen += np.bincount(ids, minlength=codes.size)
        for code in range(len(shape)):
            times = seen[code_of == code]
            assert times.max() - times.min() <= 1
        assert (ids == groups.draws(seed, epoch)).all()


def test_orders_differ_by_seed_and_epoch_and_mix_well() -> None:
    """Rounds and epochs have orders of their own, and groups do not come in blocks."""
    groups = Groups.of_codes(np.repeat([0, 1], [100, 100]), np.array([1.0, 1.0]))
    first = groups.draws(1, 0)
    assert (first != groups.draws(2, 0)).any()
    assert (first != groups.draws(1, 1)).any()
    assert 60 < np.count_nonzero(np.diff(first // 100)) < 140  # runs of a fair coin: 100


def test_groups_that_cannot_be() -> None:
    """Shares without samples, below zero, or too small for an epoch are refused."""
    codes = np.array([0, 0, 1])
    with pytest.raises(ValueError, match="no samples"):
        Groups.of_codes(codes, np.array([1.0, 1.0, 1.0]))
    for shares in ([1.0, -1.0], [0.0, 0.0], [np.nan, 1.0]):
        with pytest.raises(ValueError, match="finite"):
            Groups.of_codes(codes, np.array(shares))
    with pytest.raises(ValueError, match="too short"):
        Groups.of_codes(codes, np.array([1000.0, 1.0]), 10)


def served(loader: SlipstreamLoader) -> list[int]:
    """The ids of an epoch."""
    return [i for batch in loader for i in batch["_indices"].tolist()]


def test_a_loader_of_a_mixture(sources: dict[str, SampleCache]) -> None:
    """Shares are exact in every epoch, and counted by source; common fields are served."""
    mixture = mix(sources, {"large": 1, "small": 3}, epoch_samples=40)
    assert list(mixture.fields) == ["image", "label"]
    loader = SlipstreamLoader(
        mixture, 8, seed=3, pipelines={"image": [DecodeCenterCrop(8)]}, verbose=False
    )
    assert len(loader) == 5
    epochs = [served(loader) for _ in range(3)]
    for ids in epochs:
        assert np.bincount(mixture.source_of(np.array(ids))).tolist() == [10, 30]
    assert sorted(i for ids in epochs for i in ids if i < 30) == [*range(30)]
    assert loader.stats().samples_by_source == {"large": 30, "small": 90}
    assert loader.stats().failures_by_source == {}
    again = SlipstreamLoader(mixture, 5, seed=3, drop_last=False, verbose=False)
    assert [served(again) for _ in range(3)] == epochs


def test_the_default_share_is_the_size(sources: dict[str, SampleCache]) -> None:
    """A mixture without weights serves every sample once; without shuffling, in order."""
    loader = SlipstreamLoader(mix(sources), 38, verbose=False)
    assert sorted(served(loader)) == [*range(38)]
    ordered = SlipstreamLoader(
        mix(sources, {"small": 1}, epoch_samples=99), 38, shuffle=False, verbose=False
    )
    assert served(ordered) == [*range(38)]
    only = SlipstreamLoader(mix(sources, {"small": 1}), 8, verbose=False)
    assert sorted(served(only)) == [*range(30, 38)]


def test_bad_samples_are_counted_by_source(sources: dict[str, SampleCache], tmp_path: Path) -> None:
    """Failures are booked on the source that they are of."""
    rows = [{"image": jpeg(1)[:200] + b"\xff\xd9", "label": 0}, {"image": jpeg(2), "label": 1}]
    bad = prepare_cache(SlipstreamDataset(rows, cache_dir=tmp_path))
    mixture = mix({"good": sources["large"], "bad": bad})
    loader = SlipstreamLoader(
        mixture,
        32,
        pipelines={"image": [DecodeCenterCrop(8)]},
        on_error="zero",
        verbose=False,
    )
    list(loader)
    assert loader.stats().failures_by_source == {"good": 0, "bad": 1}


def ids_of(selection: Selection, seed: int, epoch: int, position: int = 0) -> Any:
    plan = selection.plan(seed, epoch, position)
    return plan.sample_ids[~plan.is_padding], plan


def test_ranks_share_an_epoch_and_resume_at_another_number(
    sources: dict[str, SampleCache],
) -> None:
    """Together ranks serve the order of one process, also the rest of an epoch begun by others."""
    groups = mix(sources, {"large": 2, "small": 1}, epoch_samples=47).groups()

    def selection(rank: int, world_size: int, batch_size: int) -> Selection:
        ranks = Ranks(rank=rank, world_size=world_size, local_world_size=world_size)
        return Selection(38, batch_size, "random", False, ranks, groups=groups)

    whole, plan = ids_of(selection(0, 1, 4), 5, 2)
    assert whole.size == plan.end == 47
    for world_size, position in ((3, 0), (2, 12), (4, 8)):
        parts = [
            ids_of(selection(rank, world_size, 2), 5, 2, position)[0] for rank in range(world_size)
        ]
        together = np.full(47 - position, -1)
        for rank, ids in enumerate(parts):
            together[rank::world_size] = ids
        assert (together == whole[position:]).all()
    every = [selection(0, 1, 4).plan(5, 2), selection(0, 1, 4).plan(5, 2, 20)]
    assert (every[0].occurrences[20:] == every[1].occurrences).all()


def test_resume_in_the_middle(sources: dict[str, SampleCache]) -> None:
    """A state goes on where it was, with another batch size; one of other shares is refused."""
    mixture = mix(sources, {"large": 1, "small": 1})
    loader = SlipstreamLoader(mixture, 4, seed=9, drop_last=False, verbose=False)
    whole = served(loader)
    stopped = SlipstreamLoader(mixture, 4, seed=9, drop_last=False, verbose=False)
    iterator = iter(stopped)
    first = [i for _ in range(3) for i in next(iterator)["_indices"].tolist()]
    state = stopped.state_dict()
    iterator.close()
    resumed = SlipstreamLoader(mixture, 7, seed=0, drop_last=False, verbose=False)
    resumed.load_state_dict(state)
    assert first + served(resumed) == whole
    other = SlipstreamLoader(mix(sources, {"large": 1, "small": 2}), 4, verbose=False)
    with pytest.raises(StateError, match="order"):
        other.load_state_dict(state)


def test_mixtures_of_views_paths_and_pickles(
    sources: dict[str, SampleCache], tmp_path: Path
) -> None:
    """Anything that is a data set can be mixed; mixtures can be pickled, indices restrict them."""
    rows = [{"image": jpeg(n), "label": n} for n in range(4)]
    cache_options = StorageOptions(fields=("image", "label"))
    named = SlipstreamDataset(rows, cache_dir=tmp_path, storage_options=cache_options)
    mixture = mix({"view": subset(sources["large"], [4, 2]), "rows": named})
    again: Mixture = pickle.loads(pickle.dumps(mixture))
    assert [again[i]["label"] for i in range(6)] == [4 % 7 % 3, 2, 0, 1, 2, 3]
    assert again.key == mixture.key
    assert "view: 2 samples" in repr(mixture)
    loader = SlipstreamLoader(mixture, 3, indices=[1, 2, 3], verbose=False)
    assert sorted(served(loader)) == [1, 2, 3]


def test_what_cannot_be_mixed(sources: dict[str, SampleCache], tmp_path: Path) -> None:
    """No source, unknown names, fields that differ, and orders that keep no shares."""
    with pytest.raises(ValueError, match="nothing"):
        mix({})
    with pytest.raises(ValueError, match="'tiny'"):
        mix(sources, {"tiny": 1})
    with pytest.raises(ValueError, match="epoch_samples"):
        mix(sources, epoch_samples=0)
    text = prepare_cache(SlipstreamDataset([{"label": "a"}], cache_dir=tmp_path))
    with pytest.raises(FieldTypeError, match="'label'"):
        mix({**sources, "text": text})
    other = prepare_cache(SlipstreamDataset([{"x": 1}], cache_dir=tmp_path))
    with pytest.raises(FieldTypeError, match="in common"):
        mix({**sources, "other": other})
    for order in ("quasi_random", "contiguous"):
        with pytest.raises(ValueError, match="random order"):
            SlipstreamLoader(mix(sources), 4, order=order, verbose=False)  # type: ignore[arg-type]


def test_classes_come_equally_often(
    sources: dict[str, SampleCache], caplog: pytest.LogCaptureFixture
) -> None:
    """Each value has its share of every epoch, also in a subset; the index is made if need be."""
    cache = sources["large"]
    label = np.array([cache[n]["label"] for n in range(30)])
    assert len(set(np.bincount(label).tolist())) > 1
    with caplog.at_level(logging.INFO, "slipstream_loader"):
        loader = SlipstreamLoader(cache, 30, balance="label", seed=1, verbose=False)
    assert "indexing" in caplog.text
    for _ in range(3):
        assert np.bincount(label[served(loader)]).tolist() == [10, 10, 10]
    some = np.flatnonzero(label > 0)
    loader = SlipstreamLoader(
        cache, 4, balance="label", indices=some, drop_last=False, verbose=False
    )
    ids = served(loader)
    assert len(ids) == some.size
    counts = np.bincount(label[ids], minlength=3)
    assert counts[0] == 0
    assert abs(counts[1] - counts[2]) <= 1
    assert set(ids) <= set(some.tolist())


def test_balance_excludes_other_choices(sources: dict[str, SampleCache]) -> None:
    """It is an order of its own."""
    cache = sources["large"]
    for options in ({"weights": np.ones(30)}, {"sampler": range(30)}, {"shuffle": False}):
        with pytest.raises(ValueError, match="balance needs"):
            SlipstreamLoader(cache, 4, balance="label", verbose=False, **options)  # type: ignore[arg-type]
    with pytest.raises(FieldTypeError):
        SlipstreamLoader(cache, 4, balance="image", verbose=False)
