"""Listings of folders that the ranks of a node share."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slipstream_loader.sources import imagefolder, shared_scan
from slipstream_loader.sources.imagefolder import ImageFolderSource


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes; this process counts as one of several ranks."""
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    monkeypatch.setenv("SLIPSTREAM_CACHE_DIR", str(tmp_path / "caches"))
    for name in ("a/1.jpg", "b/2.jpg", "b/ü.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(b"x" * len(name))
    return tmp_path / "photos"


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was scanned; each scan takes a moment."""
    done: list[str] = []
    original = imagefolder._list_root

    def slow(root: Path) -> imagefolder.FileListing:
        done.append(root.name)
        time.sleep(0.05)
        return original(root)

    monkeypatch.setattr(imagefolder, "_list_root", slow)
    return done


def test_ranks_that_start_together_scan_twice_at_most(folder: Path, scans: list[str]) -> None:
    """Eight askers, at most the first one's scan and another; all see the same samples."""
    start = threading.Barrier(8)

    def rank(_: int) -> ImageFolderSource:
        start.wait(10)
        return ImageFolderSource(folder)

    with ThreadPoolExecutor(8) as pool:
        sources = list(pool.map(rank, range(8)))
    assert len(scans) <= 2
    expected = [sources[0][i] for i in range(3)]
    assert [sample["path"] for sample in expected] == ["a/1.jpg", "b/2.jpg", "b/ü.jpg"]
    for source in sources:
        assert [source[i] for i in range(3)] == expected
        assert source.fingerprint() == sources[0].fingerprint()
        assert (source.classes, source.labels.tolist()) == (["a", "b"], [0, 1, 1])


def test_what_was_there_when_a_rank_asked_is_there(folder: Path, scans: list[str]) -> None:
    """A file that is added while another rank scans is seen by who asks after that."""
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ImageFolderSource, folder)
        while not scans:
            time.sleep(0.001)
        (folder / "a/0.jpg").write_bytes(b"new")
        second = pool.submit(ImageFolderSource, folder)
        first.result(10)
        assert len(second.result(10)) == 4
    assert len(ImageFolderSource(folder)) == 4
    (folder / "a/0.jpg").write_bytes(b"longer")
    assert ImageFolderSource(folder)[0]["image"] == b"longer"
    assert len(scans) == 4


def test_one_listing_is_kept_and_damage_is_no_harm(folder: Path, scans: list[str]) -> None:
    """Old listings are removed; a memo that is broken or leads elsewhere is not followed."""
    for _ in range(3):
        ImageFolderSource(folder)
    root = folder.parent / "caches/listings"
    assert len([path for path in root.iterdir() if path.is_dir()]) == 1
    (memo,) = root.glob("*.json")
    facts = json.loads(memo.read_text())
    future = {**facts, "wall_ns": 1 << 62, "since_start_ns": 1 << 62}
    before = len(scans)
    for found in ("{", "[]", json.dumps({})):
        memo.write_text(found)
        assert len(ImageFolderSource(folder)) == 3
    memo.write_text(json.dumps({**future, "directory": "../.."}))
    assert len(ImageFolderSource(folder)) == 3
    assert len(scans) == before + 4
    assert folder.is_dir()


def test_nodes_do_not_remove_one_anothers_listings(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each node of a shared file system has one listing, however their ranks take turns."""
    for node in ("n1", "n2") * 3:
        monkeypatch.setattr(shared_scan.platform, "node", lambda node=node: node)
        assert len(ImageFolderSource(folder)) == 3
    root = folder.parent / "caches/listings"
    memos = {path.stem for path in root.glob("*.json")}
    listings = [path.name.rpartition("-")[0] for path in root.iterdir() if path.is_dir()]
    assert len(memos) == 2
    assert sorted(listings) == sorted(memos)


def test_a_process_by_itself_keeps_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ranks nothing is written, and so it is where the place cannot be written."""
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    assert len(ImageFolderSource(folder)) == 3
    assert not (folder.parent / "caches").exists()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    (folder.parent / "caches").write_text("in the way")
    assert len(ImageFolderSource(folder)) == 3
