"""The normative page of the format describes the caches that are written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipstream_cache import Codec, Condition, ImageFlag, build, layout
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
