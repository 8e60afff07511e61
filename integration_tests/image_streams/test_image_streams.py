"""Streams over an image cache: equal bits for any number of workers, also after a crash."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from slipstream_cache import SampleCache
from slipstream_decoders import BatchContext, DecodeRandomResizedCrop, run_stages
from slipstream_loader.channel_stats import compute_normalization_stats
from slipstream_loader.encoded import encoded
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.sample_images import write_sample_folder
from sqrtspace_streams.reduction import Fold, Moments, fold, shares
from sqrtspace_streams.resume import evaluate_resumable
from visionlab.slipstream import SlipstreamDataset

EXAMPLE = Path(__file__).parents[2] / "examples" / "stream_images.py"
NUM_IMAGES = 40
PARAMS = {"mean": np.array([0.5, 0.4, 0.3]), "std": np.array([0.2, 0.25, 0.3])}

pytestmark = pytest.mark.timeout(280)


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The example, imported."""
    spec = importlib.util.spec_from_file_location("stream_images", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A cache of 40 images of many sizes."""
    folder = tmp_path_factory.mktemp("images")
    write_sample_folder(folder / "photos", num_classes=2, images_per_class=20, seed=1)
    dataset = SlipstreamDataset(str(folder / "photos"), cache_dir=str(folder / "cache"))
    prepare_cache(dataset, verbose=False)
    return str(dataset.cache_path)


def test_statistics_are_those_of_the_loader(example: ModuleType, cache: str) -> None:
    """Equal to the bit to `compute_normalization_stats`, shared out among 1, 2 and 8 workers."""
    expected = compute_normalization_stats(cache, verbose=False)
    for workers in (1, 2, 8):
        total = Fold(example.Sum(), 4)
        for share in shares((0, NUM_IMAGES), workers, 4):
            part = fold(example.image_pipeline(cache), "sums", example.Sum(), share, leaf_windows=4)
            total.extend(part.nodes)
        result = total.result()
        assert result is not None
        count, *sums = result["sum"].tolist()
        assert tuple(value / (255 * count) for value in sums[:3]) == expected["mean"]
    found = example.statistics(cache, NUM_IMAGES, 1)
    assert tuple(found["mean"]) == expected["mean"]
    np.testing.assert_allclose(found["std"], expected["std"], rtol=1e-14)


def test_floating_point_statistics_do_not_depend_on_workers(
    example: ModuleType, cache: str
) -> None:
    """Means and deviations of a view's pixels: the same bits for 1, 2 and 8 workers."""
    digests = set()
    for workers, tile in ((1, 0), (2, 16), (8, 4)):
        total = Fold(Moments(2), 4)
        for share in shares((0, NUM_IMAGES), workers, 4):
            pipe = example.image_pipeline(cache, tile=tile, max_workers=1 + workers % 2)
            total.extend(fold(pipe, "left", Moments(2), share, leaf_windows=4).nodes)
        moments = total.result()
        assert moments is not None
        assert moments["count"] == NUM_IMAGES * 64 * 64
        digests.add(moments["mean"].tobytes() + moments["m2"].tobytes())
    assert len(digests) == 1


def test_views_have_the_bits_of_the_stage(example: ModuleType, cache: str) -> None:
    """A window alone, a range, or all of them: the crop that the sample has in any batch."""
    opened, pipe = SampleCache.open(cache), example.image_pipeline(cache, seed=9)
    ids = np.arange(NUM_IMAGES)
    context = BatchContext(sample_ids=ids, seed=9, view="right")
    batch = encoded(opened.payloads("image", ids))
    expected: Any = run_stages(DecodeRandomResizedCrop(64), batch, context)
    rows = pipe.evaluate("right")
    assert torch.equal(torch.from_numpy(rows).permute(0, 3, 1, 2), expected)
    assert pipe.evaluate("right", (31, 32)).tobytes() == rows[31:32].tobytes()
    assert not np.array_equal(rows, pipe.evaluate("left"))


def test_features_go_on_after_a_crash(example: ModuleType, cache: str, tmp_path: Path) -> None:
    """Stopped after some commits, then ended by another pipeline with other tiles and threads."""

    class CrashError(Exception):
        pass

    def crash(done: int, _total: int) -> None:
        if done >= 16:
            raise CrashError

    expected = example.image_pipeline(cache, mode="classic").evaluate("features", params=PARAMS)
    pipe = example.image_pipeline(cache)
    with pytest.raises(CrashError):
        evaluate_resumable(pipe, "features", tmp_path, params=PARAMS, every=8, progress=crash)
    pipe = example.image_pipeline(cache, tile=5, max_workers=2)
    rows = evaluate_resumable(pipe, "features", tmp_path, params=PARAMS)
    assert rows.tobytes() == expected.tobytes()
    assert rows.shape == (NUM_IMAGES, 2 * 8 * 8 * 3)
