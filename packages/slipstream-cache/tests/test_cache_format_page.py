"""The normative page of the format describes the caches that are written."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipstream_cache import (
    Codec,
    Condition,
    FieldSpec,
    ImageFlag,
    Recipe,
    build,
    derive,
    layout,
    write_index,
    write_stats,
)
from slipstream_cache.layout import IMAGE_SAMPLE_DTYPE
from slipstream_cache.testing import MemorySource, make_jpeg

README = Path(__file__).parents[1] / "README.md"
PAGE = Path(__file__).parents[3] / "docs" / "reference" / "cache-format.md"
needs_page = pytest.mark.skipif(not PAGE.exists(), reason="the docs are not in this distribution")


def run_fence(page: Path) -> dict[str, Any]:
    """Run the only Python code on a page; returns its names."""
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    return namespace


def test_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example of the README works as it is written."""
    monkeypatch.chdir(tmp_path)
    run_fence(README)
    assert "1,000 samples" in capsys.readouterr().out


@needs_page
def test_the_pages_reader_reads_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code from the page, with json and NumPy alone, gives back every sample."""
    monkeypatch.setattr(layout, "MAX_PART_SAMPLES", 4)
    samples: list[dict[str, Any]] = [
        {
            "image": make_jpeg(i + 1, 9),
            "label": np.int16(i),
            "vector": np.full((2, 2), i, "<f4"),
            "path": f"{i}/\udcff ä" * (i % 3),
            "raw": bytes([i]) * i,
            "meta": [i, {"ü": None}],
        }
        for i in range(10)
    ]
    build(MemorySource(samples), tmp_path / "c")
    reader = run_fence(PAGE)["Slipcache"](tmp_path / "c")
    assert len(reader) == 10
    for i, sample in enumerate(samples):
        found = reader[i]
        assert (found.pop("vector") == sample.pop("vector")).all()
        assert found == sample


@needs_page
def test_the_page_names_the_rows_and_numbers_of_the_code() -> None:
    """Columns, codecs, conditions, flags and limits on the page are those in ``layout``."""
    text = PAGE.read_text(encoding="utf-8")
    assert IMAGE_SAMPLE_DTYPE.itemsize == 32
    for name in IMAGE_SAMPLE_DTYPE.names or ():
        kind = IMAGE_SAMPLE_DTYPE[name].str.replace("|", "\\|")
        assert re.search(rf"\| [^|]*`{name}`[^|]* \| `{re.escape(kind)}` \|", text), name
    for number in (*Codec, *Condition):
        assert f"{number.value} {number.name.split('.')[-1]}".lower() in text.lower()
    for flag in ImageFlag:
        assert f"{flag.value} {str(flag.name).lower()}" in text
    assert f"{layout.MAX_PART_SAMPLES:,} samples" in text
    assert layout.MAX_PART_BYTES == 1 << 30
    assert f"{layout.PAYLOAD_PADDING_BYTES} zero bytes" in text


@needs_page
def test_the_page_names_the_keys_of_additions(tmp_path: Path) -> None:
    """The manifests of derived fields, indexes and statistics have the keys of its tables."""
    cache = build(MemorySource([{"image": make_jpeg(3, 5), "label": 1}]), tmp_path / "c")
    recipe = Recipe("widths", 1, FieldSpec("dense", "<i4"))
    derive(cache, "image", "width", recipe, lambda payloads: payloads.widths)
    write_index(cache, "label")
    write_stats(cache, "mean", ["label"], {"mean": 1})
    text = PAGE.read_text(encoding="utf-8")
    shared = table_keys(text, "## Additions")
    for heading, file in (
        ("### derived/", "derived/image.width/manifest.json"),
        ("### index/", "index/label/manifest.json"),
        ("### stats/", "stats/mean.json"),
    ):
        document = json.loads((cache.cache_dir / file).read_text())
        assert document.keys() == shared | table_keys(text, heading)
        assert f'`"{document["format"]}"`' in text
        assert document["version"] == 1


@needs_page
def test_the_page_tells_the_directory_of_a_derived_field(tmp_path: Path) -> None:
    """Its name is the hash that the page describes."""
    cache = build(MemorySource([{"image": make_jpeg(3, 5)}]), tmp_path / "c")
    recipe = Recipe("widths", 1, FieldSpec("dense", "<i4"), {"x": [1]})
    found = derive(cache, "image", "width", recipe, lambda payloads: payloads.widths)
    document = json.loads((found.directory.parent / "manifest.json").read_text())
    hashed = {key: document[key] for key in ("name", "recipe", "parent")}
    digest = hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()
    assert found.directory.name == document["directory"] == digest[:16]


def table_keys(text: str, heading: str) -> set[str]:
    """The names in the first column of the table that follows a heading."""
    section = text[text.index(heading) :].split("|---|---|\n", 1)[1].split("\n\n", 1)[0]
    return {
        key for row in section.splitlines() for key in re.findall(r"`(\w+)`", row.split("|")[1])
    }
