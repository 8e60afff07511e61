"""Hashes of files are those of their bytes, and are computed once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import xxhash

from slipstream_cache import SourceReadError, file_hashes
from slipstream_cache.file_hashes import hash_of_file

DATA = bytes(range(256)) * 5000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that was written an hour ago."""
    path = tmp_path / "data.tar"
    path.write_bytes(DATA)
    _age(path)
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read."""
    found: list[Path] = []
    original = file_hashes._hash

    def hash_and_tell(path: Path) -> str:
        found.append(path)
        return original(path)

    monkeypatch.setattr(file_hashes, "_hash", hash_and_tell)
    return found


def _age(path: Path, seconds: int = 3600) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - seconds * 10**9))


def test_a_file_is_read_once(tmp_path: Path, file: Path, reads: list[Path]) -> None:
    """The second time the hash is remembered, for every name of the file."""
    root = tmp_path / "caches"
    expected = xxhash.xxh3_128(DATA).hexdigest()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: hash_of_file(file, cache_root=root), range(8)))
    assert found == [expected] * 8
    (tmp_path / "link").symlink_to(file)
    assert hash_of_file(tmp_path / "link", cache_root=root) == expected
    assert len(reads) == 1


def test_a_changed_file_is_read_again(tmp_path: Path, file: Path, reads: list[Path]) -> None:
    """Another size, another time or another file of the same name."""
    root = tmp_path / "caches"
    first = hash_of_file(file, cache_root=root)
    _age(file)
    assert hash_of_file(file, cache_root=root) == first
    replacement = tmp_path / "replacement"
    replacement.write_bytes(DATA[::-1])
    os.utime(replacement, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    replacement.replace(file)
    assert hash_of_file(file, cache_root=root) == xxhash.xxh3_128(DATA[::-1]).hexdigest()
    assert len(reads) == 3


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path, reads: list[Path]) -> None:
    """It may change again without a change of its time."""
    path = tmp_path / "new.tar"
    path.write_bytes(DATA)
    hash_of_file(path, cache_root=tmp_path / "caches")
    hash_of_file(path, cache_root=tmp_path / "caches")
    assert len(reads) == 2


def test_a_file_that_changes_while_it_is_read_is_told(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No hash of a mixture is returned."""

    def touch(path: Path) -> str:
        path.write_bytes(b"new")
        return "0" * 32

    monkeypatch.setattr(file_hashes, "_hash", touch)
    with pytest.raises(SourceReadError, match=r"data\.tar was changed"):
        hash_of_file(file, cache_root=tmp_path / "caches")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"xxh3_128": 1}', "\xff"])
def test_a_damaged_memo_is_ignored(tmp_path: Path, file: Path, text: str) -> None:
    """What cannot be understood is computed anew and written again."""
    root = tmp_path / "caches"
    expected = hash_of_file(file, cache_root=root)
    (memo,) = (root / "file-hashes").glob("*.json")
    memo.write_bytes(text.encode("latin-1"))
    assert hash_of_file(file, cache_root=root) == expected
    assert expected in memo.read_text()


def test_a_place_that_cannot_be_written_is_fine(tmp_path: Path, file: Path) -> None:
    """Then the hash is computed each time."""
    (tmp_path / "caches").write_text("a file where the folder should be")
    expected = xxhash.xxh3_128(DATA).hexdigest()
    assert hash_of_file(file, cache_root=tmp_path / "caches") == expected


def test_the_root_comes_from_the_environment(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, reads: list[Path]
) -> None:
    """Hashes lie beside the caches, also behind a link."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    monkeypatch.setenv("SLIPSTREAM_CACHE_DIR", str(tmp_path / "root"))
    hash_of_file(file)
    hash_of_file(file)
    assert len(reads) == 1
    assert len(list((tmp_path / "disk" / "file-hashes").glob("*.json"))) == 1
