"""Quick and full checks of a cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slipstream_cache import build, check_integrity
from slipstream_cache.testing import MemorySource, make_jpeg


@pytest.fixture
def directory(tmp_path: Path) -> Any:
    """A cache with an image and a text field."""
    samples = [{"image": make_jpeg(9, 9), "path": f"{i}"} for i in range(10)]
    return build(MemorySource(samples), tmp_path / "c").cache_dir


def test_a_whole_cache_has_no_problems(directory: Path) -> None:
    """Right after a build nothing is wrong, hashes included."""
    assert check_integrity(directory) == []
    assert check_integrity(directory, full=True) == []


def test_cut_and_missing_files_are_found_quickly(directory: Path) -> None:
    """Sizes and presence of all files are checked, and all problems are listed."""
    part = directory / "part-00000"
    (part / "image.bin").write_bytes(b"short")
    (part / "path.bin").unlink()
    (part / "path.offsets.npy").unlink()
    (part / "path.offsets.npy").mkdir()
    problems = {problem.path.name: problem.message for problem in check_integrity(directory)}
    assert sorted(problems) == ["image.bin", "path.bin", "path.offsets.npy"]
    assert problems["image.bin"].endswith("found 5")
    assert problems["path.bin"].startswith("missing")
    assert problems["path.offsets.npy"] == "not a file"


@pytest.mark.parametrize("name", ["image.bin", "image.samples.npy", "path.bin"])
def test_a_flipped_bit_is_found_by_the_full_check(directory: Path, name: str) -> None:
    """One changed bit anywhere changes the hash."""
    path = directory / "part-00000" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert check_integrity(directory) == []
    (problem,) = check_integrity(directory, full=True)
    assert problem.path == path
    assert "its bytes changed" in str(problem)


def test_a_missing_or_foreign_manifest_is_a_problem(directory: Path, tmp_path: Path) -> None:
    """The check itself does not raise."""
    (problem,) = check_integrity(tmp_path / "nothing")
    assert "no published cache" in problem.message
    (directory / "manifest.json").write_text("{}")
    (problem,) = check_integrity(directory)
    assert "not the manifest of a slipcache" in problem.message
