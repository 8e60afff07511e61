"""Appending: a longer cache with the same files, and caches that know nothing of one another."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from slipstream_cache import (
    CacheExistsError,
    CorruptCacheError,
    FieldTypeError,
    JoinedSource,
    SampleCache,
    append,
    build,
    cache_key,
    layout,
    repair,
    verify,
)
from slipstream_cache.testing import MemorySource, make_jpeg, read_tree


def make_source(name: str, first: int, count: int) -> MemorySource:
    """Samples with numbers; one image is damaged."""
    samples: list[dict[str, Any]] = [
        {"image": make_jpeg(i + 1, 4), "label": i} for i in range(first, first + count)
    ]
    samples[1]["image"] = samples[1]["image"][:-12]
    return MemorySource(samples, name=name)


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> list[MemorySource]:
    """Three sources; parts of four samples."""
    monkeypatch.setattr(layout, "MAX_PART_SAMPLES", 4)
    return [make_source("a", 0, 10), make_source("b", 10, 5), make_source("c", 15, 3)]


@pytest.fixture
def cache(tmp_path: Path, sources: list[MemorySource]) -> SampleCache:
    """The cache of the first source."""
    return build(sources[0], tmp_path / "slipcache-a")


def test_appended_samples_follow_those_of_the_cache(
    cache: SampleCache, sources: list[MemorySource]
) -> None:
    """All samples, conditions and records of parts; the old cache is as it was."""
    before = read_tree(cache.cache_dir)
    longer = append(cache.cache_dir, sources[1])
    longest = append(longer, sources[2])
    assert longest.load_batch(range(18), ["label"])["label"].tolist() == list(range(18))
    assert [sample["image"] for sample in longest] == [
        sample["image"] for source in sources for sample in source.samples
    ]
    assert longest.conditions("image").nonzero()[0].tolist() == [1, 11, 16]
    assert len(longest.manifest.parts) == 3 + 2 + 1
    assert longest.cache_dir.name == f"slipcache-{longest.manifest.key}"
    assert read_tree(cache.cache_dir) == before
    assert append(cache, sources[1]).cache_dir == longer.cache_dir


def test_the_joined_source_is_what_it_was_built_from(
    cache: SampleCache, sources: list[MemorySource]
) -> None:
    """Its fingerprint gives the key, and verify and repair take it."""
    longest = append(append(cache, sources[1]), sources[2])
    joined = JoinedSource(tuple(sources))
    assert longest.manifest.key == cache_key(joined.fingerprint(), longest.manifest.options)
    assert (joined.kind, joined.uri) == (
        longest.manifest.source.kind,
        longest.manifest.source.uri,
    )
    assert verify(longest, level="full", source=joined).num_compared == 18
    assert verify(longest, level="full", source=joined).ok
    expected = read_tree(longest.cache_dir)
    for name in ("part-00001", "part-00005"):
        (longest.cache_dir / name / "image.bin").unlink()
    repair(verify(longest), joined)
    assert read_tree(longest.cache_dir) == expected
    assert joined.describe(11) == "item 1"
    assert joined.field_types == cache.fields
    with pytest.raises(IndexError):
        joined[18]


@pytest.mark.skipif(not hasattr(os, "link"), reason="needs hard links")
def test_nothing_is_copied(cache: SampleCache, sources: list[MemorySource]) -> None:
    """Files are the same on disk, and each cache survives the deletion of the others."""
    longer = append(cache, sources[1])
    old = cache.cache_dir / "part-00002" / "image.bin"
    assert old.samefile(longer.cache_dir / "part-00002" / "image.bin")
    shutil.rmtree(cache.cache_dir)
    assert verify(longer, level="full").ok


def test_files_are_copied_where_there_are_no_links(
    cache: SampleCache,
    sources: list[MemorySource],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A file system without hard links is told once a file, and the result is the same."""

    def no_link(source: object, target: object) -> None:
        raise OSError("no links here")

    added = append(cache, sources[1])
    expected = read_tree(added.cache_dir)
    shutil.rmtree(added.cache_dir)
    monkeypatch.setattr(os, "link", no_link)
    with caplog.at_level(logging.WARNING, "slipstream_cache"):
        longer = append(cache, sources[1])
    assert "cannot be linked" in caplog.text
    assert read_tree(longer.cache_dir) == expected


def test_other_fields_are_refused(cache: SampleCache) -> None:
    """The samples of a cache all have the same fields."""
    with pytest.raises(FieldTypeError, match="has the fields"):
        append(cache, MemorySource([{"label": 1}], name="x"))


def test_a_damaged_cache_is_not_appended_to(
    cache: SampleCache, sources: list[MemorySource]
) -> None:
    """A part that is not whole is an error, and nothing is left behind."""
    (cache.cache_dir / "part-00001" / "label.npy").unlink()
    with pytest.raises(CorruptCacheError, match="slipstream verify"):
        append(cache, sources[1])
    assert len(list(cache.cache_dir.parent.glob("slipcache-*.*"))) <= 2


def test_a_place_that_is_taken_is_an_error(cache: SampleCache, sources: list[MemorySource]) -> None:
    """What lies where the longer cache belongs is not touched."""
    joined = JoinedSource(tuple(sources[:2]))
    key = cache_key(joined.fingerprint(), cache.manifest.options)
    place = cache.cache_dir.parent / f"slipcache-{key}"
    place.mkdir()
    (place / "notes.txt").write_text("mine")
    with pytest.raises(CacheExistsError):
        append(cache, sources[1])
    assert (place / "notes.txt").read_text() == "mine"
