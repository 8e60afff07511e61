"""Loaders, statistics and commands with images as planes."""

from __future__ import annotations

import io
import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from slipstream_cache import (
    CacheWriteError,
    Condition,
    DerivedNotFoundError,
    FieldNotFoundError,
    SampleCache,
    StorageOptions,
    verify,
)
from slipstream_cache.testing import read_tree
from slipstream_decoders import (
    CorruptImageError,
    DecodeCenterCrop,
    DecodeOnly,
    DecodeRandomResizedCrop,
    DecodeYUVFullRes,
    DecodeYUVPlanes,
    DecodeYUVRandomResizedCrop,
    Normalize,
    rgb_to_yuv420,
    yuv420_size,
    yuv420_to_rgb,
)
from slipstream_loader import (
    SlipstreamDataset,
    SlipstreamLoader,
    build_yuv420_cache,
    compute_normalization_stats,
    load_yuv420_cache,
    write_yuv420,
)
from slipstream_loader.cli import app
from slipstream_loader.seek_points import find_seek_points
from slipstream_loader.yuv420 import find_yuv420

pytestmark = pytest.mark.timeout(240)

NUM = 11


def jpeg(number: int, **options: Any) -> bytes:
    """A smooth picture whose size and sampling depend on the number; odd sizes among them."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8))
    file = io.BytesIO()
    subsampling = ("4:2:0", "4:4:4", "4:2:2")[number % 3]
    picture = coarse.resize((60 + number, 51 - number), Image.Resampling.BICUBIC)
    picture.save(file, "JPEG", **{"subsampling": subsampling, "quality": 92, **options})
    return file.getvalue()


def dataset(directory: Path, images: list[bytes] | None = None, **options: Any) -> Any:
    images = [jpeg(number) for number in range(NUM)] if images is None else images
    samples = [{"image": image, "label": n} for n, image in enumerate(images)]
    return SlipstreamDataset(samples, cache_dir=directory, **options)


def batches(source: Any, stage: Any, **options: Any) -> list[Any]:
    options = {"batch_size": 4, "seed": 1, "drop_last": False, "verbose": False, **options}
    loader = SlipstreamLoader(source, image_format="yuv420", pipelines={"image": stage}, **options)
    return list(loader)


def by_id(found: list[Any]) -> torch.Tensor:
    order = torch.cat([batch["_indices"] for batch in found]).argsort()
    return torch.cat([batch["image"] for batch in found])[order]


def test_crops_of_planes_are_those_of_the_jpegs(tmp_path: Path) -> None:
    """The same boxes; pixels differ as far as chroma was averaged. No seek points are made."""
    source = dataset(tmp_path)
    for stage in (DecodeRandomResizedCrop(32), DecodeCenterCrop(40)):
        planes = by_id(batches(source, stage)).float()
        options: dict[str, Any] = {"seed": 1, "drop_last": False, "seek_points": False}
        loader = SlipstreamLoader(source, 4, pipelines={"image": stage}, **options)
        jpegs = by_id(list(loader)).float()
        assert planes.shape == jpegs.shape
        assert (planes - jpegs).abs().mean() < 1
        of_420 = torch.arange(0, NUM, 3)
        assert torch.equal(planes[of_420], jpegs[of_420])
    assert find_seek_points(loader.cache, "image") is None


def test_pixels_do_not_depend_on_batches_threads_or_epoch_order(tmp_path: Path) -> None:
    """The loader's law, with planes."""
    source = dataset(tmp_path)
    expected = by_id(batches(source, DecodeRandomResizedCrop(24)))
    for options in (
        {"batch_size": 1, "num_threads": 1},
        {"batch_size": NUM, "shuffle": False, "num_threads": 3},
    ):
        found = by_id(batches(source, DecodeRandomResizedCrop(24), **options))
        assert torch.equal(found, expected)


def test_all_kinds_of_stages(tmp_path: Path) -> None:
    """Whole images, YUV pixels, planes, YUV crops, crops and Normalize, and payloads."""
    source = dataset(tmp_path)
    options: dict[str, Any] = {"shuffle": False, "batch_size": NUM}
    rgb, yuv, planes = (
        batches(source, [stage], **options)[0]["image"]
        for stage in (DecodeOnly(), DecodeYUVFullRes(), DecodeYUVPlanes())
    )
    for number in range(NUM):
        pixels = np.asarray(Image.open(io.BytesIO(jpeg(number))).convert("RGB"))
        assert rgb[number].shape == yuv[number].shape == pixels.shape
        assert np.abs(rgb[number].astype(int) - pixels).mean() < 6
        np.testing.assert_array_equal(planes[number][0], yuv[number][..., 0])
    crops = batches(source, [DecodeYUVRandomResizedCrop(16)], **options)[0]["image"]
    assert crops.shape == (NUM, 3, 16, 16)
    normalized = batches(source, [DecodeCenterCrop(16), Normalize()], **options)[0]["image"]
    assert normalized.dtype == torch.float32
    raw = next(iter(SlipstreamLoader(source, NUM, shuffle=False, image_format="yuv420")))["image"]
    assert raw["codecs"].tolist() == [1] * NUM
    first = raw["data"].numpy()[: int(raw["sizes"][0])]
    np.testing.assert_array_equal(yuv420_to_rgb(first, 51, 60), rgb[0])


@pytest.mark.filterwarnings("ignore")
def test_images_that_cannot_be_decoded(tmp_path: Path, caplog: Any) -> None:
    """They are kept without bytes, with their sizes; every policy treats them as with JPEGs."""
    images = [jpeg(number) for number in range(6)]
    images[2], images[4] = images[2][:-40], b"no image"
    source = dataset(tmp_path, images)
    planes = write_yuv420(SlipstreamLoader(source, 1).cache, verbose=False)
    payloads = planes.payloads(np.arange(6))
    assert payloads.codecs.tolist() == [1, 1, 255, 1, 255, 1]
    conditions = [Condition.DAMAGED, Condition.UNREADABLE]
    assert payloads.conditions[[2, 4]].tolist() == conditions
    assert (payloads.heights[2], payloads.widths[2]) == (49, 62)
    assert payloads.sizes.tolist()[:3] == [yuv420_size(51, 60), yuv420_size(50, 61), 0]
    assert verify(planes.cache).problems == ()
    caplog.set_level(logging.ERROR)
    stage, options = DecodeCenterCrop(16), {"shuffle": False, "batch_size": 6}
    with pytest.raises(CorruptImageError) as caught:
        batches(source, stage, **options)
    assert caught.value.sample_ids == [2, 4]
    (zero,) = batches(source, stage, on_error="zero", **options)
    assert zero["_valid"].tolist() == [True, True, False, True, False, True]
    assert not zero["image"][[2, 4]].any()
    (skipped,) = batches(source, stage, on_error="skip", **options)
    assert skipped["_indices"].tolist() == [0, 1, 3, 5]
    (replaced,) = batches(source, stage, on_error="replace", **options)
    assert torch.equal(replaced["_valid"], zero["_valid"])
    assert replaced["image"].shape == (6, 3, 16, 16)
    assert replaced["image"][[2, 4]].any(dim=3).any(dim=2).any(dim=1).all()


def test_a_loader_goes_on_where_it_was(tmp_path: Path) -> None:
    """The state fits, also between formats."""
    source = dataset(tmp_path)
    stage = DecodeRandomResizedCrop(16)
    options: dict[str, Any] = {"batch_size": 2, "seed": 3, "pipelines": {"image": stage}}
    loader = SlipstreamLoader(source, image_format="yuv420", **options)
    iterator = iter(loader)
    next(iterator)
    state = loader.state_dict()
    rest = list(iterator)
    for image_format in ("yuv420", "jpeg"):
        resumed = SlipstreamLoader(source, image_format=image_format, **options)  # type: ignore[arg-type]
        resumed.load_state_dict(state)
        found = list(resumed)
        assert [b["_indices"].tolist() for b in found] == [b["_indices"].tolist() for b in rest]
        if image_format == "yuv420":
            assert torch.equal(by_id(found), by_id(rest))


def test_planes_are_made_once_and_are_the_same_however(tmp_path: Path) -> None:
    """By one thread or three: the same bytes; a second call finds them; another state does not."""
    trees = []
    for workers in (1, 3):
        source = dataset(tmp_path / str(workers))
        cache = SlipstreamLoader(source, 1).cache
        assert find_yuv420(cache) is None
        made = write_yuv420(cache, num_workers=workers, verbose=False)
        trees.append(read_tree(cache.cache_dir / "derived" / "image.yuv420"))
        again = build_yuv420_cache(cache.cache_dir, "image", verbose=False)
        assert again.num_bytes == made.num_bytes > 0
        assert len(again) == NUM
    assert trees[0] == trees[1]


def test_the_storage_gives_batches(tmp_path: Path) -> None:
    """``load_yuv420_cache``: payloads with their sizes, or an error that says what to do."""
    cache = SlipstreamLoader(dataset(tmp_path), 1).cache
    with pytest.raises(DerivedNotFoundError, match="--derive yuv420"):
        load_yuv420_cache(cache.cache_dir)
    with pytest.raises(FieldNotFoundError, match="picture"):
        load_yuv420_cache(cache.cache_dir, "picture")
    build_yuv420_cache(cache.cache_dir, verbose=False)
    batch = load_yuv420_cache(cache.cache_dir, "image").load_batch(np.array([3, 0]))
    assert batch["sizes"].tolist() == [yuv420_size(48, 63), yuv420_size(51, 60)]
    assert batch["data"].size == batch["sizes"].sum()
    assert batch["heights"].tolist() == [48, 51]


def test_images_that_are_stored_as_planes_need_no_others(tmp_path: Path) -> None:
    """PNGs of a cache with codec yuv420: nothing is derived."""
    files, pixels = [], np.random.default_rng(0).integers(0, 256, (5, 9, 7, 3), np.uint8)
    for image in pixels:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        files.append(file.getvalue())
    source = dataset(tmp_path, files, storage_options=StorageOptions(codec="yuv420"))
    (batch,) = batches(source, DecodeOnly(), batch_size=5, shuffle=False)
    for image, found in zip(pixels, batch["image"], strict=True):
        np.testing.assert_array_equal(found, yuv420_to_rgb(rgb_to_yuv420(image), 9, 7))
    cache = SampleCache.open(source.cache_path)
    assert not (source.cache_path / "derived").exists()
    assert load_yuv420_cache(source.cache_path).num_bytes == 0
    assert load_yuv420_cache(source.cache_path).load_batch([1])["sizes"].tolist() == [63 + 2 * 20]
    assert write_yuv420(cache, verbose=False).derived is None


def test_which_field_is_meant_must_be_clear(tmp_path: Path) -> None:
    """One image field, or image_field; a mask stays as it is."""
    samples = [{"image": jpeg(n), "mask": jpeg(n + 20), "label": n} for n in range(3)]
    source = SlipstreamDataset(samples, cache_dir=tmp_path)
    options: dict[str, Any] = {"shuffle": False, "image_format": "yuv420"}
    with pytest.raises(ValueError, match="image_field is not named"):
        SlipstreamLoader(source, 3, **options)
    with pytest.raises(ValueError, match="'label' is not one"):
        SlipstreamLoader(source, 3, image_field="label", **options)
    with pytest.raises(ValueError, match="not named"):
        SlipstreamLoader(source, 3, exclude_fields=["image", "mask"], **options)
    with pytest.raises(ValueError, match="image_format must be"):
        SlipstreamLoader(source, 3, image_format="png")  # type: ignore[arg-type]
    (batch,) = SlipstreamLoader(source, 3, image_field="image", **options)
    assert batch["image"]["codecs"].tolist() == [1, 1, 1]
    assert batch["mask"]["codecs"].tolist() == [0, 0, 0]


def test_a_cache_that_cannot_be_written_to_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planes were asked for: there is nothing to go on with."""
    source = dataset(tmp_path)
    SlipstreamLoader(source, 1)

    def refuse(*_: object, **__: object) -> None:
        raise OSError("read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(CacheWriteError, match="read-only"):
        SlipstreamLoader(source, 1, image_format="yuv420")


def test_statistics_of_planes_are_near_those_of_the_jpegs(tmp_path: Path) -> None:
    """Within 0.01, as documented; the planes are made if need be."""
    cache = SlipstreamLoader(dataset(tmp_path), 1).cache
    of_jpegs = compute_normalization_stats(cache, verbose=False)
    of_planes = compute_normalization_stats(cache, image_format="yuv420", verbose=False)
    for name in ("mean", "std"):
        np.testing.assert_allclose(of_planes[name], of_jpegs[name], atol=0.01)
    assert find_yuv420(cache) is not None


def test_statistics_of_photos(photos: list[Path], tmp_path: Path) -> None:
    """Real photos: the same claim, on each channel."""
    images = [path.read_bytes() for path in photos[::20]]
    cache = SlipstreamLoader(dataset(tmp_path, images), 1).cache
    of_jpegs = compute_normalization_stats(cache, verbose=False)
    of_planes = compute_normalization_stats(cache, image_format="yuv420", verbose=False)
    for name in ("mean", "std"):
        np.testing.assert_allclose(of_planes[name], of_jpegs[name], atol=0.002)


def test_the_commands(tmp_path: Path) -> None:
    """build --derive, info and bench --image-format."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(4):
        (photos / f"{number}.jpg").write_bytes(jpeg(number))
    runner, options = CliRunner(), ["--cache-dir", str(tmp_path / "caches")]
    built = runner.invoke(app, ["build", str(photos), "--no-seek", "--derive", "yuv420", *options])
    assert built.exit_code == 0, built.output
    assert re.search(r"yuv420 planes [\d.]+ kB, [\d.]+ s", built.output)
    directory = built.output.splitlines()[-1]
    info = runner.invoke(app, ["info", directory, "--json"])
    assert "kB" in json.loads(info.stdout)["images in 'image'"]["yuv420 planes"]
    figures = tmp_path / "figures.json"
    arguments = ["--image-format", "yuv420", "--pipeline", "rrc", "--epochs", "1", "--json"]
    bench = runner.invoke(app, ["bench", directory, *arguments, str(figures)])
    assert bench.exit_code == 0, bench.output
    (result,) = json.loads(figures.read_text("utf-8"))["results"]
    assert (result["image_format"], result["engine"]) == ("yuv420", "stored")
