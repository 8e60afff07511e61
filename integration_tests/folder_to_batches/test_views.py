"""Views of one decode through the loader: laws, odd and damaged images, fused stages."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visionlab.slipstream import (
    IMAGENET_STD,
    DecodeMultiRandomResizedCrop,
    DecodeMultiResizeCropEmbed,
    DecodeRandomResizedCrop,
    DecodeUniformMultiRandomResizedCrop,
    MultiCropPipeline,
    Normalize,
    SlipstreamDataset,
    SlipstreamLoader,
    Stage,
)
from visionlab.slipstream.decoders import CorruptImageError
from visionlab.slipstream.transforms import RandomHorizontalFlip

pytestmark = pytest.mark.timeout(280)

CROPS = {
    "global": {"size": 32, "scale": (0.4, 1.0)},
    "local": {"size": 16, "scale": (0.05, 0.4)},
    "yoked": {"size": 16, "scale": (0.05, 0.4), "yoked_to": "local"},
}
DAMAGED = 3


def _file(height: int, width: int, mode: str = "RGB", kind: str = "JPEG") -> bytes:
    rng = np.random.default_rng(height * 1000 + width)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8))
    file = io.BytesIO()
    coarse.resize((width, height)).convert(mode).save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images: gray, CMYK, PNG, one pixel, and one that ends too early."""
    root = tmp_path_factory.mktemp("views")
    files = [
        _file(60, 80),
        _file(90, 70, "L"),
        _file(64, 64, "CMYK"),
        _file(80, 80)[:700],
        _file(50, 51, "RGBA", "PNG"),
        _file(1, 1),
        _file(33, 120),
        _file(120, 33),
    ]
    for number, payload in enumerate(files):
        (root / "photos" / "a").mkdir(parents=True, exist_ok=True)
        (root / "photos" / "a" / f"{number}.jpg").write_bytes(payload)
    return root


def _epoch(folder: Path, stages: list[Any], **options: Any) -> dict[int, dict[str, torch.Tensor]]:
    """Sample id -> its tensors."""
    dataset = SlipstreamDataset(folder / "photos", cache_dir=folder / "caches")
    given = {"batch_size": 3, "seed": 4, "verbose": False, "drop_last": False, **options}
    samples = {}
    with_views = SlipstreamLoader(dataset, pipelines={"image": stages}, **given)
    for batch in with_views:
        for row, sample_id in enumerate(batch["_indices"].tolist()):
            samples[sample_id] = {
                name: value[row] for name, value in batch.items() if isinstance(value, torch.Tensor)
            }
    with_views.shutdown()
    return samples


def test_views_do_not_depend_on_batches_order_or_threads(folder: Path) -> None:
    """Pixels belong to the sample; every sound image gives every view."""
    stages = [DecodeMultiRandomResizedCrop(CROPS)]
    first = _epoch(folder, stages, on_error="skip")
    assert sorted(first) == [0, 1, 2, 4, 5, 6, 7]
    other = _epoch(folder, stages, on_error="skip", batch_size=5, shuffle=False, num_threads=1)
    for sample_id, views in first.items():
        for name in CROPS:
            assert torch.equal(views[name], other[sample_id][name])
        assert torch.equal(views["local"], views["yoked"])
        assert views["global"].shape == (3, 32, 32)


@pytest.mark.parametrize("quality", ["fast", "exact"])
def test_a_damaged_image_is_treated_as_asked_in_all_views(folder: Path, quality: str) -> None:
    """Raised by name, skipped, replaced in all views by one other sample, or black."""
    stages = [DecodeMultiRandomResizedCrop(CROPS, quality=quality)]  # type: ignore[arg-type]
    with pytest.raises(CorruptImageError) as error:
        _epoch(folder, stages)
    assert error.value.sample_ids == [DAMAGED]
    assert DAMAGED not in _epoch(folder, stages, on_error="skip")
    zero = _epoch(folder, stages, on_error="zero")
    assert not zero[DAMAGED]["_valid"]
    assert not any(zero[DAMAGED][name].any() for name in CROPS)
    replaced = _epoch(folder, stages, on_error="replace", batch_size=8)
    assert sorted(replaced) == [0, 1, 2, 4, 5, 6, 7]  # one of them twice


class _Unfused(Stage):
    """Does nothing, but the decoder cannot know."""

    def apply(self, batch: Any, context: Any) -> Any:
        return batch


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_stages_after_the_decode_are_its_own_work(folder: Path, dtype: torch.dtype) -> None:
    """A flip and a normalisation of each view: same draws, equal to half a level."""
    normalize = Normalize(dtype=dtype)

    def epoch(*between: Stage) -> dict[int, dict[str, torch.Tensor]]:
        after = {view: [*between, RandomHorizontalFlip(), normalize] for view in CROPS}
        stages = [DecodeMultiRandomResizedCrop(CROPS), MultiCropPipeline(after)]
        return _epoch(folder, stages, on_error="zero")

    fused, separate = epoch(), epoch(_Unfused())
    for sample_id, views in separate.items():
        for name in CROPS:
            one, other = fused[sample_id][name], views[name]
            assert one.dtype == other.dtype == dtype
            assert one.stride() == other.stride()
            half_a_level = 0.51 / 255 / min(IMAGENET_STD)
            rounding = 4e-3 if dtype == torch.float16 else 1e-5
            assert (one.float() - other.float()).abs().max() <= half_a_level + rounding


def test_pipelines_that_begin_with_crops_decode_once(folder: Path) -> None:
    """MultiCropPipeline as the only stage; and views of one size as a list."""
    branches = {
        "a": [DecodeRandomResizedCrop(24), RandomHorizontalFlip()],
        "b": [DecodeRandomResizedCrop(12), Normalize()],
    }
    samples = _epoch(folder, [MultiCropPipeline(branches)], on_error="skip")
    assert {view: samples[0][view].shape for view in branches} == {
        "a": (3, 24, 24),
        "b": (3, 12, 12),
    }
    dataset = SlipstreamDataset(folder / "photos", cache_dir=folder / "caches")
    crops = DecodeUniformMultiRandomResizedCrop(3, 16)
    loader = SlipstreamLoader(
        dataset, batch_size=4, on_error="zero", verbose=False, pipelines={"image": [crops]}
    )
    batch = next(iter(loader))
    assert [tuple(crop.shape) for crop in batch["image"]] == [(4, 3, 16, 16)] * 3
    loader.shutdown()


def test_embedded_views_come_as_rgba(folder: Path) -> None:
    """Through the loader as well."""
    stage = DecodeMultiResizeCropEmbed({"object": {"size": (8, 16)}}, canvas_size=24)
    samples = _epoch(folder, [stage], on_error="skip")
    assert samples[6]["object"].shape == (4, 24, 24)
    assert set(samples[6]["object"][3].unique().tolist()) == {0, 255}
