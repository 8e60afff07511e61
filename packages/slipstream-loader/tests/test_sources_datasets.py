"""Objects of ``datasets`` beside its plain data set: folders, streams, several splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from slipstream_loader import SlipstreamDataset, SlipstreamHFDataset, prepare_cache
from slipstream_loader.errors import SampleReadError, SourceError
from slipstream_loader.sources import HuggingFaceSource


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photos of two classes."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    for number in range(4):
        path = tmp_path / "photos" / f"c{number % 2}" / f"ü {number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (9, 7, 3), np.uint8)
        Image.fromarray(pixels).save(path, quality=60)
    return tmp_path / "photos"


def load(root: Path, **options: Any) -> Any:
    return datasets.load_dataset(
        "imagefolder", data_dir=str(root), cache_dir=str(root.parent / "hub"), **options
    )


def files(root: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(root.glob("*/*"))]


def test_a_folder_that_datasets_has_loaded(root: Path, tmp_path: Path) -> None:
    """Its images are paths: an error that says so; with consent, the files and their content."""
    folder = load(root, split="train")
    with pytest.raises(SampleReadError, match="allow_paths=True"):
        SlipstreamDataset(folder)
    source = HuggingFaceSource(folder, allow_paths=True)
    dataset = SlipstreamHFDataset(source, cache_dir=tmp_path / "caches")
    cache = prepare_cache(dataset, verbose=False)
    assert [cache[i]["image"] for i in range(4)] == files(root)
    assert [int(cache[i]["label"]) for i in range(4)] == [0, 0, 1, 1]
    assert dataset.classes == ["c0", "c1"]
    root.rename(tmp_path / "moved")
    moved = load(tmp_path / "moved", split="train")
    assert HuggingFaceSource(moved, allow_paths=True).fingerprint() == source.fingerprint()
    path = next((tmp_path / "moved").glob("*/*"))
    path.write_bytes(path.read_bytes() + b"\0")
    assert HuggingFaceSource(moved, allow_paths=True).fingerprint() != source.fingerprint()


def test_several_splits(root: Path) -> None:
    """A dict of data sets is told by its splits."""
    for both in (load(root), load(root, streaming=True)):
        with pytest.raises(SourceError, match=r"splits \['train'\]: give one, data\['train'\]"):
            SlipstreamDataset(both)


def test_streams_give_files(root: Path, tmp_path: Path) -> None:
    """The bytes of images, if the stream has them; those that are paths are decoded by it."""
    rows = [{"image": {"bytes": data, "path": None}, "label": 1} for data in files(root)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int8")})
    stream = datasets.Dataset.from_list(rows, features=features).to_iterable_dataset()
    dataset = SlipstreamDataset(stream, name="stream", cache_dir=tmp_path)
    cache = prepare_cache(dataset, verbose=False)
    assert [cache[i]["image"] for i in range(4)] == files(root)
    assert cache.fields["label"].dtype == "<i8"
    folder = load(root, split="train", streaming=True)
    dataset = SlipstreamDataset(folder, name="folder", cache_dir=tmp_path)
    assert len(prepare_cache(dataset, verbose=False)) == 4
    assert dataset.image_fields == ["image"]


def test_streams_without_features_or_with_a_format(root: Path, tmp_path: Path) -> None:
    """Are taken as they come."""
    rows = datasets.Dataset.from_list([{"x": 1}, {"x": 2}]).to_iterable_dataset()
    mapped = rows.map(lambda row: {"x": row["x"] + 1})
    formatted = load(root, split="train").to_iterable_dataset().with_format("numpy")
    for name, stream in (("mapped", mapped), ("formatted", formatted)):
        dataset = SlipstreamDataset(stream, name=name, cache_dir=tmp_path)
        cache = prepare_cache(dataset, verbose=False)
        if name == "mapped":
            assert [int(cache[i]["x"]) for i in range(2)] == [2, 3]
        else:
            assert cache[0]["image"].shape == (9, 7, 3)
