"""LitData data sets as litdata writes them: each layout and kind of leaf, every sample equal."""

from __future__ import annotations

import copy
import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream_cache import FieldSpec, StorageOptions
from slipstream_loader.dataset import SlipstreamDataset
from slipstream_loader.loader import SlipstreamLoader
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.sources import open_source
from slipstream_loader.sources.litdata import LitDataSource

pytestmark = pytest.mark.timeout(120)

NUM_SAMPLES = 11

Write = Callable[..., Path]


def jpeg(number: int) -> bytes:
    """A small image file, another one for each number."""
    pixels = np.random.default_rng(number).integers(0, 255, (16 + number, 24, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Write samples with litdata's own writer, which ``litdata.optimize`` uses as well."""
    from litdata.streaming.writer import BinaryWriter

    def write(samples: list[Any], **options: Any) -> Path:
        folder = tmp_path_factory.mktemp("litdata")
        writer = BinaryWriter(cache_dir=str(folder), **{"chunk_size": 4, **options})
        for number, sample in enumerate(samples):
            writer.add_item(number, sample)
        writer.done()
        writer.merge()
        return folder

    return write


def assert_equal(found: Any, expected: Any) -> None:
    """Same values, and the same types but for tensors, which become arrays."""
    if isinstance(expected, torch.Tensor):
        expected = expected.numpy()
    if isinstance(expected, (np.ndarray, np.generic)):
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        np.testing.assert_array_equal(found, expected)
    else:
        assert type(found) is type(expected)
        assert found == expected


def check(folder: Path, expected: list[dict[str, Any]], tmp_path: Path) -> LitDataSource:
    """Samples of the source and of the cache built from it are those expected, in order."""
    source = open_source(folder)
    assert isinstance(source, LitDataSource)
    assert len(source) == len(expected)
    for number, sample in enumerate(expected):
        found = source[number]
        assert list(found) == list(sample)
        for name, value in sample.items():
            assert_equal(found[name], value)
    cache = prepare_cache(SlipstreamDataset(source, cache_dir=tmp_path))
    for number, sample in enumerate(expected):
        stored = cache[number]
        for name, value in sample.items():
            value = value.numpy() if isinstance(value, torch.Tensor) else value
            np.testing.assert_array_equal(stored[name], value)
    return source


PLAIN = [
    {"image": jpeg(i), "label": i - 3, "path": f"class/ü{i}", "score": i / 7, "flag": i % 3 == 0}
    for i in range(NUM_SAMPLES)
]
NESTED = [
    {
        "label": i,
        "meta": {"size": [i, 2 * i], "tags": [f"a{i}"] * (i % 3), "name": "x" * i, "no": None},
        "captions": [{"text": "é" * i, "score": i / 2, "ok": i % 2 == 0}] * (i % 4),
        "empty": [],
        "maybe": None if i % 2 else f"value {i}",
    }
    for i in range(NUM_SAMPLES)
]
TYPED = [
    {
        "image": jpeg(i),
        "label": np.int64(i),
        "weight": np.float32(i / 3),
        "vector": np.arange(5, dtype=np.float32) * i,
        "matrix": np.full((2, 3), i, np.int16),
        "tensor": torch.arange(6).reshape(2, 3) + i,
        "row": torch.linspace(0, i, 4),
        "name": "naïve" * i,
        "flags": np.array([i % 2 == 0, True]),
    }
    for i in range(NUM_SAMPLES)
]


@pytest.mark.parametrize("samples", [PLAIN, NESTED], ids=["plain", "nested"])
def test_rows(samples: list[dict[str, Any]], write: Write, tmp_path: Path) -> None:
    """Dicts of bytes, numbers, text and JSON values, which litdata writes as Arrow rows."""
    folder = write(samples)
    assert (folder / "chunk-0-0.bin").read_bytes()[-8:] == b"LDARW01\0"
    check(folder, samples, tmp_path)


def test_rows_in_several_batches(write: Write, tmp_path: Path) -> None:
    """A batch has 256 rows; text that is compressed inside of the rows is the same."""
    samples = [{"text": f"{i} " * (i % 50), "number": i} for i in range(600)]
    plain = check(write(samples, chunk_size=550), samples, tmp_path / "plain")
    folder = write(samples, chunk_size=550, compression="zstd")
    assert json.loads((folder / "index.json").read_text())["config"]["ipc_compression"] == "zstd"
    packed = check(folder, samples, tmp_path / "packed")
    assert plain.fingerprint() != packed.fingerprint()


@pytest.mark.parametrize(
    ("level", "magic"), [(None, b""), ("batch", b"LDFZ01"), ("sample", b""), ("chunk", b"")]
)
def test_items(level: str | None, magic: bytes, write: Write, tmp_path: Path) -> None:
    """Every kind of leaf, plain, in frames, compressed alone, and as whole files."""
    compression = {"compression": "zstd", "compression_level": level} if level else {}
    folder = write(TYPED, **compression)
    chunk = min(folder.glob("*.bin"))
    assert chunk.read_bytes().startswith(magic)
    assert ("zstd" in chunk.name) == (level == "chunk")
    source = check(folder, TYPED, tmp_path)
    assert source.field_types["label"] == FieldSpec("dense", dtype="<i8")
    assert source.field_types["matrix"] == FieldSpec("dense", dtype="<i2", shape=(2, 3))


def test_frames_of_some_items(write: Write, tmp_path: Path) -> None:
    """A sample here and there is found in its frame, also in the last, shorter one."""
    options = {"compression": "zstd:7", "compression_level": "batch", "compression_batch_size": 3}
    folder = write(TYPED, chunk_size=8, **options)
    check(folder, TYPED, tmp_path)
    source = LitDataSource(folder)
    for number in (10, 5, 7, 0, 2):
        assert source[number]["image"] == TYPED[number]["image"]


def test_images_keep_their_files(write: Write, tmp_path: Path) -> None:
    """Pillow's JPEG files, litdata's image types; images of pixels keep every pixel."""
    import litdata

    paths = []
    for number in range(NUM_SAMPLES):
        paths.append(tmp_path / f"{number}.jpg")
        paths[-1].write_bytes(jpeg(number))
    pixels = [Image.open(io.BytesIO(jpeg(i))).convert("RGB") for i in range(NUM_SAMPLES)]
    grey = [image.convert("L") for image in pixels]
    samples = [
        {
            "file": Image.open(path),
            "jpeg": litdata.Jpeg(path=str(path)),
            "image": litdata.Image(path=str(path)),
            "pixels": pixels[number],
            "mask": grey[number],
        }
        for number, path in enumerate(paths)
    ]
    source = LitDataSource(write(samples))
    for sample in samples:
        sample["file"].close()
    cache = prepare_cache(SlipstreamDataset(source, cache_dir=tmp_path / "caches"))
    assert set(cache.image_fields) == {"file", "jpeg", "image", "pixels", "mask"}
    for number, path in enumerate(paths):
        for name in ("file", "jpeg", "image"):
            assert source[number][name] == cache[number][name] == path.read_bytes()
        for name, expected in (("pixels", pixels), ("mask", grey)):
            found = Image.open(io.BytesIO(source[number][name]))
            np.testing.assert_array_equal(np.asarray(found), np.asarray(expected[number]))


def test_samples_that_are_no_dicts(write: Write, tmp_path: Path) -> None:
    """Pairs, longer tuples, single values and nested leaves: what their fields are named."""
    pairs = [(jpeg(i), i) for i in range(NUM_SAMPLES)]
    check(write(pairs), [{"image": data, "label": label} for data, label in pairs], tmp_path / "a")
    triples = [(data, label, f"{label}") for data, label in pairs]
    numbered = [{"0": data, "1": label, "2": text} for data, label, text in triples]
    check(write(triples), numbered, tmp_path / "d")
    check(
        write([data for data, _ in pairs]), [{"value": data} for data, _ in pairs], tmp_path / "b"
    )
    boxes = [{"boxes": {"xyxy": np.ones(4) * i, "ids": [i]}, "y": (i, "s")} for i in range(5)]
    expected = [{"boxes.xyxy": np.ones(4) * i, "boxes.ids": [i], "y": [i, "s"]} for i in range(5)]
    check(write(boxes), expected, tmp_path / "c")


def test_image_dicts_are_images(write: Write, tmp_path: Path) -> None:
    """The dicts of bytes and path that Hugging Face makes are their bytes."""
    samples = [{"image": {"bytes": jpeg(i), "path": None}, "label": i} for i in range(6)]
    check(write(samples), [{"image": jpeg(i), "label": i} for i in range(6)], tmp_path)
    typed = [{"image": {"bytes": jpeg(i), "path": "x"}, "v": np.ones(2)} for i in range(6)]
    check(write(typed), [{"image": jpeg(i), "v": np.ones(2)} for i in range(6)], tmp_path / "v")


def test_other_files_are_bytes(write: Write, tmp_path: Path, caplog: Any) -> None:
    """Files, and kinds of leaves that are not known, are not lost."""
    import litdata

    samples = [{"data": litdata.File(bytes=b"%d" % i, path="x.bin"), "label": i} for i in range(3)]
    folder = write(samples)
    check(folder, [{"data": b"%d" % i, "label": i} for i in range(3)], tmp_path)
    index = json.loads((folder / "index.json").read_text())
    index["config"]["data_format"][0] = "hologram"
    (folder / "index.json").write_text(json.dumps(index))
    with caplog.at_level(logging.WARNING):
        assert LitDataSource(folder)[2] == {"data": b"2", "label": 2}
    assert "hologram" in caplog.text


@pytest.mark.timeout(280)
def test_optimize_and_the_loader(tmp_path: Path) -> None:
    """What ``litdata.optimize`` writes with a worker of its own, by bytes, through the loader."""
    import litdata

    from slipstream_decoders import DecodeCenterCrop

    samples = [{"image": jpeg(i), "label": i} for i in range(20)]
    litdata.optimize(
        fn=copy.copy,
        inputs=samples,
        output_dir=str(tmp_path / "data"),
        chunk_bytes="8KB",
        num_workers=1,
        verbose=False,
    )
    dataset = SlipstreamDataset(tmp_path / "data", cache_dir=tmp_path / "caches")
    assert len(list((tmp_path / "data").glob("*.bin"))) > 1
    loader = SlipstreamLoader(dataset, batch_size=6, shuffle=False)
    batches = list(loader)
    assert [int(label) for batch in batches for label in batch["label"]] == list(range(20))
    crops = {"image": DecodeCenterCrop(16)}
    litdata_crops = list(SlipstreamLoader(dataset, batch_size=20, shuffle=False, pipelines=crops))
    listed = SlipstreamDataset(samples, cache_dir=tmp_path / "caches")
    other = list(SlipstreamLoader(listed, batch_size=20, shuffle=False, pipelines=crops))
    assert torch.equal(litdata_crops[0]["image"], other[0]["image"])


def test_the_fingerprint_is_that_of_the_index(write: Write, tmp_path: Path) -> None:
    """Wherever the data lies; another writing of it, or a subset of fields, is another cache."""
    folder = write(PLAIN)
    moved = tmp_path / "moved"
    folder.rename(moved)
    source = LitDataSource(moved)
    again = LitDataSource(write(PLAIN))
    assert source.fingerprint() == LitDataSource(moved).fingerprint() != again.fingerprint()
    assert source.version == json.loads((moved / "index.json").read_text())["updated_at"]
    some = StorageOptions(fields=("label",))
    dataset = SlipstreamDataset(source, cache_dir=tmp_path, storage_options=some)
    assert list(prepare_cache(dataset)[3]) == ["label"]
    assert dataset.cache_path != SlipstreamDataset(source, cache_dir=tmp_path).cache_path
