"""The page cache: warming it up, looking into it, and asking for what comes next."""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from slipstream_cache import (
    FieldNotFoundError,
    FieldSpec,
    Recipe,
    SampleCache,
    SampleIdError,
    build,
    derive,
    layout,
    prefetch,
    subset,
    tells_residency,
    unmap,
)
from slipstream_cache.testing import MemorySource, make_jpeg


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SampleCache:
    """A cache of five parts; some payloads cross pages."""
    monkeypatch.setattr(layout, "MAX_PART_SAMPLES", 8)
    samples = [
        {"image": make_jpeg(i + 1, 3, body=bytes([i]) * (i * 400)), "label": i} for i in range(40)
    ]
    return build(MemorySource(samples), tmp_path / "c")


def test_warming_up_reads_every_byte(cache: SampleCache) -> None:
    """All files of the fields, with progress; then they are in memory."""
    seen: list[tuple[int, int]] = []
    warm = cache.warm_up(progress=lambda *counts: seen.append(counts))
    assert warm.num_bytes == cache.manifest.num_bytes
    assert warm.seconds > 0
    assert seen[-1] == (warm.num_bytes, warm.num_bytes)
    assert seen == sorted(seen)
    labels = cache.warm_up(["label"]).num_bytes
    assert labels == sum(part.files["label.npy"].bytes for part in cache.manifest.parts)
    assert cache.residency() == cache.residency("image") == (None if os.name == "nt" else 1.0)
    with pytest.raises(FieldNotFoundError):
        cache.warm_up(["none"])
    with pytest.raises(FieldNotFoundError):
        cache.residency("none")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs mincore")
def test_only_what_is_missing_is_asked_for(cache: SampleCache) -> None:
    """Images in memory are passed over, unless the caller says that the system does not tell."""
    located = cache.payloads("image", range(40))
    cache.warm_up()
    if cache.residency("image") != 1:
        pytest.skip("the file system does not keep the pages of these files")
    assert tells_residency(cache.cache_dir)
    assert prefetch(located) == 0
    assert prefetch(located, only_missing=False) == 40


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs posix_fadvise of Linux")
def test_residency_is_a_fraction(cache: SampleCache) -> None:
    """Dropping a part's pages lowers it, where the file system lets them go."""
    for part in cache.manifest.parts[:2]:
        with (cache.cache_dir / part.name / "image.bin").open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    found = cache.residency("image")
    assert found is not None
    assert 0.0 <= found <= 1.0
    assert cache.residency("label") == 1.0


def test_an_empty_cache_is_in_memory(tmp_path: Path) -> None:
    """Nothing to read is all read."""
    cache = build(MemorySource([], {"x": FieldSpec("dense", "<i8")}), tmp_path / "e")
    assert cache.warm_up().num_bytes == 0
    assert cache.residency() == 1.0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs madvise")
def test_empty_values_are_not_asked_for(cache: SampleCache) -> None:
    """Wherever in a page they stand."""
    recipe = Recipe("some", 1, FieldSpec("ragged", content="bytes"))
    field = derive(
        cache,
        "image",
        "some",
        recipe,
        lambda p: (np.zeros(3 * int((p.heights % 2).sum()), np.uint8), 3 * (p.heights % 2)),
    )
    assert prefetch(field.blobs(range(40)), only_missing=False) == 20


def test_prefetching_changes_nothing_but_time(cache: SampleCache) -> None:
    """Any ids of caches, views and derived fields can be asked for, none too."""
    for ids in ([], [39, 0, 0, 17], np.arange(40)):
        cache.prefetch("image", ids)
        assert cache.load_batch(ids, ["label"])["label"].tolist() == list(ids)
    view = subset(cache, [5, 39])
    view.prefetch("image", [1])
    assert view[1]["label"] == 39
    recipe = Recipe("empty", 1, FieldSpec("ragged", content="bytes"))
    made = np.zeros(0, np.uint8)
    field = derive(cache, "image", "x", recipe, lambda p: (made, np.zeros(len(p), int)))
    assert prefetch(field.blobs([1, 2]), only_missing=False) == 0
    with pytest.raises(SampleIdError):
        cache.prefetch("image", [40])
    with pytest.raises(FieldNotFoundError):
        cache.prefetch("label", [0])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs posix_fadvise of Linux")
def test_prefetched_images_come_into_memory(cache: SampleCache) -> None:
    """Without anybody touching them."""
    for part in cache.manifest.parts:
        with (cache.cache_dir / part.name / "image.bin").open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if cache.residency("image") == 1:
        pytest.skip("the file system keeps the pages of files that are dropped")
    cache.prefetch("image", range(40))
    deadline = time.monotonic() + 30
    while cache.residency("image") != 1:
        assert time.monotonic() < deadline, "what was asked for did not come"
        time.sleep(0.01)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_unmapped_images_stay_in_memory_and_read_the_same(cache: SampleCache) -> None:
    """Only the process's page tables lose them."""

    def mapped_bytes() -> int:
        entries = Path("/proc/self/smaps").read_text(encoding="utf-8").split("VmFlags")
        names = [f"{cache.cache_dir / part.name}/image.bin" for part in cache.manifest.parts]
        of_images = [entry for entry in entries if any(name in entry for name in names)]
        return sum(int(entry.split("\nRss:")[1].split()[0]) for entry in of_images)

    before = [bytes(cache[i]["image"]) for i in range(40)]
    assert mapped_bytes() > 0
    unmap(cache.payloads("image", range(40)))
    assert mapped_bytes() == 0
    if cache.residency("image") != 1:
        pytest.skip("the file system does not keep the pages of these files")
    assert [bytes(cache[i]["image"]) for i in range(40)] == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_prefetches_with_threads_of_its_own(cache: SampleCache) -> None:
    """It neither hangs nor waits for those of its parent."""
    cache.prefetch("image", [1, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the parent has threads
        child = os.fork()
    if child == 0:
        try:
            cache.prefetch("image", [3, 4])
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
