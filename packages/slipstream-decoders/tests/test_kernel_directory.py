"""Where compiled kernels are kept."""

from __future__ import annotations

import stat
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest

from slipstream_decoders import _jit

PACKAGE = Path(_jit.__file__).parent


def _directory() -> Path:
    return _jit._usable_directory.__wrapped__(PACKAGE)


def _no_home() -> NoReturn:
    raise RuntimeError("Could not determine home directory.")


@pytest.fixture(autouse=True)
def _own_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.delenv("SLIPSTREAM_KERNEL_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


@pytest.mark.skipif(sys.platform != "linux", reason="other variables elsewhere")
def test_no_home_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a variable says where caches go; without one the last resort is taken."""
    monkeypatch.setattr(Path, "home", _no_home)
    assert tmp_path / "tmp" in _directory().parents
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert tmp_path / "caches" in _directory().parents
    monkeypatch.setenv("SLIPSTREAM_KERNEL_CACHE", str(tmp_path / "kernels"))
    assert tmp_path / "kernels" in _directory().parents


def test_the_last_resort_is_shared_and_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes find one another's machine code; nobody else may write to it."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("SLIPSTREAM_KERNEL_CACHE", str(tmp_path / "file"))
    directory = _directory()
    assert directory == _directory()
    (private,) = (tmp_path / "tmp").iterdir()
    assert private == directory.parent
    assert stat.S_IMODE(private.stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["open", "link", "file"])
def test_a_directory_that_others_may_write_to_is_not_used(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machine code is run: whoever made the shared directory first must be this user."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("SLIPSTREAM_KERNEL_CACHE", str(tmp_path / "file"))
    shared = _directory().parent
    (shared / next(shared.iterdir()).name).rmdir()
    shared.rmdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    if kind == "open":
        shared.mkdir()
        shared.chmod(0o777)
    elif kind == "link":
        shared.symlink_to(elsewhere)
    else:
        shared.touch()
    directory = _directory()
    assert directory.is_dir()
    assert shared not in (directory, *directory.parents)
    assert not list(elsewhere.iterdir())
