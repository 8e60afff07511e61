"""Seek points change how fast crops are decoded, and nothing else."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream_decoders import DecodeCenterCrop, DecodeRandomResizedCrop
from slipstream_loader import SlipstreamDataset, SlipstreamLoader, write_seek_points
from slipstream_loader.seek_points import find_seek_points

pytestmark = pytest.mark.timeout(240)


def picture(number: int, **options: object) -> bytes:
    """A JPEG of a smooth picture, 300 x 260 or so."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 11, 3), np.uint8))
    file = io.BytesIO()
    coarse.resize((300 + number, 260 - number), Image.Resampling.BICUBIC).save(
        file, "JPEG", **options
    )
    return file.getvalue()


def test_pixels_are_the_same_with_and_without(tmp_path: Path) -> None:
    """Baseline, progressive, gray and damaged images in one cache; loaders find the points."""
    images = [picture(n, subsampling=("4:4:4", "4:2:0")[n % 2]) for n in range(10)]
    images += [picture(10, progressive=True), picture(11, quality=60)]
    gray = io.BytesIO()
    Image.open(io.BytesIO(images[3])).convert("L").save(gray, "JPEG")
    images += [gray.getvalue(), images[5][: len(images[5]) // 2]]
    dataset = SlipstreamDataset([{"image": image} for image in images], cache_dir=tmp_path)
    for stage in (DecodeRandomResizedCrop(48), DecodeCenterCrop(100)):

        def crops(stage: object = stage) -> torch.Tensor:
            loader = SlipstreamLoader(
                dataset,
                batch_size=len(images),
                shuffle=False,
                seed=3,
                pipelines={"image": [stage]},
                on_error="zero",
            )
            (batch,) = list(loader)
            assert batch["_valid"].tolist() == [True] * 13 + [False]
            image: torch.Tensor = batch["image"]
            return image

        before = crops()
        cache = SlipstreamLoader(dataset, batch_size=1).cache
        points = write_seek_points(cache, verbose=False)
        sizes = points.blobs(np.arange(len(images))).sizes
        assert (sizes[:10] > 0).all()
        assert sizes[10] == sizes[13] == 0
        assert find_seek_points(cache, "image") is not None
        assert torch.equal(crops(), before)


def test_there_may_be_none(tmp_path: Path) -> None:
    """A cache without seek points is a cache."""
    dataset = SlipstreamDataset([{"image": picture(1)}], cache_dir=tmp_path)
    cache = SlipstreamLoader(dataset, batch_size=1).cache
    assert find_seek_points(cache, "image") is None
