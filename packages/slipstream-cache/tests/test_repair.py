"""Repair: damaged parts come back byte for byte from their source, or nothing is changed."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slipstream_cache import (
    DerivedNotFoundError,
    FieldSpec,
    IndexNotFoundError,
    ManifestError,
    Recipe,
    RepairError,
    SampleCache,
    build,
    derive,
    layout,
    read_stats,
    repair,
    verify,
    write_index,
    write_stats,
)
from slipstream_cache.testing import MemorySource, make_jpeg, read_tree

COUNT = 18
SAMPLES: list[dict[str, Any]] = [
    {"image": make_jpeg(9, i + 1, body=bytes([i]) * 50), "path": f"{i}", "label": i}
    for i in range(COUNT)
]
SOURCE = MemorySource(SAMPLES)
WIDTHS = Recipe("widths", 1, FieldSpec("dense", "<i4"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SampleCache:
    """A cache of five parts."""
    monkeypatch.setattr(layout, "MAX_PART_SAMPLES", 4)
    return build(SOURCE, tmp_path / "c")


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def damage(cache: SampleCache) -> dict[str, bytes]:
    """Damage three parts in several ways; returns the files as they were."""
    expected = read_tree(cache.cache_dir)
    flip(cache.cache_dir / "part-00001" / "image.bin")
    (cache.cache_dir / "part-00002" / "path.bin").unlink()
    (cache.cache_dir / "part-00002" / "label.npy").unlink()
    (cache.cache_dir / "part-00002" / "label.npy").mkdir()
    shutil.rmtree(cache.cache_dir / "part-00004")
    return expected


def test_damaged_parts_come_back_byte_for_byte(cache: SampleCache) -> None:
    """Only the samples of damaged parts are read, and the cache is what it was."""
    expected = damage(cache)
    seen: list[tuple[int, int]] = []
    samples = [
        sample if 4 <= i < 12 or i >= 16 else OSError("read") for i, sample in enumerate(SAMPLES)
    ]
    repaired = repair(
        verify(cache, level="full"),
        replace(SOURCE, samples=samples, types=cache.fields),
        progress=lambda *counts: seen.append(counts),
    )
    assert [path.name for path in repaired] == ["part-00001", "part-00002", "part-00004"]
    assert read_tree(cache.cache_dir) == expected
    assert seen[-1] == (10, 10)
    assert verify(cache, level="full", source=SOURCE).ok
    assert repair(verify(cache), SOURCE) == []


def test_another_source_repairs_nothing(cache: SampleCache) -> None:
    """A source of another fingerprint is refused, whatever it holds."""
    damage(cache)
    before = read_tree(cache.cache_dir)
    with pytest.raises(RepairError, match="is not what"):
        repair(verify(cache, level="full"), replace(SOURCE, name="other"))
    assert read_tree(cache.cache_dir) == before


@pytest.mark.parametrize("wrong", [{"label": -1}, OSError("gone")])
def test_other_bytes_repair_nothing(cache: SampleCache, wrong: Any) -> None:
    """A source that lies, or fails, changes no part at all."""
    damage(cache)
    before = read_tree(cache.cache_dir)
    samples: list[Any] = list(SAMPLES)
    samples[9] = wrong if isinstance(wrong, OSError) else {**SAMPLES[9], **wrong}
    with pytest.raises(RepairError):
        repair(verify(cache, level="full"), replace(SOURCE, samples=samples))
    assert read_tree(cache.cache_dir) == before


def test_damaged_additions_are_removed_and_made_again(cache: SampleCache) -> None:
    """A derived field keeps its whole parts; indexes and statistics are gone until renewed."""
    field = derive(cache, "image", "width", WIDTHS, lambda payloads: payloads.widths)
    write_index(cache, ["label", "path"])
    write_stats(cache, "mean", ["label"], {"mean": 1})
    expected = read_tree(cache.cache_dir / "derived")
    flip(field.directory / "part-00003" / "width.npy")
    flip(next((cache.cache_dir / "index" / "label").rglob("values.npy")))
    (cache.cache_dir / "stats" / "mean.json").write_text("{")
    assert len(repair(verify(cache, level="full"), SOURCE)) == 3
    assert verify(cache, level="full").ok
    with pytest.raises(DerivedNotFoundError):
        cache.derived("image", "width")
    with pytest.raises(IndexNotFoundError):
        cache.value_index("label")
    assert len(cache.value_index("path")) == COUNT
    assert read_stats(cache, "mean") is None
    made: list[int] = []

    def widths(payloads: Any) -> Any:
        made.extend(payloads.widths.tolist())
        return payloads.widths

    derive(cache, "image", "width", WIDTHS, widths)
    assert sorted(made) == [13, 14, 15, 16]
    assert read_tree(cache.cache_dir / "derived") == expected


def test_damaged_manifests_of_derived_fields_are_removed(cache: SampleCache) -> None:
    """The parts stay, and the next derivation publishes them again."""
    derive(cache, "image", "width", WIDTHS, lambda payloads: payloads.widths)
    expected = read_tree(cache.cache_dir)
    (cache.cache_dir / "derived" / "image.width" / "manifest.json").write_text("{}")
    repair(verify(cache), SOURCE)
    derive(cache, "image", "width", WIDTHS, lambda payloads: 1 / 0)
    assert read_tree(cache.cache_dir) == expected


def test_a_damaged_manifest_cannot_be_repaired(cache: SampleCache) -> None:
    """Without the manifest nobody knows what the bytes should be."""
    (cache.cache_dir / "part-00001" / "label.npy").unlink()
    report = verify(cache)
    (cache.cache_dir / "manifest.json").write_text("{}")
    with pytest.raises(ManifestError):
        repair(report, SOURCE)


def test_a_build_waits_for_a_repair(cache: SampleCache) -> None:
    """A loader that starts meanwhile does not take the parts in work for what was left behind."""
    expected = damage(cache)
    builds: list[threading.Thread] = []

    def start_build(done: int, total: int) -> None:
        if not builds:
            builds.append(threading.Thread(target=build, args=(SOURCE, cache.cache_dir)))
            builds[0].start()
            builds[0].join(0.3)

    repair(verify(cache, level="full"), SOURCE, progress=start_build)
    builds[0].join(30)
    assert not builds[0].is_alive()
    assert read_tree(cache.cache_dir) == expected
