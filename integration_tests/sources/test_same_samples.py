"""The same images through every kind of source: equal bytes, labels, order and pixels.

Most sources are written by the library that owns the format; MDS and WebDataset as their formats
say, FFCV by our export (files of their own writers are in ``old_mds``, ``old_webdataset`` and
``old_ffcv``).
"""

from __future__ import annotations

import csv
import functools
import io
import json
import re
import struct
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import pytest
import torch
import torchvision
from litdata.streaming.writer import BinaryWriter
from PIL import Image

from slipstream_cache import SampleCache, SourceReadError, build, layout
from slipstream_cache.source import release
from slipstream_loader import prepare_cache
from slipstream_loader.transcode import transcode
from visionlab.slipstream import (
    DecodeCenterCrop,
    DecodeRandomResizedCrop,
    SlipstreamDataset,
    SlipstreamLoader,
    export_beton,
    export_webdataset,
    select,
)

pytestmark = pytest.mark.timeout(280)

CLASSES = ("Ameise", "Bär", "ネコ")
IN_CLASS = 6
PART_SAMPLES = 4


class Photo(NamedTuple):
    """One image with what belongs to it."""

    image: bytes
    label: int
    name: str


@functools.cache
def photos() -> list[Photo]:
    """Images of several sizes, one of them gray and one progressive, by class and name."""
    found = []
    for label, _ in enumerate(CLASSES):
        for number in range(IN_CLASS):
            rng = np.random.default_rng(10 * label + number)
            coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8))
            image = coarse.resize((40 + 7 * number, 60 - 5 * label)).convert(
                "L" * (number == 2) or "RGB"
            )
            file = io.BytesIO()
            image.save(file, "JPEG", quality=90, progressive=number == 3)
            found.append(Photo(file.getvalue(), label, f"{number} ü.jpg"))
    return found


def samples() -> Iterator[dict[str, Any]]:
    return (photo._asdict() for photo in photos())


def folder(root: Path) -> Path:
    for photo in photos():
        path = root / "photos" / CLASSES[photo.label] / photo.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo.image)
    return root / "photos"


def archive(ending: str) -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        path = root / f"photos.{ending}"
        with tarfile.open(path, f"w:{ending.partition('.')[2]}") as tar:
            for photo in photos():
                info = tarfile.TarInfo(f"{CLASSES[photo.label]}/{photo.name}")
                info.size = len(photo.image)
                tar.addfile(info, io.BytesIO(photo.image))
        return path

    return write


def litdata(root: Path) -> Path:
    writer = BinaryWriter(cache_dir=str(root / "chunks"), chunk_size=5)
    for index, sample in enumerate(samples()):
        writer.add_item(index, sample)
    writer.done()
    writer.merge()
    return root / "chunks"


def hugging_face(root: Path) -> datasets.Dataset:
    names = datasets.ClassLabel(names=list(CLASSES))
    features = {"image": datasets.Image(), "label": names, "name": datasets.Value("string")}
    rows = [{**s, "image": {"bytes": s["image"], "path": None}} for s in samples()]
    return datasets.Dataset.from_list(rows, features=datasets.Features(features))


def shuffled_back(root: Path) -> datasets.Dataset:
    """Rows in another order in memory, put right by an index."""
    order = np.random.default_rng(0).permutation(len(photos()))
    mixed = hugging_face(root).select(order).flatten_indices()
    return mixed.select(np.argsort(order))


def parquet(root: Path) -> Path:
    hugging_face(root).to_parquet(root / "photos.parquet", batch_size=5)
    return root / "photos.parquet"


def arrow(root: Path) -> Path:
    hugging_face(root).save_to_disk(root / "saved", num_shards=2)
    return root / "saved"


def torchvision_folder(root: Path) -> torchvision.datasets.ImageFolder:
    return torchvision.datasets.ImageFolder(str(folder(root)))


class Opened:
    """A data set that opens its files as most do, and lets Pillow keep them."""

    def __init__(self, root: Path) -> None:
        self.paths = sorted(folder(root).glob("*/*"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        path = self.paths[index]
        return Image.open(io.BytesIO(path.read_bytes())), CLASSES.index(path.parent.name)


def iterable(_: Path) -> Callable[[], Iterator[dict[str, Any]]]:
    return samples


def in_memory(_: Path) -> list[dict[str, Any]]:
    return list(samples())


def listed(root: Path) -> Path:
    paths = [f"photos/{CLASSES[photo.label]}/{photo.name}" for photo in photos()]
    folder(root)
    with (root / "list.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [(p, photo.label, photo.name) for p, photo in zip(paths, photos(), strict=True)]
        csv.writer(file).writerows([("path", "label", "name"), *rows])
    return root / "list.csv"


def built(root: Path) -> SampleCache:
    return prepare_cache(SlipstreamDataset(in_memory(root), cache_dir=root / "built"))


def cache_directory(root: Path) -> Path:
    return Path(built(root).cache_dir)


def cache_again(root: Path) -> Any:
    """A cache that is taken as a source, and stored once more."""
    return select(built(root))


def ffcv(root: Path) -> Path:
    export_beton(built(root), root / "photos.beton", verbose=False)
    return root / "photos.beton"


def webdataset(root: Path) -> Path:
    export_webdataset(built(root), root / "shards", shard_bytes=8000, verbose=False)
    return root / "shards"


def mds(root: Path) -> Path:
    columns = {"image": "jpeg", "label": "int", "name": "str"}
    shards = []
    (root / "mds").mkdir()
    for number in range(3):
        packed = []
        for photo in photos()[number * IN_CLASS : (number + 1) * IN_CLASS]:
            text = photo.name.encode()
            sizes = struct.pack("<II", len(photo.image), len(text))
            packed.append(sizes + photo.image + struct.pack("<q", photo.label) + text)
        begin = 4 * (IN_CLASS + 2) + 2
        offsets = [begin + sum(map(len, packed[:k])) for k in range(IN_CLASS + 1)]
        data = struct.pack(f"<{IN_CLASS + 2}I", IN_CLASS, *offsets) + b"{}" + b"".join(packed)
        name = f"shard.{number:05}.mds"
        (root / "mds" / name).write_bytes(data)
        shards.append(
            {
                "column_encodings": list(columns.values()),
                "column_names": list(columns),
                "column_sizes": [None, 8, None],
                "compression": None,
                "format": "mds",
                "hashes": [],
                "raw_data": {"basename": name, "bytes": len(data), "hashes": {}},
                "samples": IN_CLASS,
                "size_limit": None,
                "version": 2,
                "zip_data": None,
            }
        )
    (root / "mds/index.json").write_text(json.dumps({"version": 2, "shards": shards}))
    return root / "mds"


SOURCES: dict[str, Callable[[Path], Any]] = {
    "folder": folder,
    "tar": archive("tar"),
    "tar.gz": archive("tar.gz"),
    "tar.bz2": archive("tar.bz2"),
    "tar.xz": archive("tar.xz"),
    "litdata": litdata,
    "parquet": parquet,
    "arrow": arrow,
    "datasets.Dataset": hugging_face,
    "datasets.Dataset with indices": shuffled_back,
    "torchvision": torchvision_folder,
    "map-style": Opened,
    "iterable": iterable,
    "list": in_memory,
    "CSV": listed,
    "slipcache": cache_directory,
    "slipcache again": cache_again,
    "FFCV": ffcv,
    "WebDataset": webdataset,
    "MDS": mds,
}
KEPT = {"slipcache"}
"""Not built: opened as it is."""


def written(kind: str, root: Path) -> Any:
    """A source of a kind, or its place."""
    root.mkdir()
    return SOURCES[kind](root)


def opened(kind: str, source: Any, caches: Path) -> SlipstreamDataset:
    name = kind if kind in ("map-style", "iterable") else None
    return SlipstreamDataset(source, cache_dir=caches, name=name)


def pixels(dataset: SlipstreamDataset) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Centred and random crops, in the loader's shuffled order, and the labels."""
    found = []
    for stage in (DecodeCenterCrop(24), DecodeRandomResizedCrop(24)):
        pipelines = {"image": [stage]}
        loader = SlipstreamLoader(
            dataset, 7, pipelines=pipelines, seed=5, drop_last=False, verbose=False
        )
        batches = list(loader)
        loader.shutdown()
        found.append(torch.cat([batch["image"] for batch in batches]))
    labels = [int(label) for batch in batches for label in batch["label"]]
    return found[0], found[1], labels


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, list[int]]:
    """What the folder gives."""
    root = tmp_path_factory.mktemp("folder")
    return pixels(opened("folder", folder(root), root / "caches"))


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_gives_the_same_samples(
    kind: str, expected: tuple[Any, Any, list[int]], tmp_path: Path
) -> None:
    """Bytes, labels, names and order come back, and pipelines with one seed give equal pixels."""
    dataset = opened(kind, written(kind, tmp_path / "data"), tmp_path / "caches")
    cache = prepare_cache(dataset, verbose=False)
    assert len(cache) == len(photos())
    for index, photo in enumerate(photos()):
        sample = cache[index]
        assert bytes(sample["image"]) == photo.image
        assert int(sample["label"]) == photo.label
        assert sample.get("name", photo.name) == photo.name
        assert sample.get("path", photo.name).endswith(photo.name)
    centred, random, labels = pixels(dataset)
    assert torch.equal(centred, expected[0])
    assert torch.equal(random, expected[1])
    assert labels == expected[2]


@pytest.mark.parametrize("kind", sorted(SOURCES.keys() - KEPT))
def test_an_interrupted_build_goes_on_where_it_stopped(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts that are complete are not written again, and the cache is that of one build."""
    monkeypatch.setattr(layout, "MAX_PART_SAMPLES", PART_SAMPLES)
    source = written(kind, tmp_path / "data")
    whole = prepare_cache(opened(kind, source, tmp_path / "whole"), verbose=False)

    def stop(done: int, total: int) -> None:
        if done > 2 * total // 3:
            raise KeyboardInterrupt

    dataset = opened(kind, source, tmp_path / "caches")
    path = Path(dataset.cache_path)
    with pytest.raises(KeyboardInterrupt):
        build(dataset.source, path, transcode=transcode, progress=stop)
    kept = {part: part.stat().st_ino for part in path.glob("part-?????")}
    assert kept
    assert not (path / "manifest.json").exists()
    done: list[int] = []
    dataset = opened(kind, source, tmp_path / "caches")
    cache = build(
        dataset.source, path, transcode=transcode, progress=lambda now, _: done.append(now)
    )
    assert done[0] == PART_SAMPLES * len(kept)
    assert {part: part.stat().st_ino for part in kept} == kept
    assert cache.manifest.key == whole.manifest.key
    assert cache.manifest.parts == whole.manifest.parts


FILES = {
    "folder": "photos/Bär/4 ü.jpg",
    "CSV": "photos/Bär/4 ü.jpg",
    "litdata": "chunks/chunk-0-2.bin",
    "WebDataset": "shards/shard-000001.tar",
    "MDS": "mds/shard.00001.mds",
}
"""A file that some samples of a source are in, but not the first ones."""


@pytest.mark.parametrize("damage", ["missing", "cut off"])
@pytest.mark.parametrize("kind", FILES)
def test_a_mended_source_is_built_to_its_end(
    kind: str, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is damaged is named; when it is whole again, only parts without it are kept."""
    monkeypatch.setattr(layout, "MAX_PART_SAMPLES", PART_SAMPLES)
    source = written(kind, tmp_path / "data")
    dataset = opened(kind, source, tmp_path / "caches")
    cache_path = Path(dataset.cache_path)
    release(dataset.source)  # or what is open would be read
    file = tmp_path / "data" / FILES[kind]
    whole = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceReadError, match=re.escape(file.name)) as caught:
        prepare_cache(dataset, verbose=False)
    assert 0 not in caught.value.sample_ids
    kept = {part: part.stat().st_ino for part in cache_path.glob("part-?????")}
    assert kept
    file.write_bytes(whole)
    cache = prepare_cache(opened(kind, source, tmp_path / "caches"), verbose=False)
    assert cache.cache_dir == cache_path
    assert {part: part.stat().st_ino for part in kept} == kept
    assert [bytes(cache[i]["image"]) for i in range(len(cache))] == [p.image for p in photos()]
