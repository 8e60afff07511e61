"""SlipstreamLoader from end to end on generated images."""

from __future__ import annotations

import gc
import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from slipstream_decoders import (
    CorruptImageError,
    DecodeCenterCrop,
    DecodeOnly,
    DecodeRandomResizedCrop,
    MultiCropPipeline,
    NamedCopies,
    Normalize,
    Stage,
)
from slipstream_loader import (
    EmptyDatasetError,
    LoaderError,
    SlipstreamDataset,
    SlipstreamLoader,
    StageError,
)

pytestmark = pytest.mark.timeout(120)

NUM = 37


def jpeg(number: int) -> bytes:
    """A small JPEG whose size and colours depend on the number."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 256, (6, 5, 3), np.uint8)
    image = Image.fromarray(pixels).resize((40 + number, 90 - number))
    file = io.BytesIO()
    image.save(file, "JPEG")
    return file.getvalue()


def samples(num: int = NUM) -> list[dict[str, Any]]:
    """Samples with every kind of field."""
    return [
        {
            "image": jpeg(number),
            "label": number % 5,
            "name": f"sample {number} ü",
            "vector": np.arange(3, dtype=np.float16) + number,
            "good": number % 2 == 0,
            "meta": {"number": number},
        }
        for number in range(num)
    ]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SlipstreamDataset:
    """A data set of ``samples()`` with a cache directory of its own."""
    return SlipstreamDataset(samples(), cache_dir=tmp_path_factory.mktemp("caches"))


def _loader(dataset: SlipstreamDataset, **options: Any) -> SlipstreamLoader:
    stages = {"image": [DecodeRandomResizedCrop(24)]}
    return SlipstreamLoader(dataset, **{"batch_size": 8, "pipelines": stages, "seed": 3, **options})


def _by_sample(batches: list[dict[str, Any]]) -> dict[int, torch.Tensor]:
    return {
        int(i): image
        for batch in batches
        for i, image in zip(batch["_indices"], batch["image"], strict=True)
    }


def test_a_batch_holds_every_field_in_its_type(dataset: SlipstreamDataset) -> None:
    """Images as tensors, numbers with their dtype and shape, text and JSON as lists."""
    for batch in _loader(dataset, batch_size=8):
        ids = batch["_indices"].tolist()
        assert batch["_indices"].dtype == torch.int64
        assert batch["image"].shape == (len(ids), 3, 24, 24)
        assert batch["image"].dtype == torch.uint8
        assert batch["label"].tolist() == [i % 5 for i in ids]
        assert batch["label"].dtype == torch.int64
        assert batch["good"].dtype == torch.bool
        assert batch["vector"].dtype == torch.float16
        assert batch["vector"].tolist() == [[i, i + 1, i + 2] for i in ids]
        assert batch["name"] == [f"sample {i} ü" for i in ids]
        assert batch["meta"] == [{"number": i} for i in ids]


def test_changing_a_batch_changes_no_other(
    dataset: SlipstreamDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sample ids and masks are its own, not the epoch's."""
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    loader = _loader(dataset, drop_last=False)
    iterator = iter(loader)
    batch = next(iterator)
    assert iterator._progress is not None
    plan = iterator._progress.plan
    expected = plan.sample_ids[:8].tolist()
    batch["_indices"] -= 5
    batch["_padding"][:] = True
    assert plan.sample_ids[:8].tolist() == expected
    assert not plan.is_padding[:8].any()
    iterator.close()


class _Gives(Stage):
    """Gives the batch these items and labels in place of its field."""

    def __init__(self, items: dict[str, Any], labels: dict[str, Any]) -> None:
        self.items, self.labels = items, labels

    def apply(self, value: Any, context: Any) -> Any:
        context.labels.update(self.labels)
        return dict(self.items)


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        (_Gives({"view": 1}, {}), _Gives({"view": 2}, {}), "view"),
        (_Gives({"label": 1}, {}), _Gives({}, {}), "label"),
        (_Gives({}, {"flip": 1}), _Gives({}, {"flip": 2}), "flip"),
        (_Gives({"view": 1}, {"view": 2}), _Gives({}, {}), "view"),
        (_Gives({"_indices": 1}, {}), _Gives({}, {}), "_indices"),
    ],
)
def test_no_field_overwrites_another(
    dataset: SlipstreamDataset, first: Stage, second: Stage, named: str
) -> None:
    """Views, labels, fields and sample ids of one name are an error that names both origins."""
    loader = _loader(dataset, pipelines={"name": first, "vector": second})
    with pytest.raises(LoaderError, match=f"batch\\['{named}'\\] is given by .* and by field"):
        next(iter(loader))


def test_an_epoch_has_every_sample_once(dataset: SlipstreamDataset) -> None:
    """Kept or dropped last batches, in shuffled and sequential order; len is exact."""
    for options, expected in [
        ({"drop_last": False}, 37),
        ({}, 32),
        ({"shuffle": False}, 37),
        ({"shuffle": False, "drop_last": True}, 32),
    ]:
        loader = _loader(dataset, batch_size=8, **options)
        ids = [int(i) for batch in loader for i in batch["_indices"]]
        assert len(ids) == len(set(ids)) == expected
        assert len(loader) == len(list(loader))
        assert (ids == sorted(ids)) == (loader.order == "sequential")


def test_a_mask_chooses_samples(dataset: SlipstreamDataset) -> None:
    """One truth value for each sample; a mask of another data set is refused."""
    mask = np.arange(37) % 5 == 1
    loader = _loader(dataset, batch_size=3, shuffle=False, indices=mask)
    assert [int(i) for batch in loader for i in batch["_indices"]] == [*range(1, 37, 5)]
    for wrong in (mask[:-1], np.append(mask, False), mask[:, None]):
        with pytest.raises(ValueError, match="37 samples"):
            _loader(dataset, indices=wrong)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batch_size=st.integers(1, 40),
    num_threads=st.integers(1, 4),
    batches_ahead=st.integers(1, 4),
    epoch=st.integers(0, 2),
)
def test_pixels_depend_on_seed_epoch_and_sample_only(
    dataset: SlipstreamDataset, batch_size: int, num_threads: int, batches_ahead: int, epoch: int
) -> None:
    """Bit-equal for any batch size, number of threads and batches ahead."""
    loader = _loader(
        dataset,
        batch_size=batch_size,
        num_threads=num_threads,
        batches_ahead=batches_ahead,
        drop_last=False,
    )
    loader.set_epoch(epoch)
    images = _by_sample(list(loader))
    reference = _loader(dataset, batch_size=NUM, num_threads=1, shuffle=False)
    reference.set_epoch(epoch)
    for sample_id, image in _by_sample(list(reference)).items():
        assert torch.equal(images[sample_id], image)


def test_a_list_of_batches_equals_stepping(dataset: SlipstreamDataset) -> None:
    """A batch belongs to the caller: keeping all of them changes none."""
    loader = _loader(dataset, batch_size=4, drop_last=False)
    stepped = []
    for batch in loader:
        stepped.append({k: v.clone() for k, v in batch.items() if isinstance(v, torch.Tensor)})
    loader.set_epoch(0)
    kept = list(loader)
    for one, other in zip(kept, stepped, strict=True):
        for name, value in other.items():
            assert torch.equal(one[name], value), name
    raw = SlipstreamLoader(dataset, batch_size=4, seed=3, drop_last=False)
    for batch in list(raw):
        view = batch["image"]
        for row, sample_id in enumerate(batch["_indices"].tolist()):
            begin, size = int(view["offsets"][row]), int(view["sizes"][row])
            assert view["data"][begin : begin + size].numpy().tobytes() == jpeg(sample_id)


def test_epochs_differ_and_can_be_repeated(dataset: SlipstreamDataset) -> None:
    """Epochs count up from 0; set_epoch says which is next; equal seeds agree."""
    loader, twin = _loader(dataset, batch_size=8), _loader(dataset, batch_size=8)
    first, second = [[b["_indices"].tolist() for b in loader] for _ in range(2)]
    assert first != second
    assert [b["_indices"].tolist() for b in twin] == first
    loader.set_epoch(1)
    assert [b["_indices"].tolist() for b in loader] == second
    assert _loader(dataset, seed=None).seed != _loader(dataset, seed=None).seed


def test_two_iterators_at_once_do_not_disturb_each_other(dataset: SlipstreamDataset) -> None:
    """They are two epochs."""
    loader = _loader(dataset, batch_size=8)
    alone = [[b["_indices"].tolist() for b in loader] for _ in range(2)]
    loader.set_epoch(0)
    first, second = iter(loader), iter(loader)
    mixed = list(zip(first, second, strict=True))
    assert [b["_indices"].tolist() for b, _ in mixed] == alone[0]
    assert [b["_indices"].tolist() for _, b in mixed] == alone[1]


def test_dicts_of_views_are_merged(dataset: SlipstreamDataset) -> None:
    """A pipeline that ends in a dict puts its views beside the other fields."""
    stages = [
        DecodeCenterCrop(16),
        NamedCopies(["one", "two"]),
        MultiCropPipeline({"two": [Normalize()]}),
    ]
    batch = next(iter(_loader(dataset, batch_size=5, pipelines={"image": stages})))
    assert "image" not in batch
    assert batch["one"].dtype == torch.uint8
    assert batch["two"].shape == (5, 3, 16, 16)
    assert batch["two"].dtype == torch.float32


def test_plain_callables_modules_and_batch_transforms_are_stages(
    dataset: SlipstreamDataset,
) -> None:
    """Any callable of one argument; whole-batch transforms come last; no gradients."""
    linear = torch.nn.Linear(3, 2).half()

    def add_note(batch: dict[str, Any]) -> dict[str, Any]:
        return {**batch, "note": len(batch["_indices"])}

    loader = _loader(
        dataset,
        batch_size=5,
        pipelines={"image": DecodeOnly(), "vector": linear, "label": [lambda x: x + 100]},
        after_batch_transforms=[add_note],
    )
    batch = next(iter(loader))
    assert isinstance(batch["image"], list)
    assert batch["vector"].shape == (5, 2)
    assert not batch["vector"].requires_grad
    assert batch["label"].min() >= 100
    assert batch["note"] == 5


class _Fails(Stage):
    def apply(self, batch: Any, context: Any) -> Any:
        if 7 in context.sample_ids:
            raise LookupError("seven")
        return batch


def test_a_failing_stage_reaches_the_consumer_in_its_turn(dataset: SlipstreamDataset) -> None:
    """The error names stage, field and samples, and comes after the earlier batches."""
    loader = _loader(dataset, batch_size=4, shuffle=False, pipelines={"label": [_Fails()]})
    iterator = iter(loader)
    assert next(iterator)["_indices"].tolist() == [0, 1, 2, 3]
    with pytest.raises(StageError, match=r"_Fails of field 'label'.*LookupError: seven") as caught:
        next(iterator)
    assert caught.value.sample_ids == [4, 5, 6, 7]
    assert isinstance(caught.value.__cause__, LookupError)
    assert list(iterator) == []


def test_a_corrupt_image_names_its_sample(tmp_path: Path) -> None:
    """The build reports it and goes on; decoding it raises; the others can be served."""
    damaged = samples(6)
    damaged[4]["image"] = damaged[4]["image"][:300]
    dataset = SlipstreamDataset(damaged, cache_dir=tmp_path)
    loader = _loader(dataset, batch_size=2, shuffle=False)
    iterator = iter(loader)
    assert [next(iterator)["_indices"].tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(CorruptImageError, match="sample 4") as caught:
        next(iterator)
    assert caught.value.sample_ids == [4]


def test_wrong_arguments_are_refused_at_once(dataset: SlipstreamDataset) -> None:
    """Names that do not exist, sizes that make no sense, devices that are not there."""
    for options, message in [
        ({"batch_size": 0}, "batch_size"),
        ({"batches_ahead": 0}, "batches_ahead"),
        ({"num_threads": 0}, "num_threads"),
        ({"order": "shuffled"}, "order"),
        ({"pipelines": {"picture": [DecodeOnly()]}}, "picture"),
        ({"exclude_fields": ["pth"]}, "pth"),
        ({"exclude_fields": ["image"]}, "excluded"),
    ]:
        with pytest.raises(ValueError, match=message):
            _loader(dataset, **options)
    with pytest.raises(TypeError, match="list of names"):
        _loader(dataset, exclude_fields="name")
    with pytest.raises(TypeError, match=r"DecodeOnly\(\.\.\.\)"):
        _loader(dataset, pipelines={"image": [DecodeOnly]})
    with pytest.raises(EmptyDatasetError):
        _loader(dataset, batch_size=100)
    with pytest.raises(ValueError, match="epoch"):
        _loader(dataset).set_epoch(-1)
    if not torch.cuda.is_available():
        with pytest.raises(LoaderError, match="CUDA"):
            _loader(dataset, device="cuda")


@pytest.mark.parametrize("batch_size", [1, 5])
def test_a_single_sample_is_a_data_set(tmp_path: Path, batch_size: int) -> None:
    """One sample, one batch; shuffled loaders want batch_size 1 or drop_last=False."""
    dataset = SlipstreamDataset(samples(1), cache_dir=tmp_path)
    (batch,) = list(_loader(dataset, batch_size=batch_size, drop_last=False))
    assert batch["image"].shape == (1, 3, 24, 24)


def test_excluded_fields_are_not_read(dataset: SlipstreamDataset) -> None:
    """Also the image."""
    loader = SlipstreamLoader(dataset, batch_size=8, exclude_fields=["image", "meta"])
    assert set(next(iter(loader))) == {"label", "name", "vector", "good", "_indices"}


def test_the_loader_ends_its_threads(dataset: SlipstreamDataset) -> None:
    """break, shutdown and deletion; the loader can be used again after shutdown."""
    before = {t for t in threading.enumerate() if t.name.startswith("slipstream-batch")}
    loader = _loader(dataset, batch_size=2)
    for _ in loader:
        break
    iterator = iter(loader)
    next(iterator)
    loader.shutdown()
    assert list(iterator) == []
    assert len(list(loader)) == len(loader)
    del iterator, loader
    gc.collect()
    for thread in threading.enumerate():
        if thread.name.startswith("slipstream-batch") and thread not in before:
            thread.join(20)
            assert not thread.is_alive()


def test_stats_name_every_stage(dataset: SlipstreamDataset) -> None:
    """Time is booked on fields and stages; samples and batches are counted."""
    loader = _loader(dataset, batch_size=8)
    list(loader)
    stats = loader.stats()
    assert {"image: read", "image: DecodeRandomResizedCrop", "label: read"} <= set(
        stats.stage_seconds
    )
    assert (stats.batches, stats.samples) == (4, 32)
    loader.reset_stats()
    assert loader.stats().batches == 0


def test_the_second_loader_opens_the_cache_of_the_first(
    dataset: SlipstreamDataset, tmp_path: Path
) -> None:
    """The path is known before any loader, and a cache directory is a data set itself."""
    fresh = SlipstreamDataset(samples(), cache_dir=tmp_path)
    assert not fresh.cache_path.exists()
    loader = _loader(fresh)
    assert loader.cache.cache_dir == fresh.cache_path
    manifest = (fresh.cache_path / "manifest.json").stat().st_mtime_ns
    again = _loader(SlipstreamDataset(samples(), cache_dir=tmp_path))
    assert (fresh.cache_path / "manifest.json").stat().st_mtime_ns == manifest
    prebuilt = _loader(SlipstreamDataset(fresh.cache_path))
    for one, other in zip(again, prebuilt, strict=True):
        assert torch.equal(one["image"], other["image"])


def test_a_loader_warms_up_its_cache(tmp_path: Path) -> None:
    """Every byte of the images is read."""
    loader = SlipstreamLoader(SlipstreamDataset(samples(9), cache_dir=tmp_path), batch_size=4)
    (warm,) = loader.warmup_cache()
    assert warm.num_bytes >= loader.cache.load_batch(range(9), ["image"])["image"]["sizes"].sum()
