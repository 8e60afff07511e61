"""Building: what is stored, in which parts, and what happens with bad samples."""

from __future__ import annotations

import logging
import threading
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipstream_cache import (
    CacheExistsError,
    Codec,
    Condition,
    FieldNotFoundError,
    FieldSpec,
    FieldTypeError,
    SampleCache,
    SourceReadError,
    StorageOptions,
    StoredImage,
    UnsupportedImageError,
    build,
    layout,
    sample_stream,
)
from slipstream_cache.testing import MemorySource, make_jpeg, read_tree


def samples(count: int, **more: Any) -> list[Any]:
    """Samples with an image, a number and text, all different."""
    return [
        {
            "image": make_jpeg(i + 1, i + 2, body=bytes([i % 255]) * (i % 13)),
            "label": i,
            "path": f"ördner/{i}.jpg",
            **more,
        }
        for i in range(count)
    ]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Parts of 8 samples."""
    monkeypatch.setattr(layout, "MAX_PART_SAMPLES", 8)


def test_all_that_goes_in_comes_out(tmp_path: Path) -> None:
    """Each sample reads back as it was given, and the fields keep the source's order."""
    source = MemorySource(samples(20))
    cache = build(source, tmp_path / "roots" / "slipcache-1")
    assert len(cache) == 20
    assert list(cache.fields) == ["image", "label", "path"]
    assert [cache[i] for i in range(20)] == source.samples
    assert cache.manifest.source.uri == "memory:memory"


def test_the_directory_holds_the_format_and_nothing_else(tmp_path: Path, small_parts: None) -> None:
    """A published cache has its manifest and sealed parts; the lock lies beside it."""
    build(MemorySource(samples(20)), tmp_path / "c")
    files = {"image.bin", "image.samples.npy", "label.npy", "part.json", "path.bin"}
    expected = {f"part-{k:05d}/{f}" for k in range(3) for f in {*files, "path.offsets.npy"}}
    assert set(read_tree(tmp_path / "c")) == {"manifest.json", *expected}
    assert {entry.name for entry in tmp_path.iterdir()} <= {"c", "c.lock"}


def test_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path, small_parts: None) -> None:
    """One thread and eight write the same cache."""
    source = MemorySource(samples(100))
    build(source, tmp_path / "one", num_workers=1)
    build(source, tmp_path / "eight", num_workers=8)
    assert read_tree(tmp_path / "one") == read_tree(tmp_path / "eight")


def test_a_second_build_opens_the_first(tmp_path: Path) -> None:
    """A published cache of the same key is opened; the source is not read again."""
    build(MemorySource(samples(3)), tmp_path / "c")
    before = read_tree(tmp_path / "c")
    broken = MemorySource([OSError("read")] * 3, {"image": FieldSpec("image")})
    assert len(build(broken, tmp_path / "c")) == 3
    assert read_tree(tmp_path / "c") == before


@pytest.mark.parametrize("count", [0, 1])
def test_small_caches(tmp_path: Path, count: int) -> None:
    """No sample and one sample make caches like any other."""
    types = {
        "image": FieldSpec("image"),
        "label": FieldSpec("dense", "<i8"),
        "path": FieldSpec("ragged", content="str"),
    }
    cache = build(MemorySource(samples(count), types), tmp_path / "c")
    assert len(SampleCache.open(tmp_path / "c")) == count
    batch = cache.load_batch(range(count))
    assert len(batch["label"]) == len(batch["path"]) == len(batch["image"]["sizes"]) == count
    assert batch["label"].dtype == np.int64
    assert len(cache.payloads("image", [])) == 0
    assert len(cache.conditions("image")) == count
    assert "samples" in repr(cache)


def test_only_the_wanted_fields_are_stored(tmp_path: Path) -> None:
    """``options.fields`` selects; a field that is not there is an error."""
    source = MemorySource(samples(3))
    cache = build(source, tmp_path / "c", options=StorageOptions(fields=("path", "label")))
    assert list(cache.fields) == ["label", "path"]
    assert cache[1] == {"label": 1, "path": "ördner/1.jpg"}
    with pytest.raises(FieldNotFoundError, match="'masks'"):
        build(source, tmp_path / "d", options=StorageOptions(fields=("masks",)))


def test_progress_counts_up_to_the_number_of_samples(tmp_path: Path, small_parts: None) -> None:
    """Progress never goes back and ends with all samples."""
    calls: list[tuple[int, int]] = []
    build(MemorySource(samples(30)), tmp_path / "c", progress=lambda *call: calls.append(call))
    assert calls == sorted(calls)
    assert calls[-1] == (30, 30)


def test_bad_images_are_kept_flagged_and_reported_together(
    tmp_path: Path, small_parts: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Bad images do not stop a build: one warning names them, and the cache knows them."""
    given = samples(30)
    given[3]["image"] = b"<html>"
    given[20]["image"] = given[20]["image"][:-2]
    with caplog.at_level(logging.WARNING, "slipstream_cache"):
        cache = build(MemorySource(given), tmp_path / "c")
    (record,) = caplog.records
    assert "2 images" in record.getMessage()
    assert "3: item 3: image unreadable" in record.getMessage()
    assert "20: item 20: image damaged" in record.getMessage()
    conditions = cache.conditions("image")
    assert np.flatnonzero(conditions == Condition.UNREADABLE).tolist() == [3]
    assert np.flatnonzero(conditions == Condition.DAMAGED).tolist() == [20]
    assert [cache[i] for i in range(30)] == given
    assert cache.payloads("image", [3]).codecs[0] == Codec.UNKNOWN
    assert "1 damaged, 1 unreadable" in repr(cache)


def test_samples_that_cannot_be_read_are_named_together(tmp_path: Path, small_parts: None) -> None:
    """All failing samples are found and named, and nothing is published."""
    given = samples(50)
    for i in (11, 13, 40):
        given[i] = PermissionError(13, "Permission denied")
    with pytest.raises(SourceReadError, match=r"3 of 50 samples(?s:.)*item 40") as caught:
        build(MemorySource(given), tmp_path / "c")
    assert caught.value.sample_ids == [11, 13, 40]
    assert isinstance(caught.value.__cause__, PermissionError)
    assert not (tmp_path / "c" / "manifest.json").exists()
    whole = [f"part-{k:05d}" for k in (0, 2, 3, 4, 6)]
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["build.json", *whole]
    cache = build(MemorySource(samples(50)), tmp_path / "c")
    assert [cache[i] for i in range(50)] == samples(50)


def test_of_very_many_unreadable_samples_all_are_counted_and_some_named(tmp_path: Path) -> None:
    """The message stays short."""
    source = MemorySource([OSError("gone")] * 500, {"x": FieldSpec("image")})
    with pytest.raises(SourceReadError, match=r"500 of 500(?s:.)*and 480 more") as caught:
        build(source, tmp_path / "c")
    assert caught.value.sample_ids == list(range(20))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": 1.5}, r"'label' of sample 13 \(item 13\): expected <i8.*got float"),
        ({"label": "1"}, "got str '1'"),
        ({"label": 1 << 63}, "'label' of sample 13"),
        ({"label": np.int32(3)}, "expected <i8 of shape .* got <i4"),
        ({"label": np.zeros(2, int)}, r"got <i8 of shape \(2,\)"),
        ({"path": b"x"}, "expected str, got bytes"),
        ({"image": "x.jpg"}, "expected bytes, got str"),
        ({"extra": 1}, r"\['extra'\] that the source does not declare"),
    ],
)
def test_field_types_that_change_midway_are_refused(
    tmp_path: Path, change: Any, message: str
) -> None:
    """A value that its field cannot hold exactly is an error that says which and where."""
    given = samples(20)
    given[13].update(change)
    with pytest.raises(FieldTypeError, match=message):
        build(MemorySource(given), tmp_path / "c")
    assert not (tmp_path / "c" / "manifest.json").exists()


def test_a_missing_field_is_refused(tmp_path: Path) -> None:
    """A sample without a field is named."""
    given = samples(20)
    del given[7]["path"]
    with pytest.raises(FieldTypeError, match=r"sample 7 \(item 7\) has no field 'path'"):
        build(MemorySource(given), tmp_path / "c")


def test_an_image_that_needs_a_transcode_is_named(tmp_path: Path) -> None:
    """Without a transcode a PNG is an error; with one it is stored as the transcode says."""
    given = samples(5)
    given[2]["image"] = b"\x89PNG\r\n\x1a\n" + bytes(40)
    with pytest.raises(UnsupportedImageError, match=r"sample 2 \(item 2\): a PNG") as caught:
        build(MemorySource(given), tmp_path / "c")
    assert caught.value.sample_ids == [2]
    stored = StoredImage(bytes(6), 1, 2, Codec.RGB)
    cache = build(MemorySource(given), tmp_path / "c", transcode=lambda *_: stored)
    assert cache[2]["image"] == bytes(6)
    assert cache.payloads("image", [1, 2]).codecs.tolist() == [Codec.JPEG, Codec.RGB]


def test_errors_of_the_source_that_are_no_read_errors_pass_unchanged(tmp_path: Path) -> None:
    """A bug in a source is not dressed up as a read error, and leaves no temporary files."""
    given = [*samples(5), ZeroDivisionError("bug")]
    with pytest.raises(ZeroDivisionError, match="bug"):
        build(MemorySource(given), tmp_path / "c")
    assert [entry.name for entry in (tmp_path / "c").iterdir()] == ["build.json"]


class RaisesSecondSample(MemorySource):
    """Sample 0 waits until the second of those that are measured has raised."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.has_raised = threading.Event()

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        try:
            return super().__getitem__(index)
        except ValueError:
            self.has_raised.set()
            raise

    def sample_bytes(self, index: int) -> None:
        if index == 0:
            assert self.has_raised.wait(20)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("bad", "kind"), [(0, MemorySource), (15, RaisesSecondSample)])
def test_an_error_of_a_measured_sample_ends_the_build(
    tmp_path: Path, bad: int, kind: type[MemorySource]
) -> None:
    """What raised is no more waited for, neither by the threads nor by the build."""
    given: list[Any] = samples(1000)
    given[bad] = ValueError("not a read error")
    with pytest.raises(ValueError, match="not a read error"):
        build(kind(given, MemorySource(samples(1)).field_types), tmp_path / "c", num_workers=2)


def test_a_source_is_let_go_at_the_end(tmp_path: Path) -> None:
    """Its ``close`` is called after a build and after a failure, and not where nothing is read."""

    class Closing(MemorySource):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    source, broken = Closing(samples(5)), Closing([*samples(5), ZeroDivisionError("bug")])
    build(source, tmp_path / "c")
    build(source, tmp_path / "c")
    with pytest.raises(ZeroDivisionError):
        build(broken, tmp_path / "d")
    assert (source.closed, broken.closed) == (1, 1)


def test_an_interrupt_leaves_no_temporary_files(tmp_path: Path) -> None:
    """Ctrl-C in the middle removes the part that was being written."""

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(MemorySource(samples(50)), tmp_path / "c", progress=interrupt)
    assert [entry.name for entry in (tmp_path / "c").iterdir()] == ["build.json"]


def test_a_directory_with_other_files_is_refused_and_kept(tmp_path: Path) -> None:
    """Nothing is deleted or written in a directory that is not ours."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CacheExistsError, match=r"notes\.txt"):
        build(MemorySource(samples(3)), tmp_path)
    assert read_tree(tmp_path) == {"notes.txt": b"mine"}


def test_a_cache_of_another_key_is_refused_and_kept(tmp_path: Path) -> None:
    """A directory that holds another cache, finished or not, is left alone."""
    build(MemorySource(samples(3)), tmp_path / "done")
    failing = MemorySource([*samples(3), OSError("gone")])
    with pytest.raises(SourceReadError):
        build(failing, tmp_path / "unfinished")
    other = MemorySource(samples(3), name="other")
    for name in ("done", "unfinished"):
        before = read_tree(tmp_path / name)
        with pytest.raises(CacheExistsError, match="nothing was changed"):
            build(other, tmp_path / name)
        assert read_tree(tmp_path / name) == before


def test_numbers_of_workers_below_one_are_refused(tmp_path: Path) -> None:
    """A build needs a thread."""
    with pytest.raises(ValueError, match="num_workers is 0"):
        build(MemorySource(samples(3)), tmp_path / "c", num_workers=0)


def test_field_names_cannot_leave_the_cache(tmp_path: Path) -> None:
    """A field named ../x is refused before anything is written."""
    with pytest.raises(ValueError, match="cannot be a field's name"):
        build(MemorySource([{"../x": 1}]), tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_relative_directories_are_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is made absolute once, so that a later chdir does no harm."""
    monkeypatch.chdir(tmp_path)
    cache = build(MemorySource(samples(3)), Path("c"))
    monkeypatch.chdir("/")
    assert cache.cache_dir == tmp_path / "c"
    assert cache[2] == samples(3)[2]


def test_a_place_that_is_no_unicode_is_fine(tmp_path: Path) -> None:
    """A source whose path is not valid UTF-8 is built, and its name is kept."""
    cache = build(MemorySource(samples(3), name="caf\udce9"), tmp_path / "c")
    assert SampleCache.open(cache.cache_dir).manifest.source.uri == "memory:caf\udce9"


def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    """A build holds a few chunks of samples at a time, never the data set."""

    class Large(MemorySource):
        def __getitem__(self, index: int) -> dict[str, bytes]:
            return {"image": make_jpeg(9, 9, body=bytes([index % 255]) * 100_000)}

    source = Large([{}] * 400, {"image": FieldSpec("image")})
    tracemalloc.start()
    try:
        cache = build(source, tmp_path / "c", num_workers=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert cache.manifest.num_bytes > 40_000_000
    assert peak < 10_000_000


class LargeSamples(MemorySource):
    """Small samples, and in their midst a run of large ones, made when they are read."""

    LARGE = range(300, 340)

    def __getitem__(self, index: int) -> dict[str, Any]:
        size = (4 << 20) if index in self.LARGE else 10
        return {"data": bytes([index % 251]) * size}


def test_a_run_of_large_samples_takes_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read ahead is bounded in bytes: a chunk comes in pieces, and threads wait."""
    monkeypatch.setattr(sample_stream, "_HELD_BYTES", 8 << 20)
    monkeypatch.setattr(sample_stream, "_MAX_CHUNK_BYTES", 4 << 20)
    source = LargeSamples([{"data": b""} for _ in range(16_000)])
    tracemalloc.start()
    try:
        cache = build(source, tmp_path / "c", num_workers=4)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20  # of 160 MiB; a chunk has 63 samples
    assert all(cache[i] == source[i] for i in (0, 299, *LargeSamples.LARGE, 340, 15_999))
    tree = read_tree(tmp_path / "c")
    monkeypatch.undo()
    build(source, tmp_path / "d", num_workers=3)
    assert read_tree(tmp_path / "d") == tree


def test_a_source_that_changes_while_it_is_read(tmp_path: Path) -> None:
    """Is not published under the name of what it was, and nothing of it is taken up later."""

    class Changing(MemorySource):
        suffix = "00"

        def __getitem__(self, index: int) -> dict[str, Any]:
            self.suffix = "11" if index == 7 else self.suffix
            return {"data": bytes([int(self.suffix), index])}

        def fingerprint(self) -> str:
            return super().fingerprint()[:-2] + self.suffix

    source = Changing([{"data": b""} for _ in range(9)])
    with pytest.raises(SourceReadError, match="was changed while it was read: build again"):
        build(source, tmp_path / "c", num_workers=1)
    assert not list((tmp_path / "c").glob("part-*"))
    assert not (tmp_path / "c/manifest.json").exists()
    restored = MemorySource([{"data": bytes([0, index])} for index in range(9)])
    restored.fingerprint = lambda: MemorySource.fingerprint(source)[:-2] + "00"  # type: ignore[method-assign]
    assert build(restored, tmp_path / "c")[8] == {"data": bytes([0, 8])}


class WatchedSamples(MemorySource):
    """A few large samples among small ones; knows what is being read at a time."""

    SIZES = (*[10] * 40, *[3000] * 8, *[10] * 40)

    def __init__(self) -> None:
        super().__init__([{"data": b""} for _ in self.SIZES])
        self.lock = threading.Lock()
        self.reading: list[int] = []
        self.seen: set[tuple[int, ...]] = set()

    def __getitem__(self, index: int) -> dict[str, Any]:
        with self.lock:
            self.reading.append(self.SIZES[index])
            self.seen.add(tuple(self.reading))
        threading.Event().wait(0.002)
        with self.lock:
            self.reading.remove(self.SIZES[index])
        return {"data": bytes(self.SIZES[index])}


class SizedSamples(WatchedSamples):
    """The same, with sizes that are known before."""

    def sample_bytes(self, index: int) -> int:
        return self.SIZES[index]


def test_large_samples_are_not_read_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is meant for a sample before it is read, also for those that find out the sizes."""
    monkeypatch.setattr(sample_stream, "_HELD_BYTES", 5000)
    source = SizedSamples()
    build(source, tmp_path / "a", num_workers=8)
    assert max(map(len, source.seen)) > 2
    assert max(map(sum, source.seen)) <= 8000  # and the one whose turn it is
    monkeypatch.setattr(WatchedSamples, "SIZES", (3000,) * 60)
    unknown = WatchedSamples()
    build(unknown, tmp_path / "b", num_workers=8)
    assert max(map(len, unknown.seen)) <= 2


def test_threads_that_wait_for_memory_end_with_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error, and an interrupt, leave nobody behind; the build ends and can be done again."""
    monkeypatch.setattr(sample_stream, "_HELD_BYTES", 1000)
    source = LargeSamples([{"data": b""} for _ in range(16_000)])

    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        build(source, tmp_path / "c", num_workers=4, progress=stop)
    assert threading.active_count() == before
    assert len(build(source, tmp_path / "c", num_workers=4)) == 16_000
