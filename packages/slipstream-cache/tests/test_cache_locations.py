"""Keys and places of caches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slipstream_cache import StorageOptions, build, cache_key, default_cache_root
from slipstream_cache.testing import MemorySource


def test_key_is_stable() -> None:
    """The key of a fingerprint and options never changes between releases."""
    assert cache_key("abc", StorageOptions()) == "c0f96631b1e36fa4"


@pytest.mark.parametrize(
    "options",
    [
        StorageOptions(max_size=256),
        StorageOptions(quality=90),
        StorageOptions(codec="rgb"),
        StorageOptions(codec="smart"),
        StorageOptions(codec="proportion"),
        StorageOptions(fields=("image",)),
    ],
)
def test_key_depends_on_each_option(options: Any) -> None:
    """Every option changes the key."""
    assert cache_key("abc", options) != cache_key("abc", StorageOptions())


def test_key_depends_on_the_details_of_the_codec_only() -> None:
    """A threshold counts where the codec has one, and nowhere else."""
    key = cache_key("abc", StorageOptions())
    assert cache_key("abc", StorageOptions(smart_threshold=1, jpeg_proportion=0.1)) == key
    smart = {cache_key("abc", StorageOptions(codec="smart", smart_threshold=n)) for n in (1, 2)}
    parts = [StorageOptions(codec="proportion", jpeg_proportion=p) for p in (0.1, 0.2)]
    assert len(smart | {cache_key("abc", part) for part in parts}) == 4


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
        StorageOptions(codec="smart", smart_threshold=-1),
        StorageOptions(codec="proportion", jpeg_proportion=1.5),
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


@pytest.mark.parametrize(
    "options",
    [
        StorageOptions(),
        StorageOptions(codec="smart", smart_threshold=7),
        StorageOptions(codec="proportion", jpeg_proportion=0.25),
    ],
)
def test_a_manifest_keeps_the_options(options: StorageOptions, tmp_path: Path) -> None:
    """What a cache was stored with is read again; a codec without details says none."""
    source = MemorySource([{"x": 1}])
    cache = build(source, tmp_path / "cache", options=options)
    assert cache.manifest.options == options
    text = (tmp_path / "cache" / "manifest.json").read_text()
    assert ("smart_threshold" in text) == (options.codec == "smart")
    assert ("jpeg_proportion" in text) == (options.codec == "proportion")
