"""The golden cache of format 2 is read as it was written, and written again byte for byte."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from slipstream_cache import (
    Condition,
    SampleCache,
    build,
    layout,
    read_stats,
    verify,
)
from slipstream_cache.testing import read_tree

FOLDER = Path(__file__).parent
GOLDEN = FOLDER / "v2"


@pytest.fixture(scope="module")
def maker() -> dict[str, Any]:
    """What made the golden cache."""
    return runpy.run_path(str(FOLDER / "make_v2.py"))


def test_the_golden_cache_is_whole() -> None:
    """Its files are small, and all hashes and checksums are right."""
    assert sum(map(len, read_tree(GOLDEN).values())) < 60_000
    report = verify(GOLDEN, level="full")
    assert report.problems == ()
    assert report.notes == ()


def test_every_value_is_read(maker: dict[str, Any]) -> None:
    """All samples, image headers, conditions, and what was added to the cache."""
    cache = SampleCache.open(GOLDEN)
    samples = maker["source"]().samples
    assert len(cache) == len(samples) == maker["COUNT"]
    for i, (found, given) in enumerate(zip(cache, samples, strict=True)):
        assert found.pop("half").tobytes() == given["half"].tobytes()
        expected = {**given, "image": given["image"][:12] if i == 3 else given["image"]}
        assert found == {name: value for name, value in expected.items() if name != "half"}
    payloads = cache.payloads("image", range(len(cache)))
    assert payloads.codecs.tolist() == [0, 0, 0, 2, 255] + [0] * 7
    assert payloads.heights.tolist() == [1, 2, 3, 2, 0, *range(6, 13)]
    assert cache.conditions("image")[4] == Condition.UNREADABLE
    derived = cache.derived("image", "heights", maker["DERIVED"])
    assert derived.load([11, 0]) == [b"\x0c\x0c", b"\x01\x01"]
    assert cache.value_index("label").sample_ids(1).tolist() == [1, 4, 7, 10]
    assert cache.value_index("path").sample_ids("").tolist() == [0, 4, 8]
    assert read_stats(cache, "mean") == maker["STATS"]


def test_building_again_gives_the_same_bytes(
    maker: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Manifest and parts of today's builder are those of the golden cache."""
    monkeypatch.setattr(layout, "MAX_PART_SAMPLES", maker["PART_SAMPLES"])
    cache = build(maker["source"](), tmp_path / "c", transcode=maker["stored_again"])
    golden = read_tree(GOLDEN)
    kept = {name for name in golden if name.startswith("part-") or name == "manifest.json"}
    assert read_tree(cache.cache_dir) == {name: golden[name] for name in kept}
