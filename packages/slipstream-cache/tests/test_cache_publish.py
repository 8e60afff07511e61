"""Laws of publishing: builds that are killed, compete, or cannot write."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import pytest

from slipstream_cache import CacheWriteError, SampleCache, build, layout
from slipstream_cache.publish import discard_broken_part, publish_file, read_sealed_part
from slipstream_cache.testing import MemorySource, make_jpeg, read_tree

_Tree = dict[str, bytes]

SETUP = """
import os, signal, sys
from slipstream_cache import build, layout, publish, SampleCache
from slipstream_cache.testing import MemorySource, make_jpeg
layout.MAX_PART_SAMPLES = 8
samples = [
    {"image": make_jpeg(i + 1, 9, body=bytes([i]) * i), "label": i, "path": f"{i}.jpg"}
    for i in range(100)
]
"""
SAMPLES = [
    {"image": make_jpeg(i + 1, 9, body=bytes([i]) * i), "label": i, "path": f"{i}.jpg"}
    for i in range(100)
]


def start(script: str, *arguments: Any) -> subprocess.Popen[str]:
    """Run a script in a new interpreter, with ``samples`` and parts of 8."""
    return subprocess.Popen(
        [sys.executable, "-c", SETUP + textwrap.dedent(script), *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], returncode: int = 0) -> None:
    """Wait for a script, and show what it said if it ended otherwise."""
    _, errors = process.communicate(timeout=120)
    assert process.returncode == returncode, errors


@pytest.fixture
def expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The tree of the undisturbed cache of ``SAMPLES`` in parts of 8."""
    monkeypatch.setattr(layout, "MAX_PART_SAMPLES", 8)
    build(MemorySource(SAMPLES), tmp_path / "expected")
    return read_tree(tmp_path / "expected")


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
@pytest.mark.parametrize("victim", [1, 9, 60, 99])
def test_a_killed_build_is_continued_with_the_same_bytes(
    tmp_path: Path, expected: _Tree, victim: int
) -> None:
    """After kill -9 the next build keeps the sealed parts and ends with the same bytes."""
    script = """
        class Killer(MemorySource):
            def __getitem__(self, index):
                if index == int(sys.argv[2]):
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().__getitem__(index)
        build(Killer(samples), sys.argv[1], num_workers=1)
    """
    finish(start(script, tmp_path / "c", victim), -signal.SIGKILL)
    assert not (tmp_path / "c" / "manifest.json").exists()
    sealed = list((tmp_path / "c").glob("part-" + 5 * "[0-9]"))
    stamps = {path: path.stat().st_mtime_ns for path in sealed}
    read: list[int] = []

    class Counter(MemorySource):
        def __getitem__(self, index: int) -> Any:
            read.append(index)
            return super().__getitem__(index)

    build(Counter(SAMPLES), tmp_path / "c")
    assert read_tree(tmp_path / "c") == expected
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    # Parts are sealed by several threads: one may be missing before one that is there.
    kept = {int(path.name.removeprefix("part-")) for path in sealed}
    assert sorted(read) == [index for index in range(100) if index // 8 not in kept]


def test_a_build_killed_after_publishing_is_whole(tmp_path: Path, expected: _Tree) -> None:
    """What a builder leaves behind when it dies before cleaning up does no harm and goes away."""
    build(MemorySource(SAMPLES), tmp_path / "c")
    (tmp_path / "c" / "build.json").write_text("{}")
    (tmp_path / "c" / "part-00003.0123456789ab").mkdir()
    (tmp_path / "c" / "manifest.json.0123456789ab").write_text("half")
    assert len(SampleCache.open(tmp_path / "c")) == 100
    build(MemorySource(SAMPLES), tmp_path / "c")
    assert read_tree(tmp_path / "c") == expected


def test_two_builders_at_once(tmp_path: Path, expected: _Tree) -> None:
    """Two processes that build one cache both get it, with or without a common lock."""
    script = """
        import contextlib
        from slipstream_cache import builder
        if sys.argv[2] == "no-lock":
            builder.build_lock = lambda path: contextlib.nullcontext()
        cache = build(MemorySource(samples, delay_s=0.002), sys.argv[1])
        assert [cache[i] for i in range(100)] == samples
    """
    for lock in ("lock", "no-lock"):
        processes = [start(script, tmp_path / lock, lock) for _ in range(2)]
        for process in processes:
            finish(process)
        assert read_tree(tmp_path / lock) == expected


@pytest.mark.skipif(os.name == "nt", reason="needs resource limits")
def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path, expected: _Tree) -> None:
    """When a write fails, sealed parts stay, the unfinished one goes, and a build continues."""
    script = """
        import resource
        from slipstream_cache import CacheWriteError
        samples[50]["path"] = "x" * 100_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            build(MemorySource(samples), sys.argv[1])
        except CacheWriteError as error:
            assert sys.argv[1] in str(error), error
        else:
            raise AssertionError("no error")
    """
    finish(start(script, tmp_path / "c"))
    names = sorted(path.name for path in (tmp_path / "c").iterdir())
    assert names == ["build.json", *(f"part-{k:05d}" for k in range(6))]
    build(MemorySource(SAMPLES), tmp_path / "c")
    assert read_tree(tmp_path / "c") == expected


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")
def test_a_read_only_directory_is_told() -> None:
    """Building where one may not write is one clear error; reading there works."""
    script = """
        from slipstream_cache import CacheWriteError
        folder = sys.argv[1]
        source = MemorySource(samples)
        assert build(source, folder + "/done")[3] == samples[3]
        os.unlink(folder + "/done.lock")
        os.mkdir(folder + "/empty")
        for path in (folder + "/done", folder + "/empty", folder):
            os.chmod(path, 0o555)
        if os.getuid() == 0:
            os.seteuid(65534)
        assert SampleCache.open(folder + "/done")[3] == samples[3]
        assert len(build(source, folder + "/done")) == 100
        for place in ("/empty", "/new", "/new/deeper"):
            try:
                build(source, folder + place)
            except CacheWriteError as error:
                assert "Permission denied" in str(error), error
            else:
                raise AssertionError("no error")
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            finish(start(script, folder))
        finally:
            for path in (folder, f"{folder}/done", f"{folder}/empty"):
                Path(path).chmod(0o755)


def test_an_unsealed_part_is_written_again(tmp_path: Path, expected: _Tree) -> None:
    """A part directory whose files are not whole is replaced, not trusted."""
    with pytest.raises(ZeroDivisionError):
        build(MemorySource([*SAMPLES[:99], ZeroDivisionError()]), tmp_path / "c")
    (tmp_path / "c" / "part-00001" / "label.npy").write_bytes(b"short")
    (tmp_path / "c" / "part-00002" / "part.json").write_text("[]")
    fields = SampleCache.open(tmp_path / "expected").fields
    assert read_sealed_part(tmp_path / "c" / "part-00000", fields) is not None
    assert read_sealed_part(tmp_path / "c" / "part-00001", fields) is None
    build(MemorySource(SAMPLES), tmp_path / "c")
    assert read_tree(tmp_path / "c") == expected


def test_publishing_never_replaces(tmp_path: Path) -> None:
    """The first to publish a file wins, and no temporary file stays."""
    publish_file(tmp_path / "manifest.json", "first")
    publish_file(tmp_path / "manifest.json", "second")
    assert read_tree(tmp_path) == {"manifest.json": b"first"}


def test_file_systems_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where links are not supported a rename publishes."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    publish_file(tmp_path / "manifest.json", "first")
    publish_file(tmp_path / "manifest.json", "second")
    assert read_tree(tmp_path) == {"manifest.json": b"first"}


def test_a_write_error_names_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the file system comes as CacheWriteError, an OSError."""

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CacheWriteError, match="No space left") as caught:
        build(MemorySource(SAMPLES), tmp_path / "c")
    assert isinstance(caught.value, OSError)
    assert str(tmp_path / "c") in str(caught.value)


def test_builders_leave_to_others_what_they_are_writing(tmp_path: Path, expected: _Tree) -> None:
    """A part that somebody seems to be writing comes last, and is written if nobody finishes it."""
    with pytest.raises(ZeroDivisionError):
        build(MemorySource([*SAMPLES[:1], ZeroDivisionError(), *SAMPLES[2:]]), tmp_path / "c")
    (tmp_path / "c" / "part-00002.0123456789ab").mkdir()
    read: list[int] = []

    class Recorder(MemorySource):
        def __getitem__(self, index: int) -> Any:
            read.append(index)
            return super().__getitem__(index)

    build(Recorder(SAMPLES), tmp_path / "c", num_workers=1)
    assert read == [*range(16), *range(24, 100), *range(16, 24)]
    assert read_tree(tmp_path / "c") == expected


def test_a_part_that_was_replaced_by_a_whole_one_is_not_discarded(
    tmp_path: Path, expected: _Tree
) -> None:
    """Between a look at a broken part and its removal another builder may have written it anew."""
    cache = build(MemorySource(SAMPLES), tmp_path / "c")
    discard_broken_part(tmp_path / "c" / "part-00003", cache.fields)
    assert read_tree(tmp_path / "c") == expected
    (tmp_path / "c" / "part-00003" / "label.npy").unlink()
    discard_broken_part(tmp_path / "c" / "part-00003", cache.fields)
    discard_broken_part(tmp_path / "c" / "part-00003", cache.fields)
    assert sorted(path.name for path in (tmp_path / "c").glob("part-00003*")) == []


@pytest.mark.skipif(os.name == "nt", reason="mapped files cannot be removed on Windows")
def test_a_cache_that_is_replaced_while_mapped_stays_readable(tmp_path: Path) -> None:
    """Whoever has read a cache keeps its samples; who opens it later gets the new ones."""
    old = build(MemorySource(SAMPLES), tmp_path / "c")
    before = old.load_batch(range(100))
    shutil.rmtree(tmp_path / "c")
    changed = [{**sample, "label": -sample["label"]} for sample in SAMPLES]
    new = build(MemorySource(changed, name="changed"), tmp_path / "c")
    after = old.load_batch(range(100))
    assert after["image"]["data"].tobytes() == before["image"]["data"].tobytes()
    assert after["label"].tolist() == before["label"].tolist() == list(range(100))
    assert new.load_batch(range(100))["label"].tolist() == [-i for i in range(100)]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a small file system of its own")
def test_a_full_file_system(tmp_path: Path) -> None:
    """A build says that the disk is full, keeps sealed parts, and finishes when there is room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    large = [{"x": bytes([i]) * 20_000} for i in range(100)]
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(layout, "MAX_PART_SAMPLES", 8)
            with pytest.raises(CacheWriteError, match="No space left"):
                build(MemorySource(large), disk / "c")
            sealed = list((disk / "c").glob("part-?????/part.json"))
            assert sealed
            assert not list((disk / "c").glob("*.????????????"))
            subprocess.run(["mount", "-o", "remount,size=9m", str(disk)], check=True)
            cache = build(MemorySource(large), disk / "c")
        assert all(path.exists() for path in sealed)
        assert [cache[i] for i in range(100)] == large
        del cache
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
