"""Images that cannot be decoded, under each policy."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream_decoders import (
    CorruptImageError,
    DecodeCenterCrop,
    DecodeOnly,
    DecodeRandomResizedCrop,
    Normalize,
)
from slipstream_loader import SlipstreamDataset, SlipstreamLoader

pytestmark = pytest.mark.timeout(120)

NUM, BAD = 24, [3, 10, 11, 23]


def jpeg(number: int) -> bytes:
    """A JPEG of noise, most of whose bytes are the scan."""
    pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SlipstreamDataset:
    """Truncated and unreadable images among good ones."""
    samples = [{"image": jpeg(number), "label": number} for number in range(NUM)]
    samples[3]["image"] = jpeg(3)[:-700]
    samples[10]["image"] = jpeg(10)[:-500]
    samples[11]["image"] = b"no image"
    samples[23]["image"] = jpeg(23)[:100]
    return SlipstreamDataset(samples, cache_dir=tmp_path_factory.mktemp("caches"))


def loader(dataset: SlipstreamDataset, on_error: Any, **options: Any) -> SlipstreamLoader:
    """A loader of centre crops in order."""
    stages = {"image": [DecodeCenterCrop(16)]}
    options = {"batch_size": 6, "shuffle": False, "seed": 4, "pipelines": stages, **options}
    return SlipstreamLoader(dataset, on_error=on_error, **options)


def by_label(batches: list[dict[str, Any]]) -> dict[int, torch.Tensor]:
    """Label -> image."""
    return {
        int(label): image
        for batch in batches
        for label, image in zip(batch["label"], batch["image"], strict=True)
    }


def test_raise_names_all_bad_samples_of_the_batch(dataset: SlipstreamDataset) -> None:
    """The default."""
    iterator = iter(loader(dataset, "raise", batch_size=12))
    with pytest.raises(CorruptImageError) as caught:
        next(iterator)
    assert caught.value.sample_ids == [3, 10, 11]


def test_skip_leaves_bad_samples_out(dataset: SlipstreamDataset) -> None:
    """Batches are smaller, in every epoch; a batch of which nothing is left does not come."""
    run = loader(dataset, "skip")
    for _ in range(2):
        ids = [batch["_indices"].tolist() for batch in run]
        assert [i for batch in ids for i in batch] == [i for i in range(NUM) if i not in BAD]
        assert [len(batch) for batch in ids] == [5, 4, 6, 5]
    assert run.stats().num_failures == len(BAD)
    assert sorted(run.stats().failures) == BAD
    single = loader(dataset, "skip", batch_size=1)
    assert len(list(single)) == NUM - len(BAD)


def test_zero_keeps_the_place_and_marks_it(dataset: SlipstreamDataset) -> None:
    """Labels stay, images are zero before the next stage, the mask says so; stats count."""
    stages = {"image": [DecodeCenterCrop(16), Normalize((0, 0, 0), (1, 1, 1))]}
    run = loader(dataset, "zero", pipelines=stages)
    batches = list(run)
    valid = torch.cat([batch["_valid"] for batch in batches])
    assert (~valid).nonzero().flatten().tolist() == BAD
    for label, image in by_label(batches).items():
        assert bool(image.any()) == (label not in BAD)
    assert torch.cat([batch["label"] for batch in batches]).tolist() == list(range(NUM))
    stats = run.stats()
    assert stats.num_failures == len(BAD)
    assert sorted(stats.failures) == BAD
    whole = next(iter(loader(dataset, "zero", pipelines={"image": [DecodeOnly()]}, batch_size=12)))
    assert whole["image"][3].shape == (30, 40, 3)
    assert not whole["image"][3].any()
    assert whole["image"][11].shape == (1, 1, 3)


def test_replace_takes_good_samples_the_same_ones_every_time(dataset: SlipstreamDataset) -> None:
    """Image and label come from the replacement; which one depends on seed, epoch and id only."""
    run = loader(dataset, "replace")
    served: dict[int, list[int]] = {}
    for batch_size in (6, 4, 24):
        again = loader(dataset, "replace", batch_size=batch_size)
        for epoch in (0, 1):
            again.set_epoch(epoch)
            batches = list(again)
            ids = torch.cat([batch["_indices"] for batch in batches]).tolist()
            valid = torch.cat([batch["_valid"] for batch in batches]).tolist()
            labels = torch.cat([batch["label"] for batch in batches]).tolist()
            assert ids == labels
            assert not set(ids) & set(BAD)
            assert [place for place, good in enumerate(valid) if not good] == BAD
            assert served.setdefault(epoch, ids) == ids
    assert served[0] != served[1]
    images = by_label(list(run))
    for label, image in images.items():
        reference = by_label(list(loader(dataset, "skip")))[label]
        assert torch.equal(image, reference)


def test_replacements_come_from_the_subset(dataset: SlipstreamDataset) -> None:
    """``indices`` bounds them too; if nothing in it is good, that is an error."""
    run = loader(dataset, "replace", indices=[2, 3, 4])
    assert set(torch.cat([b["_indices"] for b in run]).tolist()) <= {2, 4}
    with pytest.raises(CorruptImageError, match="no sample could replace"):
        next(iter(loader(dataset, "replace", indices=BAD)))


def test_good_samples_are_the_same_under_every_policy(dataset: SlipstreamDataset) -> None:
    """Random crops too: a neighbour's failure changes nothing."""
    stages = {"image": [DecodeRandomResizedCrop(12)]}
    runs = [
        by_label(list(loader(dataset, policy, pipelines=stages)))
        for policy in ("skip", "zero", "replace")
    ]
    for label in set(range(NUM)) - set(BAD):
        for other in runs[1:]:
            assert torch.equal(runs[0][label], other[label])


def test_policies_that_do_not_exist_or_do_not_fit_are_refused(
    dataset: SlipstreamDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``skip`` would make ranks unequal, and training hang."""
    with pytest.raises(ValueError, match="on_error"):
        loader(dataset, "ignore")
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="unequal"):
        loader(dataset, "skip")
    assert np.concatenate([b["_indices"] for b in loader(dataset, "zero")]).tolist() == list(
        range(0, NUM, 2)
    )
