"""``sync_s3_dataset``: a local copy of a data set, kept up with the bucket."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from slipstream_s3sync import S3Error, S3Folder, S3NotFoundError, sync_s3_dataset
from slipstream_s3sync.dataset_sync import _deterministic_local_dir
from slipstream_s3sync.testing import FaultProxy

pytestmark = pytest.mark.timeout(120)


def fill(bucket: Any, names: dict[str, bytes]) -> str:
    for name, data in names.items():
        bucket.client.put_object(Bucket=bucket.name, Key=f"data/set/{name}", Body=data)
    return f"{bucket.url}/data/set/"


def tree(directory: Path) -> dict[str, bytes]:
    return {
        p.relative_to(directory).as_posix(): p.read_bytes()
        for p in directory.rglob("*")
        if p.is_file() and p.name != ".slipstream-sync.json"
    }


def test_a_data_set_is_copied_and_kept_up(
    s3_bucket: Any, engine: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    """New, changed and deleted objects; what is known to be right is not read again."""
    data = {"index.json": b"{}", "sub/ü 1.bin": b"1" * 5000, "empty/": b"", "2.bin": b"2"}
    url = fill(s3_bucket, data)
    del data["empty/"]
    directory = sync_s3_dataset(url, tmp_path)
    assert directory == _deterministic_local_dir(url.rstrip("/"), tmp_path)
    assert directory.name.startswith("set-")
    assert directory.parent == tmp_path / "s3-sync"
    assert tree(directory) == data
    proxy.requests.clear()
    assert sync_s3_dataset(url, tmp_path) == directory
    assert [method for method, path, _ in proxy.requests if "/data" in path] == []
    data |= {"2.bin": b"!", "3.bin": b"3"}
    fill(s3_bucket, data)
    s3_bucket.client.delete_object(Bucket=s3_bucket.name, Key="data/set/index.json")
    del data["index.json"]
    (directory / "sub" / "ü 1.bin").write_bytes(b"damaged")
    (directory / "mine.txt").write_text("not from the bucket")
    assert tree(sync_s3_dataset(url, tmp_path)) == data | {"mine.txt": b"not from the bucket"}


def test_the_directory_is_known_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It depends on the URL, and lies where the caches are."""
    monkeypatch.setenv("SLIPSTREAM_CACHE_DIR", str(tmp_path))
    place = _deterministic_local_dir("s3://bucket/val/")
    assert place.parent == tmp_path / "s3-sync"
    assert place == _deterministic_local_dir("s3://bucket/val", tmp_path)
    assert place != _deterministic_local_dir("s3://other/val", tmp_path)


def test_names_that_lead_elsewhere_are_refused(s3_bucket: Any, tmp_path: Path) -> None:
    """``..`` in a key, an object that is also a folder, and nothing at all: nothing is written."""
    client, name = s3_bucket.client, s3_bucket.name
    client.put_object(Bucket=name, Key="up/a/../../../escaped.txt", Body=b"x")
    with pytest.raises(S3Error, match="rename it"):
        sync_s3_dataset(f"{s3_bucket.url}/up", tmp_path / "caches")
    for key in ("both/dup", "both/dup/x"):
        client.put_object(Bucket=name, Key=key, Body=b"x")
    with pytest.raises(S3Error, match="also a folder"):
        sync_s3_dataset(f"{s3_bucket.url}/both", tmp_path / "caches")
    with pytest.raises(S3NotFoundError, match="no objects below"):
        sync_s3_dataset(f"{s3_bucket.url}/none", tmp_path / "caches")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_1200_keys_come_in_pages(s3_bucket: Any, tmp_path: Path) -> None:
    """More objects than a page of a listing holds are listed and copied."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]  # of the server, which is in this process
    for number in range(1200):
        backend.put_object(s3_bucket.name, f"many/{number:04}", str(number).encode())
    folder = S3Folder(f"{s3_bucket.url}/many")
    assert sum(1 for _ in folder.list()) == 1200
    directory = sync_s3_dataset(folder.url, tmp_path)
    assert {int(path.name): path.read_text() for path in directory.glob("0*")} == {
        number: str(number) for number in range(1000)
    }
    assert len(tree(directory)) == 1200


def test_no_secret_is_logged(
    s3_bucket: Any, engine: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is logged and kept on disk, keys are not in it."""
    caplog.set_level(logging.DEBUG, "slipstream_s3sync")
    url = fill(s3_bucket, {"x": b"1"})
    secrets = {"aws_access_key_id": "my-own-key", "aws_secret_access_key": "my-own-secret"}
    directory = sync_s3_dataset(url, tmp_path, storage_options=secrets)
    kept = b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())
    assert "my-own" not in caplog.text + kept.decode()


def test_creating_an_object_has_one_winner(s3_bucket: Any) -> None:
    """A conditional write tells whether it was first; reading gives the first one's bytes."""
    folder = S3Folder(s3_bucket.url)
    assert folder.create("x", b"first") is True
    assert folder.create("x", b"second") is False
    assert folder.read("x") == b"first"
    folder.delete(["x", "never"])
    assert folder.stat("x") is None


def test_processes_that_copy_one_url_share_the_work(
    s3_bucket: Any, engine: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    """Each object is fetched once, and all of them see the whole copy."""
    data = {f"{number}.bin": bytes([number]) * 100_000 for number in range(6)}
    url = fill(s3_bucket, data)
    with ThreadPoolExecutor(4) as pool:
        copies = list(pool.map(lambda _: sync_s3_dataset(url, tmp_path), range(4)))
    assert [tree(copy) for copy in copies] == [data] * 4
    asked = [path for method, path, _ in proxy.requests if method == "GET" and ".bin" in path]
    assert sorted(path.rpartition("/")[2] for path in asked) == sorted(data)


def test_a_renamed_object_that_is_the_same_file_stays(s3_bucket: Any, tmp_path: Path) -> None:
    """The old name is stale, and the file under the new one is not."""
    url = fill(s3_bucket, {"a//b": b"1", "c": b"2"})
    sync_s3_dataset(url, tmp_path)
    s3_bucket.client.delete_object(Bucket=s3_bucket.name, Key="data/set/a//b")
    fill(s3_bucket, {"a/b": b"1"})
    for _ in range(2):
        assert tree(sync_s3_dataset(url, tmp_path)) == {"a/b": b"1", "c": b"2"}


def test_a_copy_to_be_read_only_needs_no_lock(s3_bucket: Any, tmp_path: Path) -> None:
    """Where the file of the lock cannot be opened, there is none."""
    url = fill(s3_bucket, {"x": b"1"})
    directory = _deterministic_local_dir(url, tmp_path)
    directory.with_name(f"{directory.name}.lock").mkdir(parents=True)
    assert tree(sync_s3_dataset(url, tmp_path)) == {"x": b"1"}
