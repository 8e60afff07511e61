"""Shards that webdataset wrote are read byte for byte, and it reads the shards that we write."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipstream_loader import SlipstreamDataset, WebDatasetSource, export_webdataset
from slipstream_loader.prepare import prepare_cache

FOLDER = Path(__file__).parent
GOLDEN = FOLDER / "golden"
CONTENTS: list[dict[str, Any]] = json.loads((GOLDEN / "contents.json").read_text())
_PYTHON = "SLIPSTREAM_WEBDATASET_PYTHON"
_FIELDS = {
    "jpg": "image",
    "mask.png": "mask",
    "cls": "label",
    "caption.txt": "caption",
    "__key__": "key",
}
"""Members -> fields, where the names differ."""

pytestmark = pytest.mark.timeout(120)


def as_json(value: Any) -> Any:
    """A value as the contents have it."""
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, dict) else np.asarray(value).tolist()


@pytest.mark.parametrize(
    "shards", ["plain-{000000..000001}.tar", "packed.tar.gz", "plain-*.tar", ""]
)
def test_every_type_of_member(shards: str, tmp_path: Path) -> None:
    """Images, labels, JSON, text, arrays and bytes come back through source and cache."""
    place = str(GOLDEN / shards) if shards else GOLDEN
    dataset = SlipstreamDataset(place, cache_dir=tmp_path)
    assert isinstance(dataset.source, WebDatasetSource)
    cache = prepare_cache(dataset)
    assert len(dataset) == len(CONTENTS)
    for number, expected in enumerate(CONTENTS):
        found = {name: as_json(value) for name, value in dataset[number].items()}
        stored = {name: as_json(value) for name, value in cache[number].items()}
        renamed = {_FIELDS.get(name, name): value for name, value in expected.items()}
        assert found == renamed
        assert {**stored, "mask": None} == {**renamed, "mask": None}  # a PNG is stored again


def test_the_contents_are_what_was_written() -> None:
    """The samples that the writer was given are those of the file of contents."""
    written = runpy.run_path(str(FOLDER / "make.py"))["samples"]()
    for sample, expected in zip(written, CONTENTS, strict=True):
        for name in ("__key__", "cls", "json", "caption.txt"):
            assert sample[name] == expected[name]


def test_webdataset_reads_what_we_write(tmp_path: Path) -> None:
    """Every member of our shards is what webdataset decodes."""
    python = os.environ.get(_PYTHON)
    if not python:
        pytest.skip(f"webdataset is in an environment of its own: set {_PYTHON} to its Python")
    dataset = SlipstreamDataset(str(GOLDEN / "plain-*.tar"), cache_dir=tmp_path)
    cache = prepare_cache(dataset)
    fields = [name for name in cache.fields if name != "mask"]
    shards = export_webdataset(
        cache, tmp_path / "ours", fields=fields, shard_bytes=2000, verbose=False
    )
    assert len(shards) > 1
    names = f"{tmp_path}/ours/shard-{{000000..{len(shards) - 1:06}}}.tar"
    run = subprocess.run(
        [python, str(FOLDER / "read_back.py"), names],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout)
    for theirs, expected in zip(found, CONTENTS, strict=True):
        assert theirs == {name: v for name, v in expected.items() if name != "mask.png"}
