"""Files that FFCV wrote are read byte for byte, and FFCV reads the files that we write."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slipstream_cache import SampleCache, StorageOptions
from slipstream_decoders import DecodeOnly
from slipstream_loader import SlipstreamDataset, SlipstreamLoader, export_beton
from slipstream_loader.prepare import prepare_cache

FOLDER = Path(__file__).parent
GOLDEN = FOLDER / "golden"
CONTENTS: dict[str, list[dict[str, Any]]] = json.loads((GOLDEN / "contents.json").read_text())
_FFCV_PYTHON = "SLIPSTREAM_FFCV_PYTHON"

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden files, unpacked."""
    folder = tmp_path_factory.mktemp("ffcv")
    for path in GOLDEN.glob("*.gz"):
        (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    return folder


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pixels(file: bytes) -> bytes:
    """Of an image file."""
    return Image.open(io.BytesIO(file)).convert("RGB").tobytes()


def assert_image(file: bytes, expected: dict[str, Any]) -> str:
    """Check an image against what FFCV was given; returns how it was stored."""
    if file.startswith(b"\xff\xd8"):
        assert sha(file) == expected["jpeg"]
        return "jpeg"
    assert sha(pixels(file)) == expected["pixels"]
    assert list(Image.open(io.BytesIO(file)).size[::-1]) == expected["size"]
    return "pixels"


def assert_every_type(sample: dict[str, Any], expected: dict[str, Any]) -> None:
    """Check all fields but the image."""
    assert (sample["label"], sample["score"]) == (expected["label"], expected["score"])
    assert (sample["vector"] == np.array(expected["vector"], "<f4")).all()
    assert (sample["tensor"] == np.array(expected["tensor"], "<i8")).all()
    assert sample["vector"].shape == (2, 3)
    assert sample["caption"] == expected["caption"]
    assert sample["blob"].hex() == expected["blob"]


def test_every_type_of_field(files: Path, tmp_path: Path) -> None:
    """JPEG bytes, pixels, numbers, arrays, JSON and bytes come back through source and cache."""
    dataset = SlipstreamDataset(
        files / "every_type.beton", cache_dir=tmp_path, storage_options=StorageOptions(codec="rgb")
    )
    cache = prepare_cache(dataset)
    modes = set()
    assert len(dataset) == len(CONTENTS["every_type"])
    for number, expected in enumerate(CONTENTS["every_type"]):
        modes.add(assert_image(dataset[number]["image"], expected))
        assert_every_type(dataset[number], expected)
        assert_every_type(cache[number], expected)
        stored = cache[number]["image"]
        assert sha(stored) in (expected["jpeg"], expected["pixels"])
    assert modes == {"jpeg", "pixels"}


@pytest.mark.parametrize(
    ("name", "contents", "mode"),
    [
        ("jpg.ffcv", "small", "jpeg"),
        ("raw.beton", "small", "pixels"),
        ("pages.beton", "pages", "pixels"),
        ("custom.beton", "small", "jpeg"),
    ],
)
def test_modes_pages_and_custom_types(files: Path, name: str, contents: str, mode: str) -> None:
    """Images of either mode, over many pages of two writers, and in a field of a custom type."""
    source = SlipstreamDataset(local_dir=files / name).source
    assert len(source) == len(CONTENTS[contents])
    for number, expected in enumerate(CONTENTS[contents]):
        sample = source[number]
        image = sample["photo"] if name == "custom.beton" else sample["image"]
        assert assert_image(image, expected) == mode
        assert sample["label"] == expected["label"]


def test_pixels_through_the_loader(files: Path, tmp_path: Path) -> None:
    """Raw images keep their pixels to the end, where the cache stores pixels."""
    dataset = SlipstreamDataset(
        files / "raw.beton", cache_dir=tmp_path, storage_options=StorageOptions(codec="rgb")
    )
    loader = SlipstreamLoader(
        dataset, 10, shuffle=False, pipelines={"image": [DecodeOnly()]}, verbose=False
    )
    batch = next(iter(loader))
    found = [sha(np.asarray(image).tobytes()) for image in batch["image"]]
    assert found == [expected["pixels"] for expected in CONTENTS["small"]]
    assert batch["label"].tolist() == [expected["label"] for expected in CONTENTS["small"]]


@pytest.fixture
def ffcv_python() -> str:
    """A Python that has FFCV."""
    python = os.environ.get(_FFCV_PYTHON)
    if not python:
        pytest.skip(f"FFCV needs an environment of its own: set {_FFCV_PYTHON} to its Python")
    return python


def test_ffcv_reads_what_we_write(files: Path, tmp_path: Path, ffcv_python: str) -> None:
    """FFCV's reader finds the bytes of every image, and its loader every other value."""
    dataset = SlipstreamDataset(
        files / "every_type.beton", cache_dir=tmp_path, storage_options=StorageOptions(codec="rgb")
    )
    cache: SampleCache = prepare_cache(dataset)
    written = export_beton(cache, tmp_path / "ours.beton", verbose=False)
    run = subprocess.run(
        [ffcv_python, str(FOLDER / "read_back.py"), str(written)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout)
    assert found["kinds"] == {
        "image": "RGBImageField",
        "label": "IntField",
        "score": "FloatField",
        "vector": "NDArrayField",
        "tensor": "NDArrayField",
        "caption": "JSONField",
        "blob": "BytesField",
    }
    for number, (theirs, expected) in enumerate(
        zip(found["samples"], CONTENTS["every_type"], strict=True)
    ):
        image = theirs["image"]
        assert image["size"] == expected["size"]
        assert image["payload"] == expected["jpeg" if image["mode"] == 0 else "pixels"]
        assert theirs["label"] == [expected["label"]]
        assert theirs["score"] == [expected["score"]]
        for name in ("vector", "tensor", "caption"):
            assert theirs[name] == expected[name], (number, name)
        blob = bytes.fromhex(expected["blob"])
        assert bytes(theirs["blob"][: len(blob)]) == blob
