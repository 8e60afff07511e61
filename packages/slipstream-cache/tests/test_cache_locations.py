"""Keys and places of caches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slipstream_cache import StorageOptions, cache_key, default_cache_root


def test_key_is_stable() -> None:
    """The key of a fingerprint and options never changes between releases."""
    assert cache_key("abc", StorageOptions()) == "c0f96631b1e36fa4"


@pytest.mark.parametrize(
    "options",
    [
        StorageOptions(max_size=256),
        StorageOptions(quality=90),
        StorageOptions(codec="rgb"),
        StorageOptions(fields=("image",)),
    ],
)
def test_key_depends_on_each_option(options: Any) -> None:
    """Every option changes the key."""
    assert cache_key("abc", options) != cache_key("abc", StorageOptions())


def test_key_depends_on_the_fingerprint_and_not_on_field_order() -> None:
    """Another content has another key; the order of the stored fields does not matter."""
    assert cache_key("abd", StorageOptions()) != cache_key("abc", StorageOptions())
    one, two = StorageOptions(fields=("a", "b")), StorageOptions(fields=("b", "a"))
    assert cache_key("abc", one) == cache_key("abc", two)


@pytest.mark.parametrize(
    "options",
    [
        StorageOptions(max_size=0),
        StorageOptions(quality=0),
        StorageOptions(quality=101),
        StorageOptions(codec="png"),  # type: ignore[arg-type]
    ],
)
def test_options_out_of_range_are_refused(options: Any) -> None:
    """An option that makes no sense is an error that names it."""
    with pytest.raises(ValueError, match="expected"):
        cache_key("abc", options)


def test_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The variable decides; without it, ~/.slipstream; links are resolved."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("SLIPSTREAM_CACHE_DIR", str(tmp_path / "link"))
    assert default_cache_root() == (tmp_path / "real").resolve()
    monkeypatch.setenv("SLIPSTREAM_CACHE_DIR", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert default_cache_root() == (tmp_path / ".slipstream").resolve()
    assert isinstance(default_cache_root(), Path)
