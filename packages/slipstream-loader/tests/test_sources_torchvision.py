"""torchvision's ImageFolder objects: the files that they list."""

from __future__ import annotations

import io
import logging
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import FakeData, ImageFolder
from torchvision.transforms import RandomCrop

from slipstream_cache import SourceReadError
from slipstream_loader import SlipstreamDataset, prepare_cache
from slipstream_loader.errors import SourceError
from slipstream_loader.sources import SequenceSource, file_names, torchvision_folder

CLASSES = ("Bär", "ant", "empty of jpegs")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Photos of three classes; one of them is a PNG, one is further below."""
    for number, name in enumerate(
        ["Bär/ü 1.jpg", "Bär/2.JPEG", "ant/deep/3.jpg", "empty of jpegs/4.png"]
    ):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (9, 7, 3), np.uint8)
        Image.fromarray(pixels).save(path, quality=70)
    return tmp_path / "photos"


def test_files_are_stored_as_they_are(root: Path, tmp_path: Path) -> None:
    """Bytes, labels and order of torchvision; no name is needed."""
    folder = ImageFolder(root)
    dataset = SlipstreamDataset(folder, cache_dir=tmp_path)
    cache = prepare_cache(dataset, verbose=False)
    assert f"of sequence {root}" in repr(dataset)
    assert list(cache.fields) == ["image", "label"]
    assert [int(label) for label in cache.load_batch(range(4))["label"]] == folder.targets
    for index, (path, _) in enumerate(folder.samples[:3]):
        assert cache[index]["image"] == Path(path).read_bytes()


def test_the_fingerprint_is_that_of_the_content(root: Path, tmp_path: Path) -> None:
    """The same wherever the folder lies; a name takes its place; other labels are another cache."""
    folder = ImageFolder(root)
    first = SequenceSource(folder).fingerprint()
    root.rename(tmp_path / "elsewhere")
    moved = ImageFolder(tmp_path / "elsewhere")
    assert SequenceSource(moved).fingerprint() == first
    assert SequenceSource(moved, "a name").fingerprint() != first
    moved.samples[0] = (moved.samples[0][0], 2)
    assert SequenceSource(moved).fingerprint() != first


def test_values_may_have_other_names(root: Path) -> None:
    """As those of any data set of tuples."""
    source = SequenceSource(ImageFolder(root), fields=("photo", "class"))
    assert list(source.field_types) == ["photo", "class"]
    assert source[3]["class"] == 2


def test_many_files_are_one_fingerprint(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In whatever portions they are looked at."""
    first = SequenceSource(ImageFolder(root)).fingerprint()
    monkeypatch.setattr(torchvision_folder, "_FILES_AT_ONCE", 3)
    assert SequenceSource(ImageFolder(root)).fingerprint() == first


def test_subsets(root: Path) -> None:
    """Also of subsets, and with ids that are tensors."""
    folder = ImageFolder(root)
    subset: Any = torch.utils.data.Subset(folder, torch.tensor([3, 1, 0]))  # type: ignore[arg-type]
    source = SequenceSource(torch.utils.data.Subset(subset, [2, 1]))
    paths = [Path(folder.samples[i][0]) for i in (0, 1)]
    assert [source[i]["image"] for i in range(2)] == [path.read_bytes() for path in paths]
    assert [source.describe(i) for i in range(2)] == ["Bär/2.JPEG", "Bär/ü 1.jpg"]


class Changed(ImageFolder):
    """With a method of its own."""

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return super().__getitem__(index)[0], 7


@pytest.mark.parametrize(
    "make",
    [
        Changed,
        lambda root: ImageFolder(root, loader=lambda path: Image.open(path).rotate(180)),
        lambda root: ImageFolder(root, target_transform=lambda label: 7),
    ],
)
def test_what_changes_its_files_is_asked(root: Path, make: Callable[[Path], ImageFolder]) -> None:
    """A folder with a method, loader or transform of its own gives what that gives."""
    folder = make(root)
    with pytest.raises(SourceError, match="no fingerprint"):
        SequenceSource(folder)
    sample, (image, label) = SequenceSource(folder, "name")[0], folder[0]
    assert sample["label"] == label
    assert (np.asarray(Image.open(io.BytesIO(sample["image"]))) == np.asarray(image)).all()


class Plain(ImageFolder):
    """With a method of its own that changes nothing."""

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return super().__getitem__(index)


def test_a_name_tells_files_from_pixels(root: Path) -> None:
    """What was stored under the same name as decoded pixels is not taken for the files."""
    files = SequenceSource(ImageFolder(root), "name").fingerprint()
    assert files == SequenceSource(ImageFolder(root), "name").fingerprint()
    assert files != SequenceSource(Plain(root), "name").fingerprint()
    assert files != SequenceSource(ImageFolder(root), "other").fingerprint()


@pytest.mark.parametrize("label", [1.5, "cat", True, torch.tensor(1)])
def test_labels_that_are_no_integers(root: Path, label: Any) -> None:
    """Such a folder is asked like any other object: it needs a name."""
    folder = ImageFolder(root)
    folder.samples[1] = (folder.samples[1][0], label)
    with pytest.raises(SourceError, match="no fingerprint"):
        SequenceSource(folder)
    folder.samples[1] = (folder.samples[1][0], np.int64(1))
    assert SequenceSource(folder)[1]["label"] == 1


def test_a_file_that_went_away_is_named(root: Path) -> None:
    """Already by the fingerprint."""
    folder = ImageFolder(root)
    (root / "ant/deep/3.jpg").unlink()
    with pytest.raises(SourceError, match=r"ant/deep/3\.jpg cannot be opened: No such file"):
        SequenceSource(folder)


def test_transforms_are_warned_about(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They are applied once; a transform of labels, or none, is no matter for a warning."""
    SequenceSource(ImageFolder(root, target_transform=int), "labels")
    SequenceSource(FakeData(2, (3, 8, 8)), "plain")
    assert not caplog.records
    crop = RandomCrop(4)
    for folder in (
        ImageFolder(root, crop),
        torch.utils.data.Subset(ImageFolder(root, crop), [0]),
        FakeData(2, (3, 8, 8), transform=crop),
    ):
        with caplog.at_level(logging.WARNING):
            SequenceSource(folder, "cropped")
        assert "has a transform" in caplog.text
        caplog.clear()


def test_files_that_cannot_be_read(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that went away, a pipe and one that is too large are named by the build."""
    dataset = SlipstreamDataset(ImageFolder(root), cache_dir=tmp_path / "caches")
    (root / "Bär/2.JPEG").unlink()
    os.mkfifo(root / "Bär/2.JPEG")
    assert dataset.source.sample_bytes(2) == (root / "ant/deep/3.jpg").stat().st_size  # type: ignore[union-attr]
    (root / "ant/deep/3.jpg").unlink()
    (root / "empty of jpegs/4.png").write_bytes(bytes(2000))
    monkeypatch.setattr(file_names, "MAX_FILE_BYTES", 1000)
    with pytest.raises(SourceReadError) as caught:
        prepare_cache(dataset, verbose=False)
    assert caught.value.sample_ids == [0, 2, 3]
    for part in ("2.JPEG is not a regular file", "ant/deep/3.jpg", "4.png in ", "2,000 bytes"):
        assert part in str(caught.value)


def test_it_can_be_pickled(root: Path) -> None:
    """As builds in other processes need."""
    source = SequenceSource(ImageFolder(root))
    assert pickle.loads(pickle.dumps(source))[2] == source[2]
