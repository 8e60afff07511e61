"""Loaders of views: subsets and concatenations serve what their caches hold."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream_cache import SampleCache, concatenate, subset
from slipstream_decoders import DecodeRandomResizedCrop
from slipstream_loader import (
    DatasetArgumentError,
    SlipstreamDataset,
    SlipstreamLoader,
    StateError,
    compute_normalization_stats,
    decode_image,
    prepare_cache,
    write_seek_points,
)

pytestmark = pytest.mark.timeout(120)


def _jpeg(number: int) -> bytes:
    rng = np.random.default_rng(number)
    image = Image.fromarray(rng.integers(0, 256, (6, 5, 3), np.uint8)).resize((70, 50 + number))
    file = io.BytesIO()
    image.save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> list[SampleCache]:
    """Two caches of twelve images with consecutive labels; the first one has seek points."""
    root = tmp_path_factory.mktemp("caches")
    built = [
        prepare_cache(
            SlipstreamDataset(
                [{"image": _jpeg(i), "label": i} for i in range(first, first + 12)], cache_dir=root
            )
        )
        for first in (0, 12)
    ]
    write_seek_points(built[0], "image", verbose=False)
    return built


def _labels(loader: SlipstreamLoader) -> list[int]:
    return [label for batch in loader for label in batch["label"].tolist()]


def test_an_epoch_of_a_view_has_each_of_its_samples_once(caches: list[SampleCache]) -> None:
    """In the view's order when it is not shuffled, and all of them when it is."""
    some = subset(caches[0], [7, 3, 5])
    assert _labels(SlipstreamLoader(some, 2, shuffle=False)) == [7, 3, 5]
    both = concatenate([caches[1], some])
    assert _labels(SlipstreamLoader(both, 4, shuffle=False)) == [*range(12, 24), 7, 3, 5]
    shuffled = SlipstreamLoader(both, 4, seed=1, drop_last=False)
    assert sorted(_labels(shuffled)) == sorted([*range(12, 24), 7, 3, 5])


def test_crops_of_a_view_are_those_of_its_samples(caches: list[SampleCache]) -> None:
    """The box is drawn for the view's sample id; the pixels come from the right image."""
    whole = concatenate(caches)
    view = subset(whole, np.arange(len(whole))[::-1].copy())
    pipelines = {"image": [DecodeRandomResizedCrop(16, seed=3)]}
    options = {"batch_size": 24, "shuffle": False, "pipelines": pipelines, "seed": 0}
    straight = next(iter(SlipstreamLoader(whole, **options)))
    mirrored = next(iter(SlipstreamLoader(view, **options)))
    assert torch.equal(straight["label"], mirrored["label"].flip(0))
    assert not torch.equal(straight["image"], mirrored["image"].flip(0))
    again = next(iter(SlipstreamLoader(view, **options)))
    assert torch.equal(mirrored["image"], again["image"])


def test_raw_payloads_of_a_view_decode_to_its_images(caches: list[SampleCache]) -> None:
    """Bytes come back as they were built."""
    view = concatenate([subset(caches[1], [2]), caches[0]])
    batch = next(iter(SlipstreamLoader(view, 13, shuffle=False)))["image"]
    ends = (batch["offsets"] + batch["sizes"]).tolist()
    found = [
        batch["data"][begin:end].numpy().tobytes()
        for begin, end in zip(batch["offsets"].tolist(), ends, strict=True)
    ]
    assert found == [_jpeg(14), *(_jpeg(number) for number in range(12))]


def test_a_state_of_another_view_is_refused(caches: list[SampleCache]) -> None:
    """The key of a view says which samples it has."""
    loader = SlipstreamLoader(subset(caches[0], [0, 1, 2, 3]), 2, seed=0)
    next(iter(loader))
    state = loader.state_dict()
    SlipstreamLoader(subset(caches[0], [0, 1, 2, 3]), 2, seed=0).load_state_dict(state)
    with pytest.raises(StateError):
        SlipstreamLoader(subset(caches[0], [0, 1, 3, 2]), 2, seed=0).load_state_dict(state)


def test_a_data_set_of_a_view_reads_single_samples(caches: list[SampleCache]) -> None:
    """With the decoded image and its label, and a name that says what it is."""
    dataset = SlipstreamDataset(subset(caches[1], [4]), decode_images=True)
    assert len(dataset) == 1
    assert dataset[0]["label"] == 16
    assert dataset[0]["image"].tobytes() == decode_image(_jpeg(16), to_pil=True).tobytes()
    assert "a view (Subset) of 1 slipcaches" in repr(dataset)


def test_statistics_of_a_view_are_of_its_images(caches: list[SampleCache]) -> None:
    """A concatenation of one cache with itself has the statistics of that cache."""
    once = compute_normalization_stats(caches[0], verbose=False)
    twice = compute_normalization_stats(concatenate([caches[0], caches[0]]), verbose=False)
    assert once == twice


def test_a_view_has_no_cache_of_its_own(caches: list[SampleCache], tmp_path: Path) -> None:
    """Neither a path nor storage options, and nothing is built."""
    dataset = SlipstreamDataset(concatenate(caches), cache_dir=tmp_path)
    with pytest.raises(DatasetArgumentError, match="no directory of its own"):
        _ = dataset.cache_path
    with pytest.raises(DatasetArgumentError, match="view"):
        prepare_cache(dataset)
    assert not list(tmp_path.iterdir())


def test_planes_and_seek_points_of_a_view_are_made_in_its_caches(tmp_path: Path) -> None:
    """A loader of a concatenation makes both where they are missing, and its pixels are those of
    a cache with all the samples."""
    images = [{"image": _jpeg(number)} for number in range(6)]
    parts = [
        prepare_cache(SlipstreamDataset(images[begin : begin + 3], cache_dir=tmp_path))
        for begin in (0, 3)
    ]
    whole = prepare_cache(SlipstreamDataset(images, cache_dir=tmp_path))
    for image_format in ("jpeg", "yuv420"):
        one, other = (
            next(
                iter(
                    SlipstreamLoader(
                        source,
                        6,
                        shuffle=False,
                        seed=0,
                        image_format=image_format,
                        pipelines={"image": [DecodeRandomResizedCrop(16)]},
                    )
                )
            )["image"]
            for source in (concatenate(parts), whole)
        )
        assert torch.equal(one, other)
    for part in parts:
        assert {path.name for path in (part.cache_dir / "derived").iterdir()} >= {
            "image.seek",
            "image.yuv420",
        }
