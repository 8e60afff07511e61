"""Seek points: loaders make them, they change how fast crops decode, and tell what is damaged."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream_cache import delete_derived, verify
from slipstream_decoders import (
    DecodeCenterCrop,
    DecodeOnly,
    DecodeRandomResizedCrop,
    EncodedBatch,
    Normalize,
    SeekPoints,
)
from slipstream_loader import (
    ImageDecodeError,
    SlipstreamDataset,
    SlipstreamLoader,
    decode_image,
    seek_points,
    write_seek_points,
)
from slipstream_loader.damage import find_damage, judge_images
from slipstream_loader.seek_points import ensure_seek_points, find_seek_points

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
                seek_points=False,
            )
            (batch,) = list(loader)
            assert batch["_valid"].tolist() == [True] * 13 + [False]
            image: torch.Tensor = batch["image"]
            return image

        before = crops()
        cache = SlipstreamLoader(dataset, batch_size=1).cache
        delete_derived(cache, "image", "seek")
        assert torch.equal(crops(), before)
        points = write_seek_points(cache, verbose=False)
        sizes = points.blobs(np.arange(len(images))).sizes
        assert (sizes[:10] > 0).all()
        assert sizes[10] == sizes[13] == 0
        assert find_seek_points(cache, "image") is not None
        assert torch.equal(crops(), before)


@pytest.mark.parametrize(
    ("stages", "options", "expected"),
    [
        ([DecodeRandomResizedCrop(32), Normalize()], {}, True),
        ([DecodeRandomResizedCrop(32)], {"seek_points": False}, False),
        ([DecodeRandomResizedCrop(32, engine="pillow")], {}, False),
        ([DecodeOnly()], {}, False),
        (None, {}, False),
    ],
)
def test_a_loader_makes_those_that_its_stages_use(
    stages: list[object] | None, options: dict[str, bool], expected: bool, tmp_path: Path
) -> None:
    """Crops by the native engine get seek points unless told otherwise; nothing else does."""
    dataset = SlipstreamDataset([{"image": picture(1)}], cache_dir=tmp_path)
    pipelines = {"image": stages} if stages else None
    loader = SlipstreamLoader(dataset, batch_size=1, pipelines=pipelines, **options)
    assert (find_seek_points(loader.cache, "image") is not None) == expected
    assert len(list(loader)) == 1


def test_a_cache_that_cannot_be_written_goes_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning, and the same batches."""
    dataset = SlipstreamDataset([{"image": picture(n)} for n in range(3)], cache_dir=tmp_path)
    options = {"batch_size": 3, "pipelines": {"image": [DecodeCenterCrop(64)]}, "shuffle": False}
    (expected,) = list(SlipstreamLoader(dataset, seek_points=False, **options))
    (dataset.cache_path / "derived").write_text("in the way")
    with caplog.at_level("WARNING"):
        (batch,) = list(SlipstreamLoader(dataset, **options))
    assert torch.equal(batch["image"], expected["image"])
    assert "without seek points" in caplog.text


@pytest.mark.parametrize("change", [{"version": 9}, {"parts": 3}, None])
def test_damaged_or_newer_ones_are_made_again(
    change: dict[str, int] | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A manifest that cannot be read, or a cut file, is a warning, and the batches are the same."""
    dataset = SlipstreamDataset([{"image": picture(n)} for n in range(3)], cache_dir=tmp_path)
    options = {"batch_size": 3, "pipelines": {"image": [DecodeCenterCrop(64)]}, "shuffle": False}
    (expected,) = list(SlipstreamLoader(dataset, **options))
    path = dataset.cache_path / "derived" / "image.seek" / "manifest.json"
    manifest = json.loads(path.read_text())
    if change is None:
        (path.parent / manifest["directory"] / "part-00000" / "seek.bin").write_bytes(b"")
    else:
        path.write_text(json.dumps({**manifest, **change}))
    with caplog.at_level("WARNING"):
        (batch,) = list(SlipstreamLoader(dataset, **options))
    assert torch.equal(batch["image"], expected["image"])
    assert "image.seek is not used" in caplog.text
    assert json.loads(path.read_text()) == manifest
    assert verify(dataset.cache_path, level="full").ok


def test_interrupted_making_is_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends it, leaves a whole cache, and the next loader makes what is missing."""
    dataset = SlipstreamDataset([{"image": picture(n)} for n in range(4)], cache_dir=tmp_path)
    pipelines = {"image": [DecodeCenterCrop(64)]}

    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(seek_points, "build_seek_points", interrupt)
        with pytest.raises(KeyboardInterrupt):
            SlipstreamLoader(dataset, batch_size=4, pipelines=pipelines)
    assert verify(dataset.cache_path).ok
    loader = SlipstreamLoader(dataset, batch_size=4, pipelines=pipelines)
    assert find_seek_points(loader.cache, "image") is not None


def test_loaders_that_start_at_once_share_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One makes the seek points, the others wait for it and find them."""
    dataset = SlipstreamDataset([{"image": picture(n)} for n in range(4)], cache_dir=tmp_path)
    cache = SlipstreamLoader(dataset, batch_size=4).cache
    num_made, build = [], seek_points.build_seek_points

    def count(batch: EncodedBatch, **options: int) -> SeekPoints:
        num_made.append(len(batch))
        return build(batch, **options)

    monkeypatch.setattr(seek_points, "build_seek_points", count)
    pipelines = {"image": [DecodeCenterCrop(64)]}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: ensure_seek_points(cache, pipelines, verbose=False), range(4)))
    assert sum(num_made) == 4


def test_damage_is_judged_once_and_by_pillow(tmp_path: Path) -> None:
    """What Pillow refuses is damaged, in baseline and progressive files alike; all else is not."""
    images = [picture(n, progressive=n % 2 == 1) for n in range(6)]
    for n in (2, 3):
        images[n] = images[n][: len(images[n]) // 2] + b"\xff\xd9"  # cut, but with an end
    images.append(b"no image")
    dataset = SlipstreamDataset([{"image": image} for image in images], cache_dir=tmp_path)
    cache = SlipstreamLoader(dataset, batch_size=1).cache
    assert find_damage(cache) is None
    write_seek_points(cache, verbose=False)
    refused = {n for n, image in enumerate(images) if not is_readable(image)}
    assert set(judge_images(cache, verbose=False)["image"]) == refused >= {6}
    assert find_damage(cache) == judge_images(cache, verbose=False)


def is_readable(image: bytes) -> bool:
    """Whether Pillow decodes it."""
    try:
        decode_image(image)
    except ImageDecodeError:
        return False
    return True
