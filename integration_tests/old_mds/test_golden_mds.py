"""MDS data sets that mosaicml-streaming wrote are read value for value, pickles never loaded."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slipstream_loader import MDSSource, SlipstreamDataset
from slipstream_loader.prepare import prepare_cache

GOLDEN = Path(__file__).parent / "golden"
CONTENTS: list[dict[str, Any]] = json.loads((GOLDEN / "contents.json").read_text())

pytestmark = pytest.mark.timeout(120)


def as_json(name: str, value: Any) -> Any:
    """A value as the contents have it."""
    if name in ("image", "mask", "raw"):
        image = Image.open(io.BytesIO(value))
        return [list(image.size), image.convert("RGB").tobytes().hex()]
    if name == "object":
        return pickle.loads(value)  # of our own file
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, dict) else np.asarray(value).tolist()


@pytest.mark.parametrize("name", ["plain", "zstd", "gz"])
def test_every_encoding(name: str, tmp_path: Path) -> None:
    """Numbers, arrays, images, text, JSON and bytes come back through source and cache."""
    dataset = SlipstreamDataset(GOLDEN / name, cache_dir=tmp_path)
    assert isinstance(dataset.source, MDSSource)
    cache = prepare_cache(dataset)
    assert len(dataset) == len(CONTENTS)
    for number, expected in enumerate(CONTENTS):
        sample = dataset[number]
        assert {field: as_json(field, value) for field, value in sample.items()} == expected
        stored = cache[number]
        assert stored["image"] == sample["image"]
        for field in sample.keys() - {"mask", "raw"}:
            assert as_json(field, stored[field]) == expected[field]
    assert cache.fields["small"].dtype == "|u1"
    assert cache.fields["fixed"].dtype == "<i2"
