"""``slipstream sync``: up, ls, down, prune, on an S3 server over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from slipstream_cache import SampleCache, verify, write_index
from slipstream_loader import RemoteError, RemoteNotFoundError, SlipstreamDataset
from slipstream_loader.cli import app
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.sample_images import write_sample_folder
from slipstream_s3sync import S3AccessError

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def cache(tmp_path: Path) -> SampleCache:
    write_sample_folder(tmp_path / "photos", num_classes=2, images_per_class=3, seed=0)
    return prepare_cache(SlipstreamDataset(tmp_path / "photos", cache_dir=tmp_path / "a"))


def slipstream(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def listed(url: str) -> list[dict[str, Any]]:
    run = slipstream("sync", "ls", url, "--json")
    assert run.exit_code == 0, run.output
    found: list[dict[str, Any]] = json.loads(run.stdout)
    return found


def test_a_cache_goes_up_and_comes_down(cache: SampleCache, s3_bucket: Any, tmp_path: Path) -> None:
    """With an index that is added between two calls; what is there is not copied again."""
    url = f"{s3_bucket.url}/lab"
    assert listed(url) == []
    up = slipstream("sync", "up", cache.cache_dir, url)
    assert up.exit_code == 0, up.output
    assert "uploaded 0 files" in slipstream("sync", "up", cache.cache_dir, url).stdout
    (entry,) = listed(url)
    assert (entry["key"], entry["num_samples"], entry["complete"]) == (cache.key, 6, True)
    assert str(tmp_path / "photos") in slipstream("sync", "ls", url).stdout
    down = slipstream("sync", "down", url, cache.key, "--cache-dir", tmp_path / "b")
    assert down.exit_code == 0, down.output
    copy = tmp_path / "b" / f"slipcache-{cache.key}"
    assert str(copy) in down.stdout
    write_index(cache, ["label"])
    slipstream("sync", "up", cache.cache_dir, url)
    again = slipstream("sync", "down", url, copy.name, "--cache-dir", tmp_path / "b")
    assert "found, with 1 new addition" in again.stdout
    assert SampleCache.open(copy).value_index("label").sample_ids(1).tolist() == [3, 4, 5]
    assert verify(copy, level="full").ok


def test_only_what_is_named_is_deleted(cache: SampleCache, s3_bucket: Any, tmp_path: Path) -> None:
    """An addition, the files of an unfinished upload, and in the end the cache."""
    url = f"{s3_bucket.url}/lab"
    write_index(cache, ["label", "path"])
    slipstream("sync", "up", cache.cache_dir, url)
    below = f"lab/slipcache-{cache.key}"
    unused = (f"{below}/parts/{'0' * 16}/part-00000/x", f"{below}/derived/image.x/{'0' * 16}/y")
    for key in (*unused, "lab/other", "elsewhere"):
        s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=key, Body=b"x")
    assert listed(url)[0]["unused_objects"] == 2
    assert slipstream("sync", "prune", url, cache.key).exit_code == 1  # it asks, nobody answers
    run = slipstream("sync", "prune", url, cache.key, "--addition", "index/label", "--yes")
    assert run.exit_code == 0, run.output
    assert listed(url)[0]["additions"] == ["index/path"]
    run = slipstream("sync", "prune", url, cache.key, "--unused", "--yes")
    assert "deleted 2 objects" in run.stdout
    assert listed(url)[0]["additions"] == ["index/path"]
    assert slipstream("sync", "down", url, cache.key, "--cache-dir", tmp_path / "b").exit_code == 0
    assert SampleCache.open(tmp_path / "b" / cache.cache_dir.name).value_index("path")
    wrong = slipstream("sync", "prune", url, cache.key, "--addition", "index/none", "--yes")
    assert isinstance(wrong.exception, RemoteNotFoundError)
    assert slipstream("sync", "prune", url, cache.key, "--yes").exit_code == 0
    found = s3_bucket.client.list_objects_v2(Bucket=s3_bucket.name)["Contents"]
    assert [entry["Key"] for entry in found] == ["elsewhere", "lab/other"]
    gone = slipstream("sync", "down", url, cache.key)
    assert isinstance(gone.exception, RemoteNotFoundError)


@pytest.mark.parametrize("change", [{"version": 9}, {"parts": 3}])
def test_parts_of_an_unreadable_manifest_are_not_unused(
    change: dict[str, int], cache: SampleCache, s3_bucket: Any
) -> None:
    """A newer format, or damage: nobody knows what is unused, and nothing is deleted."""
    slipstream("sync", "up", cache.cache_dir, f"{s3_bucket.url}/lab")
    below = {"Bucket": s3_bucket.name, "Prefix": "lab/"}
    before = s3_bucket.client.list_objects_v2(**below)["KeyCount"]
    manifest = json.loads((cache.cache_dir / "manifest.json").read_text())
    s3_bucket.client.put_object(
        Bucket=s3_bucket.name,
        Key=f"lab/slipcache-{cache.key}/manifest.json",
        Body=json.dumps({**manifest, **change}),
    )
    assert listed(f"{s3_bucket.url}/lab")[0]["unused_objects"] == 0
    run = slipstream("sync", "prune", f"{s3_bucket.url}/lab", cache.key, "--unused", "--yes")
    assert isinstance(run.exception, RemoteError)
    assert s3_bucket.client.list_objects_v2(**below)["KeyCount"] == before


def test_failures_are_one_error(s3_bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials: the command ends with the error that says so."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    run = slipstream("sync", "ls", s3_bucket.url)
    assert isinstance(run.exception, S3AccessError)
    assert "no credentials" in str(run.exception)


@pytest.mark.parametrize("key", ["", "slipcache-", "../lab", "0", "{key}/parts"])
def test_only_a_key_is_deleted(key: str, cache: SampleCache, s3_bucket: Any) -> None:
    """An empty variable of a script, or part of a path, deletes nothing, of nobody."""
    url = f"{s3_bucket.url}/lab"
    slipstream("sync", "up", cache.cache_dir, url)
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="lab/manifest.json", Body=b"x")
    before = s3_bucket.client.list_objects_v2(Bucket=s3_bucket.name)["KeyCount"]
    run = slipstream("sync", "prune", url, key.format(key=cache.key), "--yes")
    assert run.exit_code == 1
    assert isinstance(run.exception, (RemoteNotFoundError, ValueError)), run.output
    assert s3_bucket.client.list_objects_v2(Bucket=s3_bucket.name)["KeyCount"] == before
