"""Converted progressive JPEGs change how fast they are decoded, and nothing else."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from slipstream_cache import SampleCache, verify
from slipstream_decoders import (
    BackendUnavailableError,
    BatchContext,
    DecodeRandomResizedCrop,
    find_turbojpeg,
    native_header_statuses,
)
from slipstream_loader import SlipstreamDataset, SlipstreamLoader, baseline, write_baseline
from slipstream_loader.cli import app
from slipstream_loader.seek_points import EncodedImages, find_seek_points

pytestmark = pytest.mark.timeout(240)
needs_turbojpeg = pytest.mark.skipif(find_turbojpeg() is None, reason="no TurboJPEG library")


def picture(number: int, *, progressive: bool) -> bytes:
    """A JPEG of a smooth picture, 150 x 130 or so."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 11, 3), np.uint8))
    file = io.BytesIO()
    picture = coarse.resize((150 + number, 131 - number), Image.Resampling.BICUBIC)
    picture.save(file, "JPEG", quality=90, progressive=progressive)
    return file.getvalue()


@pytest.fixture
def dataset(tmp_path: Path) -> SlipstreamDataset:
    """Eight images, every second one progressive, the last one cut off."""
    images = [picture(n, progressive=n % 2 == 1) for n in range(8)]
    images[7] = images[7][:-600]
    return SlipstreamDataset([{"image": image} for image in images], cache_dir=tmp_path)


def crops(dataset: SlipstreamDataset, engine: str = "auto") -> tuple[list[bool], torch.Tensor]:
    """Which samples are valid, and the crops of one epoch."""
    stage = DecodeRandomResizedCrop(48, engine=engine)  # type: ignore[arg-type]
    loader = SlipstreamLoader(
        dataset, 8, shuffle=False, seed=3, pipelines={"image": [stage]}, on_error="zero"
    )
    (batch,) = list(loader)
    return batch["_valid"].tolist(), batch["image"]


@needs_turbojpeg
def test_pixels_are_the_same_and_the_native_engine_takes_all(dataset: SlipstreamDataset) -> None:
    """With and without, on disk verbatim; seek points refer to what is decoded."""
    sound = [True] * 7 + [False]
    valid, before = crops(dataset)
    assert valid == sound
    assert crops(dataset, "native")[0] == [True, False] * 4

    cache = SampleCache.open(dataset.cache_path)
    stored = cache.load_batch(np.arange(8), ["image"])["image"]["data"]
    assert write_baseline(cache, verbose=False) == 3
    assert write_baseline(cache, verbose=False) == 3
    assert find_seek_points(cache, "image") is None  # they were of the stored payloads
    assert not (cache.cache_dir / "derived" / "image.seek").exists()

    for engine in ("auto", "native"):
        valid, after = crops(dataset, engine)
        assert valid == sound
        assert torch.equal(after, before)
    points = find_seek_points(cache, "image")
    assert points is not None
    assert (points.blobs(np.arange(8)).sizes > 0).tolist() == sound
    batch = EncodedImages(cache, "image").batch(np.arange(8))
    assert (native_header_statuses(batch) == 0).tolist() == sound
    np.testing.assert_array_equal(
        cache.load_batch(np.arange(8), ["image"])["image"]["data"], stored
    )
    assert verify(cache, level="full").ok


@needs_turbojpeg
def test_the_command_converts_and_info_tells(dataset: SlipstreamDataset) -> None:
    """``slipstream index CACHE --baseline``, then ``slipstream info``."""
    cache = SlipstreamLoader(dataset, 8).cache.cache_dir

    def facts() -> dict[str, object]:
        shown = CliRunner().invoke(app, ["info", str(cache), "--json"])
        found: dict[str, object] = json.loads(shown.stdout)["images in 'image'"]
        return found

    assert facts()["engines"] == {"native": 4, "turbojpeg": 4}
    run = CliRunner().invoke(app, ["index", str(cache), "--baseline"])
    assert run.exit_code == 0, run.output
    assert "3 images converted" in run.stdout
    assert facts()["engines"] == {"native": 7, "turbojpeg": 1}
    assert facts()["converted to baseline"] == 3
    assert str(facts()["seek points"]).startswith("7 of 8 JPEGs, ")


def test_without_the_library_nothing_is_written(
    dataset: SlipstreamDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what to install, and the cache stays as it was."""

    def unavailable(batch: object) -> None:
        raise BackendUnavailableError("install libturbojpeg0")

    cache = SlipstreamLoader(dataset, 8).cache
    monkeypatch.setattr(baseline, "convert_to_baseline", unavailable)
    with pytest.raises(BackendUnavailableError, match="install"):
        write_baseline(cache, verbose=False)
    assert baseline.find_baseline(cache, "image") is None
    context = BatchContext(np.arange(1), seed=0)
    batch = EncodedImages(cache, "image").batch(context.sample_ids)
    assert DecodeRandomResizedCrop(8).apply(batch, context).shape == (1, 3, 8, 8)
