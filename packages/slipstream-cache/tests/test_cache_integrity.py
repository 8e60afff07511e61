"""Quick and full checks of a cache, of what was added to it, and against its source."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipstream_cache import (
    Codec,
    FieldSpec,
    ImageFlag,
    Recipe,
    SampleCache,
    StorageOptions,
    StoredImage,
    build,
    derive,
    layout,
    verify,
    verify_payloads,
    write_index,
    write_stats,
)
from slipstream_cache.testing import MemorySource, make_jpeg

COUNT = 10
SAMPLES: list[dict[str, Any]] = [
    {
        "image": make_jpeg(9, i + 1, body=bytes([i]) * 50),
        "path": f"{i}",
        "label": i,
        "meta": [i, float("nan")],
    }
    for i in range(COUNT)
]
SOURCE = MemorySource(SAMPLES)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SampleCache:
    """A cache of three parts, with one derived field, one index and one file of statistics."""
    monkeypatch.setattr(layout, "MAX_PART_SAMPLES", 4)
    cache = build(SOURCE, tmp_path / "c")
    recipe = Recipe("widths", 1, FieldSpec("dense", "<i4"))
    derive(cache, "image", "width", recipe, lambda payloads: payloads.widths)
    write_index(cache, "label")
    write_stats(cache, "mean-label", ["label"], {"mean": 4.5})
    return cache


def flip(path: Path, position: int | None = None) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if position is None else position] ^= 1
    path.write_bytes(data)


def test_a_whole_cache_has_no_problems(cache: SampleCache) -> None:
    """Right after a build nothing is wrong: files, hashes, checksums, and the source's values."""
    seen: list[tuple[int, int]] = []
    for level in ("quick", "full"):
        report = verify(
            cache.cache_dir,
            level=level,
            source=SOURCE,
            progress=lambda *counts: seen.append(counts),
        )
        assert report.problems == ()
        assert report.ok
        assert report.num_compared == COUNT
        assert report.num_files == 1 + 3 * 7 + 3 * 1 + 3
        assert seen[-1][0] == seen[-1][1] >= report.num_bytes
        assert seen == sorted(seen)
        seen.clear()
    with pytest.raises(ValueError, match="'quick' or 'full'"):
        verify(cache, level="deep")  # type: ignore[arg-type]


def test_cut_and_missing_files_are_found_quickly(cache: SampleCache) -> None:
    """Sizes and presence of all files are checked, and all problems are listed."""
    part = cache.cache_dir / "part-00001"
    (part / "image.bin").write_bytes(b"short")
    (part / "path.bin").unlink()
    (part / "path.offsets.npy").unlink()
    (part / "path.offsets.npy").mkdir()
    report = verify(cache)
    problems = {problem.path.name: problem.message for problem in report.problems}
    assert sorted(problems) == ["image.bin", "path.bin", "path.offsets.npy"]
    assert problems["image.bin"].endswith("found 5")
    assert problems["path.bin"].startswith("missing")
    assert problems["path.offsets.npy"] == "not a file"
    assert report.damaged_parts == ["part-00001"]
    assert verify(cache, level="full").problems == report.problems


@pytest.mark.parametrize("name", ["image.bin", "image.samples.npy", "path.bin", "label.npy"])
def test_a_flipped_bit_is_found_by_the_full_check(cache: SampleCache, name: str) -> None:
    """One changed bit anywhere changes the hash."""
    path = cache.cache_dir / "part-00002" / name
    flip(path)
    assert verify(cache).ok
    report = verify(cache, level="full")
    assert report.problems[0].path == path
    assert "its bytes changed" in str(report.problems[0])
    assert report.damaged_parts == ["part-00002"]


def test_the_sample_of_a_damaged_payload_is_named(cache: SampleCache) -> None:
    """The checksum of each image tells which one has other bytes."""
    rows = np.load(cache.cache_dir / "part-00001" / "image.samples.npy")
    flip(cache.cache_dir / "part-00001" / "image.bin", int(rows["offset"][2]))
    (_, problem) = verify(cache, level="full").problems
    assert problem.sample_ids == (6,)
    assert "wrong checksum of sample 6" in problem.message
    mask = verify_payloads(SampleCache.open(cache.cache_dir).payloads("image", [9, 6, 0, 6]))
    assert mask.tolist() == [True, False, True, False]


def test_rows_that_point_outside_are_problems(cache: SampleCache) -> None:
    """A damaged offset is told with its sample, and nothing outside is read."""
    flip(cache.cache_dir / "part-00001" / "path.offsets.npy", -2)
    flip(cache.cache_dir / "part-00002" / "image.samples.npy", -64 + 6)
    messages = " ".join(map(str, verify(cache, level="full").problems))
    assert "the row of sample 7 points outside path.bin" in messages
    assert "the row of sample 8 points outside image.bin" in messages


def test_wrong_damage_counts_are_problems(cache: SampleCache) -> None:
    """The manifest's counts of damaged images are those of the rows."""
    path = cache.cache_dir / "manifest.json"
    document = json.loads(path.read_text())
    document["parts"][0]["images"]["image"]["damaged"] = 1
    path.write_text(json.dumps(document))
    (problem,) = verify(cache, level="full").problems
    assert "damaged=1" in problem.message


@pytest.mark.parametrize("name", ["derived/image.width", "index/label"])
def test_additions_are_checked_too(cache: SampleCache, name: str) -> None:
    """Derived fields and indexes: cut files quickly, changed ones fully, wrong manifests."""
    directory = cache.cache_dir / name
    path = next(path for path in sorted(directory.rglob("*.npy")))
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    assert [problem.path for problem in verify(cache).problems] == [path]
    path.write_bytes(data)
    flip(path, -1)
    assert verify(cache).ok
    assert {problem.path for problem in verify(cache, level="full").problems} == {path}
    assert verify(cache, level="full").damaged_parts == []
    (directory / "manifest.json").write_text("{}")
    assert [p.path for p in verify(cache).problems] == [directory / "manifest.json"]


def test_what_is_out_of_date_is_noted(cache: SampleCache, tmp_path: Path) -> None:
    """Additions of another state are no damage, but worth a note."""
    other = build(MemorySource(SAMPLES[::-1], name="other"), tmp_path / "other")
    for name in ("derived", "index", "stats"):
        (cache.cache_dir / name).rename(other.cache_dir / name)
    (other.cache_dir / "derived" / "old.thing").mkdir()
    (other.cache_dir / "index" / "old").mkdir()
    report = verify(other, level="full")
    assert report.ok
    assert len(report.notes) == 5


def test_damaged_statistics_are_a_problem(cache: SampleCache) -> None:
    """A file of statistics that is not ours is told."""
    (cache.cache_dir / "stats" / "mean-label.json").write_text("[]")
    (problem,) = verify(cache).problems
    assert problem.path.name == "mean-label.json"


def test_a_missing_or_foreign_manifest_is_a_problem(cache: SampleCache, tmp_path: Path) -> None:
    """The check itself does not raise."""
    (problem,) = verify(tmp_path / "nothing").problems
    assert "no published cache" in problem.message
    (cache.cache_dir / "manifest.json").write_text("{}")
    (problem,) = verify(cache).problems
    assert "not the manifest of a slipcache" in problem.message


def test_values_that_are_not_the_sources_are_named(cache: SampleCache) -> None:
    """Every field of every sample is compared with the source."""
    changed = [dict(sample) for sample in SAMPLES]
    changed[3]["label"] = -3
    changed[5].update(image=make_jpeg(1, 1), path="other")
    changed[6]["path"] = "other"
    changed[8]["meta"] = [8]
    report = verify(cache, source=replace(SOURCE, samples=changed))
    found = {problem.message: problem.sample_ids for problem in report.problems}
    assert found == {
        "field 'label' is not that of the source: sample 3": (3,),
        "field 'image' is not that of the source: sample 5": (5,),
        "field 'path' is not that of the source: samples 5, 6": (5, 6),
        "field 'meta' is not that of the source: sample 8": (8,),
    }


def test_another_source_is_told(cache: SampleCache) -> None:
    """A source of another fingerprint or length is not compared sample by sample."""
    for other in (replace(SOURCE, name="other"), replace(SOURCE, samples=SAMPLES[:3])):
        (problem,) = verify(cache, source=other).problems
        assert "another source" in problem.message


def test_samples_that_the_source_cannot_read_are_problems(cache: SampleCache) -> None:
    """A source that fails is told with the samples, and the others are compared."""
    samples = [OSError("gone") if i == 4 else sample for i, sample in enumerate(SAMPLES)]
    (problem,) = verify(cache, source=replace(SOURCE, samples=samples)).problems
    assert problem.sample_ids == (4,)
    assert "gone" in problem.message


def test_transcoded_images_are_not_compared(tmp_path: Path) -> None:
    """Images in another form than the source's have no bytes to compare."""

    def transcode(data: bytes, options: StorageOptions) -> StoredImage:
        flags = ImageFlag.TRANSCODED
        return StoredImage(bytes(12), 2, 2, Codec.RGB, flags=flags)

    png = b"\x89PNG\r\n\x1a\n" + bytes(20)
    samples = [{"image": png}, {"image": make_jpeg(3, 3)}]
    source = MemorySource(samples, {"image": FieldSpec("image")})
    cache = build(source, tmp_path / "c", transcode=transcode)
    assert verify(cache, level="full", source=source).ok


def test_a_manifest_that_cannot_be_read_is_a_problem(cache: SampleCache) -> None:
    """Such as one that the system refuses to read: it is told, and nothing is raised."""
    path = cache.cache_dir / "manifest.json"
    path.unlink()
    path.mkdir()
    (problem,) = verify(cache.cache_dir).problems
    assert problem.path == path
    assert str(path) in problem.message
