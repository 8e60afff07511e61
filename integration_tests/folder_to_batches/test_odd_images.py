"""From a folder of real and odd files to training batches, through every layer."""

from __future__ import annotations

import io
import logging
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder

from slipstream_cache import CacheError, FieldNameError, SampleCache
from visionlab.slipstream import (
    DecodeCenterCrop,
    DecodeOnly,
    DecodeResizeCrop,
    Normalize,
    RandomResizedCrop,
    SlipstreamDataset,
    SlipstreamLoader,
)

pytestmark = pytest.mark.timeout(280)


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    """A smooth random RGB picture."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """An image file in memory."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def oriented(orientation: int) -> Image.Exif:
    """EXIF data with an orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def odd_files() -> dict[str, bytes]:
    """Files as they are found in the wild; ImageNet's training set has most of these."""
    image = picture(60, 80)
    return {
        "a/baseline.JPEG": encoded(image, "JPEG"),
        "a/cmyk.jpg": encoded(image.convert("CMYK"), "JPEG"),
        "a/gray.jpg": encoded(image.convert("L"), "JPEG"),
        "a/png_inside.JPEG": encoded(image, "PNG"),
        "a/progressive.jpg": encoded(image, "JPEG", progressive=True),
        "b/alpha.png": encoded(image.convert("RGBA"), "PNG"),
        "b/exif.jpg": encoded(image, "JPEG", exif=oriented(6)),
        "b/one_pixel.jpg": encoded(picture(1, 1), "JPEG"),
        "b/palette.png": encoded(image.convert("P"), "PNG"),
        "b/sixteen_bit.png": encoded(
            Image.fromarray(np.arange(4800, dtype=np.uint16).reshape(60, 80) * 13), "PNG"
        ),
        "b/tall.webp": encoded(picture(300, 3), "WEBP", lossless=True),
        "b/trailing.jpg": encoded(image, "JPEG") + b"\0" * 100,
    }


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files into a folder."""
    for name, payload in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(payload)
    return folder


def test_every_kind_of_image_arrives_as_torchvision_sees_it(tmp_path: Path) -> None:
    """Order, labels and pixels equal torchvision's ImageFolder (JPEG storage of other formats
    costs a few levels); EXIF orientation is ignored unless asked for."""
    folder = write(tmp_path / "photos", odd_files())
    dataset = SlipstreamDataset(folder, cache_dir=tmp_path / "caches")
    reference = ImageFolder(str(folder))
    crop = [DecodeResizeCrop(48, 40, quality="exact")]
    loader = SlipstreamLoader(dataset, batch_size=5, shuffle=False, pipelines={"image": crop})
    transform = transforms.Compose([transforms.Resize(48), transforms.CenterCrop(40)])
    seen = 0
    for batch in loader:
        for row, sample_id in enumerate(batch["_indices"].tolist()):
            path, label = reference.samples[sample_id]
            assert batch["path"][row] == Path(path).relative_to(folder).as_posix()
            assert batch["label"][row] == label
            if "sixteen" not in path:  # torchvision clips 16-bit pixels; we scale them
                expected = np.asarray(transform(reference[sample_id][0])).astype(int)
                ours = batch["image"][row].permute(1, 2, 0).numpy()
                tolerance = 1 if path.endswith(("jpg", "JPEG")) and "cmyk" not in path else 6
                tolerance = 6 if "png" in path else tolerance
                assert np.abs(ours - expected).max() <= tolerance, path
            seen += 1
    assert seen == len(reference) == 12
    turned = SlipstreamLoader(
        dataset, batch_size=12, shuffle=False, pipelines={"image": [DecodeOnly(exif="apply")]}
    )
    shapes = [image.shape[:2] for image in next(iter(turned))["image"]]
    assert shapes[6] == (80, 60)
    assert shapes[0] == (60, 80)


def test_jpegs_are_stored_byte_for_byte(photos: list[Path], tmp_path: Path) -> None:
    """Real photos: what the cache gives back is the file, and full training batches come out."""
    folder = photos[0].parents[1]
    dataset = SlipstreamDataset(folder, cache_dir=tmp_path)
    loader = SlipstreamLoader(
        dataset,
        batch_size=32,
        seed=0,
        drop_last=False,
        pipelines={"image": [RandomResizedCrop(224), Normalize()]},
    )
    count = 0
    for batch in loader:
        assert batch["image"].shape[1:] == (3, 224, 224)
        assert batch["image"].dtype == torch.float32
        count += len(batch["_indices"])
    assert count == len(photos)
    assert [loader.cache[i]["image"] for i in range(0, count, 25)] == [
        path.read_bytes() for path in photos[::25]
    ]


def test_bad_files_are_reported_together_and_the_rest_is_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Truncated, empty and nonsense files do not stop a build and are not skipped in silence."""
    files = odd_files()
    files["c/empty.jpg"] = b""
    files["c/text.jpg"] = b"this is no image"
    files["c/truncated.jpg"] = encoded(picture(200, 200), "JPEG")[:1500]
    files["c/truncated.png"] = encoded(picture(200, 200), "PNG")[:1500]
    dataset = SlipstreamDataset(write(tmp_path / "photos", files), cache_dir=tmp_path / "caches")
    with caplog.at_level(logging.WARNING):
        loader = SlipstreamLoader(
            dataset, batch_size=4, shuffle=False, pipelines={"image": [DecodeCenterCrop(32)]}
        )
    warnings = [r.getMessage() for r in caplog.records if r.name.startswith("slipstream_cache")]
    (message,) = warnings
    for name in ("c/empty.jpg", "c/text.jpg", "c/truncated.jpg", "c/truncated.png"):
        assert name in message
    iterator = iter(loader)
    assert [len(next(iterator)["_indices"]) for _ in range(3)] == [4, 4, 4]
    with pytest.raises(ValueError, match="4 of 4 samples") as caught:
        next(iterator)
    assert caught.value.sample_ids == [12, 13, 14, 15]  # type: ignore[attr-defined]


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root reads all")
def test_files_that_cannot_be_read_are_named_together(tmp_path: Path) -> None:
    """Permissions: the build ends with one error, and no cache."""
    folder = write(tmp_path / "photos", odd_files())
    for name in ("a/gray.jpg", "b/exif.jpg"):
        (folder / name).chmod(0)
    dataset = SlipstreamDataset(folder, cache_dir=tmp_path / "caches")
    with pytest.raises(OSError, match=r"a/gray\.jpg.*b/exif\.jpg|2 samples"):
        SlipstreamLoader(dataset)
    assert not (dataset.cache_path / "manifest.json").exists()


def test_files_that_vanish_are_named_together(tmp_path: Path) -> None:
    """Deleted after the scan: one error names them, and nothing is published."""
    folder = write(tmp_path / "photos", odd_files())
    dataset = SlipstreamDataset(folder, cache_dir=tmp_path / "caches")
    _ = dataset.cache_path
    for name in ("a/gray.jpg", "b/exif.jpg"):
        (folder / name).unlink()
    with pytest.raises(OSError, match=r"a/gray\.jpg") as caught:
        SlipstreamLoader(dataset)
    assert "b/exif.jpg" in str(caught.value)
    assert not (dataset.cache_path / "manifest.json").exists()


@pytest.mark.slow
def test_an_image_of_400_megapixels_is_an_image(tmp_path: Path) -> None:
    """20,000 x 20,000 pixels: cropped like any other, beside a 1 x 1 image."""
    files = {
        "a/huge.jpg": encoded(picture(20_000, 20_000), "JPEG", quality=50),
        "a/tiny.jpg": encoded(picture(1, 1), "JPEG"),
    }
    dataset = SlipstreamDataset(write(tmp_path / "photos", files), cache_dir=tmp_path / "caches")
    loader = SlipstreamLoader(
        dataset, batch_size=2, shuffle=False, pipelines={"image": [DecodeResizeCrop(40, 32)]}
    )
    (batch,) = list(loader)
    small = picture(400, 400).resize((40, 40), Image.Resampling.BILINEAR)
    expected = np.asarray(small)[4:36, 4:36].astype(int)
    difference = np.abs(batch["image"][0].permute(1, 2, 0).numpy() - expected)
    assert difference.mean() < 2


def test_bad_field_names_are_refused(tmp_path: Path) -> None:
    """A field name becomes a file name: it cannot leave the cache."""
    for name in ("../x", "a/b", "", "..", "a\\b", "a\0b"):
        with pytest.raises(FieldNameError):
            SlipstreamLoader(SlipstreamDataset([{name: 1}], cache_dir=tmp_path), batch_size=1)
    assert not any(tmp_path.rglob("*.npy"))


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX permissions")
def test_a_cache_directory_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    """A file where the directory should be; and, for users other than root, a read-only one."""
    (tmp_path / "file").write_text("in the way")
    dataset = SlipstreamDataset([{"x": 1}], cache_dir=tmp_path / "file")
    with pytest.raises(OSError, match="file"):
        SlipstreamLoader(dataset, batch_size=1)
    if os.geteuid() != 0:
        (tmp_path / "locked").mkdir()
        (tmp_path / "locked").chmod(stat.S_IRUSR | stat.S_IXUSR)
        dataset = SlipstreamDataset([{"x": 1}], cache_dir=tmp_path / "locked")
        with pytest.raises(OSError, match="locked"):
            SlipstreamLoader(dataset, batch_size=1)


def test_a_cache_that_is_not_there_or_not_ours_is_a_clear_error(tmp_path: Path) -> None:
    """Missing, of another version, and damaged: each says which file, and what to do."""
    with pytest.raises(FileNotFoundError, match="slipcache-0"):
        SampleCache.open(tmp_path / "slipcache-0")
    dataset = SlipstreamDataset([{"x": i} for i in range(9)], cache_dir=tmp_path)
    path = SlipstreamLoader(dataset, batch_size=1).cache.cache_dir
    manifest = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(manifest.replace('"version": 2', '"version": 99'))
    with pytest.raises(CacheError, match="99"):
        SlipstreamLoader(SlipstreamDataset(path), batch_size=1)
    (path / "manifest.json").write_text(manifest)
    column = path / "part-00000" / "x.npy"
    column.write_bytes(column.read_bytes()[:-8])
    with pytest.raises(CacheError, match=r"x\.npy"):
        next(iter(SlipstreamLoader(SlipstreamDataset(path), batch_size=3)))
