"""From a path or object to its source."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slipstream_cache import (
    CacheNotFoundError,
    ManifestError,
    SampleCache,
    UnsupportedVersionError,
    build,
)
from slipstream_loader.errors import SourceError
from slipstream_loader.sources import (
    ImageFolderSource,
    SequenceSource,
    TableSource,
    open_source,
)


@pytest.fixture
def cache(tmp_path: Path) -> SampleCache:
    """Return a cache of two samples."""
    return build(SequenceSource([{"x": 1}, {"x": 2}]), tmp_path / "slipcache-0")


def test_folders_of_images(tmp_path: Path) -> None:
    """A folder of images is an ImageFolderSource, given as str or Path."""
    (tmp_path / "a.jpg").write_bytes(b"x")
    for path in (tmp_path, str(tmp_path)):
        assert isinstance(open_source(path), ImageFolderSource)


def test_images_beside_tables_are_a_choice(tmp_path: Path) -> None:
    """Neither is left out in silence; the message names both readings."""
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/1.jpg").write_bytes(b"x")
    pq.write_table(pa.table({"file_name": ["x"]}), tmp_path / "metadata.parquet")
    with pytest.raises(SourceError, match=r"images and tables: give ImageFolderSource"):
        open_source(tmp_path)
    assert isinstance(open_source(tmp_path / "metadata.parquet"), TableSource)


def test_a_manifest_beside_images_is_no_cache(tmp_path: Path) -> None:
    """A foreign manifest.json does not make a folder a cache."""
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "manifest.json").write_text(json.dumps({"name": "web app"}))
    assert isinstance(open_source(tmp_path), ImageFolderSource)


def test_cache_directories_are_opened(cache: SampleCache) -> None:
    """A published cache is opened, also after its directory was renamed."""
    assert len(open_source(cache.cache_dir)) == 2
    renamed = cache.cache_dir.rename(cache.cache_dir.with_name("my-data"))
    assert isinstance(open_source(renamed), SampleCache)


def test_broken_caches_say_what_is_wrong(cache: SampleCache) -> None:
    """A cache that is unfinished, damaged or of another version is no folder of images."""
    manifest = cache.cache_dir / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "version": 1}))
    with pytest.raises(UnsupportedVersionError):
        open_source(cache.cache_dir)
    manifest.write_text("{")
    with pytest.raises(ManifestError):
        open_source(cache.cache_dir)
    manifest.unlink()
    with pytest.raises(CacheNotFoundError):
        open_source(cache.cache_dir)


def test_objects_pass_through(cache: SampleCache) -> None:
    """Sources and open caches come back as they are; lists become a SequenceSource."""
    source = SequenceSource([{"x": 1}])
    assert open_source(source) is source
    assert open_source(cache) is cache
    assert isinstance(open_source([{"x": 1}]), SequenceSource)


@pytest.mark.parametrize("url", ["gs://bucket/train.tar", "https://a.b/c.zip"])
def test_urls_are_not_supported_yet(url: str) -> None:
    """A URL is refused with what is supported."""
    with pytest.raises(SourceError, match=f"{url}: URLs cannot be opened; supported are"):
        open_source(url)


@pytest.mark.parametrize("name", ["train.tfrecord", "photo.jpg"])
def test_files_are_not_supported_yet(tmp_path: Path, name: str) -> None:
    """A file is refused with what is supported."""
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(SourceError, match=f"{name} is a file; supported are"):
        open_source(tmp_path / name)


def test_litdata_is_not_supported_yet(tmp_path: Path) -> None:
    """A LitData directory whose index is damaged is refused by name."""
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(SourceError, match="LitData"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    "url", ["ftp://me:secret@host/a.jpg?x=secret", "https://me:secret@[x/a.tar"]
)
def test_messages_hold_no_credentials(url: str) -> None:
    """Users, passwords and queries are left out of URLs that cannot be opened."""
    with pytest.raises(SourceError, match="URL") as failure:
        open_source(url)
    assert "secret" not in str(failure.value)


def test_missing_path(tmp_path: Path) -> None:
    """A path that does not exist is named."""
    with pytest.raises(SourceError, match="nowhere does not exist"):
        open_source(tmp_path / "nowhere")


@pytest.mark.parametrize("thing", [7, {"x": [1, 2]}, b"bytes"])
def test_other_objects(thing: object) -> None:
    """What is neither path nor sequence is refused."""
    with pytest.raises(SourceError):
        open_source(thing)
