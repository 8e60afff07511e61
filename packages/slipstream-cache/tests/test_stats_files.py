"""Statistics beside a cache: kept, replaced, and ignored once they are out of date."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from slipstream_cache import (
    CacheWriteError,
    FieldNameError,
    FieldNotFoundError,
    ManifestError,
    SampleCache,
    UnsupportedVersionError,
    build,
    read_stats,
    verify,
    write_stats,
)
from slipstream_cache.bundles import parse_addition
from slipstream_cache.testing import MemorySource


@pytest.fixture
def cache(tmp_path: Path) -> SampleCache:
    """A cache of two dense fields."""
    return build(MemorySource([{"x": i, "y": -i} for i in range(5)]), tmp_path / "c")


def test_what_is_written_is_read(cache: SampleCache) -> None:
    """An open cache reads the last payload that anybody wrote."""
    assert read_stats(cache, "mean") is None
    write_stats(cache.cache_dir, "mean", ["x"], {"mean": [1, None], "ü": "ä"})
    assert read_stats(cache, "mean") == {"mean": [1, None], "ü": "ä"}
    write_stats(cache, "mean", ["x", "y", "x"], {"mean": 2.5})
    assert read_stats(cache, "mean") == {"mean": 2.5}
    assert [path.name for path in (cache.cache_dir / "stats").iterdir()] == ["mean.json"]


def test_statistics_of_another_state_are_ignored(
    cache: SampleCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They hold as long as the fields that they were made from, and no longer."""
    other = build(MemorySource([{"x": i, "y": i} for i in range(5)], name="o"), tmp_path / "o")
    less = build(MemorySource([{"x": i} for i in range(5)], name="l"), tmp_path / "l")
    write_stats(cache, "of-x", ["x"], {"x": 1})
    write_stats(cache, "of-y", ["y"], {"y": 1})
    for target in (other, less):
        (target.cache_dir / "stats").mkdir()
        for path in (cache.cache_dir / "stats").iterdir():
            (target.cache_dir / "stats" / path.name).write_bytes(path.read_bytes())
        assert read_stats(target, "of-x") == {"x": 1}
        with caplog.at_level(logging.WARNING, "slipstream_cache"):
            assert read_stats(target, "of-y") is None
        assert "ignored" in caplog.text
        caplog.clear()


def test_names_and_fields_are_checked(cache: SampleCache) -> None:
    """A name is a file name, and the fields exist."""
    for name in ("../x", "", ".x", "a/b"):
        with pytest.raises(FieldNameError):
            write_stats(cache, name, ["x"], {})
        with pytest.raises(FieldNameError):
            read_stats(cache, name)
    with pytest.raises(FieldNotFoundError):
        write_stats(cache, "mean", ["z"], {})


def test_damaged_files_are_errors(cache: SampleCache) -> None:
    """Nothing that is not ours is taken for statistics."""
    write_stats(cache, "mean", ["x"], {"mean": 1})
    path = cache.cache_dir / "stats" / "mean.json"
    text = path.read_text()
    path.write_text(text.replace('"version": 1', '"version": 2'))
    with pytest.raises(UnsupportedVersionError):
        read_stats(cache, "mean")
    for wrong in ("{}", "", text.replace('"payload": {', '"payload": [{').replace("}\n}", "}]\n}")):
        path.write_text(wrong)
        with pytest.raises(ManifestError):
            read_stats(cache, "mean")


def test_another_number_in_the_file_is_damage(cache: SampleCache) -> None:
    """A payload that is still JSON, but not what was written; files of old have no digest."""
    write_stats(cache, "mean", ["x"], {"mean": 1.5})
    path = cache.cache_dir / "stats" / "mean.json"
    path.write_text(path.read_text().replace('"mean": 1.5', '"mean": 9.5'))
    with pytest.raises(ManifestError, match="its bytes changed"):
        read_stats(cache, "mean")
    assert [problem.path for problem in verify(cache).problems] == [path]
    document = json.loads(path.read_text())
    del document["digest"]
    path.write_text(json.dumps(document))
    assert read_stats(cache, "mean") == {"mean": 9.5}


def test_no_place_to_write_is_told(cache: SampleCache) -> None:
    """What hinders writing is one clear error."""
    (cache.cache_dir / "stats").write_text("a file")
    with pytest.raises(CacheWriteError, match="cannot write"):
        write_stats(cache, "mean", ["x"], {})


def test_statistics_of_odd_fields_are_not_shared(cache: SampleCache) -> None:
    """A manifest from elsewhere whose fields are no names is refused."""
    write_stats(cache, "x", ["x"], {})
    text = json.dumps(
        {**json.loads((cache.cache_dir / "stats/x.json").read_text()), "fields": [[]]}
    )
    with pytest.raises(ManifestError, match="does not have the fields"):
        parse_addition(cache, "stats/x", text, "there")
