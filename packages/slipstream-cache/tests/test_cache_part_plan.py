"""The plan of a build: which samples go into which part."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipstream_cache import (
    FieldSpec,
    ManifestError,
    SourceReadError,
    StorageOptions,
    build,
    layout,
)
from slipstream_cache.part_plan import (
    PartRange,
    choose_samples_per_part,
    measured_samples,
    split_samples,
)
from slipstream_cache.testing import MemorySource, make_jpeg, read_tree


@given(st.integers(0, 10**8), st.integers(1, 70_000))
def test_parts_cover_all_samples(num_samples: int, samples_per_part: int) -> None:
    """Parts follow one another without gaps, none is empty, and all but the last are equal."""
    num_samples %= samples_per_part * 1000
    parts = split_samples(num_samples, samples_per_part)
    assert [part.first_sample for part in parts] == [0, *(part.end for part in parts)][:-1]
    assert sum(part.num_samples for part in parts) == num_samples
    assert {part.num_samples for part in parts[:-1]} <= {samples_per_part}
    assert all(0 < part.num_samples <= samples_per_part for part in parts)
    assert PartRange(12, 0, 1).name == "part-00012"


@given(st.integers(0, 10**9))
def test_few_samples_are_measured_and_they_are_spread(num_samples: int) -> None:
    """At most 64, at most one in 16, each once, and all of them exist."""
    measured = measured_samples(num_samples)
    assert len(measured) <= min(64, num_samples // 16 + 1)
    assert len(measured) == len(set(measured))
    assert all(0 <= i < num_samples for i in measured)
    assert bool(measured) == bool(num_samples)


@pytest.mark.parametrize(
    ("num_samples", "sizes", "expected"),
    [
        (1_281_167, [110_000] * 64, 9761),  # ImageNet: 1 GiB
        (10_000, [110_000] * 64, 610),  # 1.1 GB: 64 MiB
        (100_000, [110_000] * 64, 1562),  # 11 GB: 64 parts
        (10_000_000, [8] * 64, 65_536),  # numbers
        (100, [5 << 30], 1),  # samples larger than a part
        (0, [], 65_536),
        (50, [0, 0, 0, 0], 65_536),
    ],
)
def test_parts_have_a_handy_size(num_samples: int, sizes: list[int], expected: int) -> None:
    """64 parts, but of 64 MiB to 1 GiB and at most 65,536 samples."""
    assert choose_samples_per_part(num_samples, sizes) == expected


def test_a_build_follows_its_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was planned first counts, also for a builder that would plan otherwise."""
    given_samples = [{"x": i} for i in range(100)]
    monkeypatch.setattr(layout, "MAX_PART_SAMPLES", 8)
    with pytest.raises(ZeroDivisionError):
        build(MemorySource([*given_samples[:99], ZeroDivisionError()]), tmp_path / "c")
    monkeypatch.setattr(layout, "MAX_PART_SAMPLES", 50)
    cache = build(MemorySource(given_samples), tmp_path / "c")
    assert [part.num_samples for part in cache.manifest.parts] == [*[8] * 12, 4]
    assert [cache[i]["x"] for i in range(100)] == list(range(100))


def test_a_damaged_journal_is_told(tmp_path: Path) -> None:
    """A journal without a plan is an error that says what to do."""
    with pytest.raises(ZeroDivisionError):
        build(MemorySource([{"x": 1}, ZeroDivisionError()]), tmp_path / "c")
    journal = tmp_path / "c" / "build.json"
    document = json.loads(journal.read_text())
    journal.write_text(json.dumps({**document, "samples_per_part": 0}))
    with pytest.raises(ManifestError, match=r"samples_per_part 0; delete"):
        build(MemorySource([{"x": 1}, {"x": 2}]), tmp_path / "c")


def test_the_plan_does_not_depend_on_a_passing_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a measured sample cannot be read, no plan is made."""
    monkeypatch.setattr(layout, "MIN_PART_BYTES", 5000)
    monkeypatch.setattr(layout, "MAX_PART_BYTES", 5000)
    samples = [{"image": make_jpeg(8, 8, body=bytes(i * i))} for i in range(50)]
    types = {"image": FieldSpec("image")}
    with pytest.raises(SourceReadError, match="1 of 50") as caught:
        build(MemorySource([OSError("gone"), *samples[1:]], types), tmp_path / "c")
    assert caught.value.sample_ids == [0]
    assert list((tmp_path / "c").iterdir()) == []

    class Recovering(MemorySource):
        failed = False

        def __getitem__(self, index: int) -> object:  # type: ignore[override]
            if not self.failed:
                self.failed = True
                raise OSError("not now")
            return self.samples[index]

    with pytest.raises(SourceReadError, match="now they can: build again"):
        build(Recovering(samples, types), tmp_path / "c", num_workers=1)
    build(MemorySource(samples, types), tmp_path / "c")
    build(MemorySource(samples, types), tmp_path / "d")
    assert read_tree(tmp_path / "c") == read_tree(tmp_path / "d")


def test_sources_that_are_read_forward_are_measured_at_their_beginning() -> None:
    """Of a sequential source the first samples decide, of any other evenly spread ones."""
    assert measured_samples(6400, is_sequential=True) == list(range(64))
    assert measured_samples(6400) == list(range(0, 6400, 100))
    assert measured_samples(20, is_sequential=True) == [0, 1]


def test_a_source_that_knows_its_sizes_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mean decides, and each sample is read once; but not if images may shrink."""
    monkeypatch.setattr(layout, "MIN_PART_BYTES", 800)
    monkeypatch.setattr(layout, "MAX_PART_BYTES", 800)
    reads: list[int] = []

    class Sized(MemorySource):
        mean_sample_bytes = 80

        def __getitem__(self, index: int) -> object:  # type: ignore[override]
            reads.append(index)
            return self.samples[index]

    source = Sized([{"x": i} for i in range(100)])
    cache = build(source, tmp_path / "c")
    assert {part.num_samples for part in cache.manifest.parts} == {10}
    assert sorted(reads) == list(range(100))
    other = build(source, tmp_path / "d", options=StorageOptions(max_size=64))
    assert {part.num_samples for part in other.manifest.parts} == {100}
