"""Code that is written for torch's DataLoader, or for a streaming data set, runs."""

from __future__ import annotations

import inspect
import io
import logging
import pickle
from typing import Any

import pytest
import torch
from PIL import Image
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, WeightedRandomSampler

from slipstream_decoders import DecodeRandomResizedCrop, Normalize
from slipstream_loader.errors import DatasetArgumentError
from slipstream_loader.seed_names import (
    FastStreamingDataLoader,
    StreamingDataset,
)

pytestmark = pytest.mark.timeout(280)  # the first crop may have to compile its kernels


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> StreamingDataset:
    """Images whose decoder is a class, as the data set's users write it."""
    file = io.BytesIO()
    Image.new("RGB", (300, 260), (200, 30, 90)).save(file, "JPEG")
    samples = [{"image": file.getvalue(), "label": number} for number in range(10)]
    return StreamingDataset(
        samples,
        cache_dir=tmp_path_factory.mktemp("caches"),
        decode_images=False,
        to_pil=False,
        sample_pipelines={"image": [DecodeRandomResizedCrop]},
    )


def test_the_target_api(dataset: StreamingDataset) -> None:
    """The data set's decoder, then the loader's batch pipeline; torch's defaults."""
    loader = FastStreamingDataLoader(
        dataset,
        batch_size=4,
        num_workers=2,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=True,
        batch_pipelines={"image": Normalize()},
    )
    batches = list(loader)
    assert [len(batch["label"]) for batch in batches] == [4, 4, 2]
    assert torch.cat([batch["label"] for batch in batches]).tolist() == list(range(10))
    assert batches[0]["image"].shape == (4, 3, 224, 224)
    assert batches[0]["image"].dtype == torch.float32


def test_every_argument_of_torchs_loader_is_known(dataset: StreamingDataset) -> None:
    """By name; those before the star also by position."""
    torchs = inspect.signature(DataLoader).parameters
    values = {
        name: parameter.default
        for name, parameter in torchs.items()
        if name not in ("self", "dataset") and parameter.default is not inspect.Parameter.empty
    }
    loader = FastStreamingDataLoader(dataset, **{**values, "batch_size": 5, "shuffle": True})
    assert len(list(loader)) == 2
    ours = list(inspect.signature(FastStreamingDataLoader).parameters)[:9]
    assert ours == list(torchs)[:9]


def test_samplers_and_generators(dataset: StreamingDataset) -> None:
    """A sampler, a batch sampler, and a generator as the seed."""
    weighted = WeightedRandomSampler([0.0] * 9 + [1.0], 6)
    loader = FastStreamingDataLoader(dataset, 3, sampler=weighted)
    assert torch.cat([batch["label"] for batch in loader]).tolist() == [9] * 6
    batches = BatchSampler(SequentialSampler(range(10)), 4, drop_last=True)
    loader = FastStreamingDataLoader(dataset, batch_sampler=batches)
    assert [batch["label"].tolist() for batch in loader] == [[0, 1, 2, 3], [4, 5, 6, 7]]

    def order(seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        run = FastStreamingDataLoader(dataset, 5, shuffle=True, generator=generator)
        return [int(label) for batch in run for label in batch["label"]]

    assert order(1) == order(1) != order(2)


def test_a_pickled_loader_keeps_its_class(dataset: StreamingDataset) -> None:
    """And its arguments, its seed and its place."""
    loader = FastStreamingDataLoader(dataset, 3, shuffle=True, drop_last=True)
    first = next(iter(loader))
    again = pickle.loads(pickle.dumps(loader))
    assert type(again) is FastStreamingDataLoader
    assert (again.seed, again.state_dict()) == (loader.seed, loader.state_dict())
    rest = [batch["label"].tolist() for batch in again]
    assert len(rest) == 2
    again.set_epoch(0)
    assert [batch["label"].tolist() for batch in again] == [first["label"].tolist(), *rest]


def test_what_has_no_effect_is_said_once(
    dataset: StreamingDataset, caplog: pytest.LogCaptureFixture
) -> None:
    """One line, the first time."""
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            FastStreamingDataLoader(dataset, worker_init_fn=print, timeout=5)
    named = [r.getMessage() for r in caplog.records if "worker_init_fn" in r.getMessage()]
    assert len(named) == 1


def test_what_cannot_be_honoured_is_refused(dataset: StreamingDataset) -> None:
    """A collate function would change the batches; two sources are one too many."""
    collate: Any = list
    with pytest.raises(ValueError, match="after_batch_transforms"):
        FastStreamingDataLoader(dataset, collate_fn=collate)
    with pytest.raises(DatasetArgumentError, match="s3_dir"):
        StreamingDataset([{"x": 1}], s3_dir="s3://bucket/data")
