"""Data sets under their own names, prepared ones, and shared directories."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image

from slipstream_cache import Source, default_cache_root
from slipstream_loader import (
    SlipstreamHFDataset,
    SlipstreamImageFolder,
    SlipstreamLoader,
    get_default_cache_dir,
    link_shared_directory,
    open_imagefolder,
)
from slipstream_loader.errors import DatasetArgumentError, LoaderError, SourceError
from slipstream_loader.prep import ImageNet1k_s256_l512, shrink_to_short_side
from slipstream_loader.sample_images import write_sample_folder


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of three images."""
    monkeypatch.setenv("SLIPSTREAM_CACHE_DIR", str(tmp_path / "caches"))
    write_sample_folder(tmp_path / "photos", num_classes=2, images_per_class=3, seed=0)
    return tmp_path / "photos"


def test_folders_and_archives(photos: Path, tmp_path: Path) -> None:
    """A folder and a tar of it are the same data set; other sources are refused."""
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        tar.add(photos, ".")
    folder = SlipstreamImageFolder(photos)
    archive = open_imagefolder(tmp_path / "photos.tar", decode_images=True)
    expected = torchvision.datasets.ImageFolder(str(photos))
    assert folder.targets == expected.targets
    assert sorted(archive.targets) == expected.targets
    assert folder.class_to_idx == archive.class_to_idx == expected.class_to_idx
    assert (folder.root, archive.root) == (str(photos), str(tmp_path / "photos.tar"))
    assert archive[0]["image"].mode == "RGB"
    with pytest.raises(SourceError, match="no folder of images"):
        SlipstreamImageFolder([{"x": 1}])  # type: ignore[arg-type]


def test_hugging_face_by_name() -> None:
    """An open data set is taken; a split can only be chosen where there is a choice."""
    import datasets

    rows = datasets.Dataset.from_dict({"x": [1, 2]})
    assert SlipstreamHFDataset(rows)[1] == {"x": 2}
    with pytest.raises(DatasetArgumentError, match="split="):
        SlipstreamHFDataset(rows, split="test")
    with pytest.raises(SourceError, match="no data set of Hugging Face"):
        SlipstreamHFDataset([{"x": 1}])


@pytest.mark.parametrize("size", [(300, 400), (400, 300), (256, 256), (100, 900), (90, 256)])
def test_preparing_equals_torchvision(size: tuple[int, int]) -> None:
    """Short side 256, long side at most 512: the pixels of torchvision's transforms."""
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    resized = torchvision.transforms.Resize(256)(image)
    width, height = resized.size
    expected = torchvision.transforms.CenterCrop((min(height, 512), min(width, 512)))(resized)
    assert shrink_to_short_side(image, 256, 512).tobytes() == expected.tobytes()


def test_imagenet_prepared(photos: Path, tmp_path: Path) -> None:
    """A cache of the prepared images has labels and paths of the folder, and smaller sides 256."""
    (tmp_path / "root").mkdir()
    photos.rename(tmp_path / "root/val")
    source = ImageNet1k_s256_l512(tmp_path / "root", jpeg_quality=90)
    assert isinstance(source, Source)
    loader = SlipstreamLoader(source, 6, shuffle=False, verbose=False)
    headers = loader.cache.payloads("image", range(6))
    assert np.minimum(headers.heights, headers.widths).tolist() == [256] * 6
    folder = SlipstreamImageFolder(tmp_path / "root/val")
    assert [loader.cache[i]["path"] for i in range(6)] == [folder[i]["path"] for i in range(6)]
    assert next(iter(loader))["label"].tolist() == folder.targets
    other = ImageNet1k_s256_l512(tmp_path / "root/val", split="none", jpeg_quality=91)
    assert other.fingerprint() != source.fingerprint() != folder.source.fingerprint()
    with pytest.raises(SourceError, match=r"no split 'valid'; it has \['val'\]"):
        ImageNet1k_s256_l512(tmp_path / "root", split="valid")
    bad = next((tmp_path / "root/val").rglob("*.jpg"))
    bad.write_bytes(bad.read_bytes()[:200])
    again = ImageNet1k_s256_l512(tmp_path / "root")
    number = next(i for i in range(6) if again.describe(i).endswith(bad.name))
    with pytest.raises(OSError, match=bad.name):
        again[number]
    good = next(i for i in range(6) if i != number)
    assert Image.open(io.BytesIO(again[good]["image"])).format == "JPEG"


def test_shared_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link is made once, again without harm, and never in the place of something else."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SLIPSTREAM_CACHE_DIR", raising=False)
    (tmp_path / "home").mkdir()
    shared = tmp_path / "shared"
    for _ in range(2):
        assert link_shared_directory(shared) == shared
    assert get_default_cache_dir() == default_cache_root() == shared
    with pytest.raises(LoaderError, match=r"a link to .*shared already"):
        link_shared_directory(tmp_path / "other")
    (tmp_path / "home/.aws").mkdir()
    with pytest.raises(LoaderError, match=r"\.aws is something else already"):
        link_shared_directory(shared, "~/.aws")
    assert (tmp_path / "home/.aws").is_dir()
