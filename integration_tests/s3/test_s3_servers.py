"""Transfers and shared caches on several S3 servers, with s5cmd and with boto3."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import xxhash

from slipstream_cache import SampleCache, verify, write_index
from slipstream_loader import RemoteCache, SlipstreamDataset, prepare_cache
from slipstream_loader.remote_cache import fetch_cache, sync_cache
from slipstream_loader.sample_images import write_sample_folder
from slipstream_s3sync import (
    IntegrityError,
    RemoteFile,
    S3AccessError,
    S3ConnectionError,
    S3Folder,
    S3NotFoundError,
    download,
    sync_s3_dataset,
    upload,
)

pytestmark = pytest.mark.timeout(200)

SIZES = {"plain": 3000, "a b/ü +&%.bin": 70_000, "empty": 0, "large": (9 << 20) + 17}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> SampleCache:
    """A small cache with an index."""
    root = tmp_path_factory.mktemp("servers")
    write_sample_folder(root / "photos", num_classes=2, images_per_class=4, seed=0)
    dataset = SlipstreamDataset(root / "photos", cache_dir=root / "caches")
    built = prepare_cache(dataset, verbose=False)
    write_index(built, ["label"])
    return built


def wanted(directory: Path, name: str, data: bytes) -> RemoteFile:
    return RemoteFile(name, directory / name, len(data), xxhash.xxh3_64_hexdigest(data))


def test_what_goes_up_comes_down(bucket: Any, engine: str, tmp_path: Path) -> None:
    """Odd names, nothing, more than 8 MiB; listings, ranges and hashes agree; damage is found."""
    folder = S3Folder(f"{bucket.url}/set")
    data = {name: os.urandom(size) for name, size in SIZES.items()}
    for name, value in data.items():
        (tmp_path / "up" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "up" / name).write_bytes(value)
    assert upload(folder, [wanted(tmp_path / "up", n, v) for n, v in data.items()]) == len(data)
    assert {found.name: found.size for found in folder.list()} == SIZES
    here = [wanted(tmp_path / "down", name, value) for name, value in data.items()]
    assert download(folder, here) == len(data)
    assert download(folder, here) == 0
    directory = sync_s3_dataset(folder.url, tmp_path)
    for name, value in data.items():
        assert (tmp_path / "down" / name).read_bytes() == value
        assert (directory / name).read_bytes() == value
    wrong = RemoteFile("plain", tmp_path / "wrong", SIZES["plain"], "0" * 16)
    with pytest.raises(IntegrityError, match="expected xxh3 0000"):
        download(folder, [wrong])
    assert not (tmp_path / "wrong").exists()
    folder.close()


def test_what_fails_is_told_apart(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bucket, object, credentials and certificate, on every server."""
    folder = S3Folder(f"{bucket.url}/set")
    with pytest.raises(S3NotFoundError, match="no such object"):
        folder.read("none")
    with pytest.raises(S3NotFoundError, match="bucket does not exist"):
        S3Folder(f"s3://{bucket.name}-none").check()
    if bucket.server.name == "swift":  # the others take any credentials
        other = {"aws_access_key_id": "test:tester", "aws_secret_access_key": "wrong"}
        with pytest.raises(S3AccessError, match="credentials were refused") as caught:
            S3Folder(bucket.url, other).check()
        assert "wrong" not in str(caught.value)
    if bucket.server.name == "tls":
        monkeypatch.delenv("AWS_CA_BUNDLE")
        with pytest.raises(S3ConnectionError, match="certificate"):
            S3Folder(bucket.url).check()
        trusted = S3Folder(bucket.url, {"verify": bucket.server.ca_file})
        trusted.check()
        trusted.close()
    folder.close()


def test_a_cache_is_shared(bucket: Any, engine: str, cache: SampleCache, tmp_path: Path) -> None:
    """Several uploaders at once, then a reader: the cache and its index, whole and right."""
    remote = RemoteCache(f"{bucket.url}/caches", strict=True)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: sync_cache(remote, cache, verbose=False), range(3)))
    manifests = [found for found in listed(bucket) if found.endswith("manifest.json")]
    assert len(manifests) == 1
    place = tmp_path / cache.cache_dir.name
    assert fetch_cache(remote, cache.key, place, verbose=False)
    copy = SampleCache.open(place)
    assert sync_cache(remote, copy, verbose=False) == (1, 0)
    assert copy.value_index("label").sample_ids(1).tolist() == [4, 5, 6, 7]
    report = verify(place, level="full")
    assert report.ok
    assert report.num_bytes == verify(cache.cache_dir).num_bytes


def listed(bucket: Any) -> list[str]:
    found = bucket.client.list_objects_v2(Bucket=bucket.name).get("Contents", ())
    return [entry["Key"] for entry in found]


USER = """
import hashlib, logging, sys
logging.basicConfig(level=logging.WARNING)
from slipstream import SlipstreamDataset, SlipstreamLoader, write_index
from slipstream.decoders import DecodeRandomResizedCrop
import slipstream_loader.prepare as prepare
if sys.argv[3] == "second":
    prepare.build = None  # it is an error to build
loader = SlipstreamLoader(SlipstreamDataset(sys.argv[1]), batch_size=4, seed=3, verbose=False,
    remote_cache=sys.argv[2], pipelines={"image": [DecodeRandomResizedCrop(64)]})
digest = hashlib.sha256()
for batch in loader:
    digest.update(batch["image"].contiguous().numpy().tobytes())
    digest.update(batch["label"].numpy().tobytes())
if sys.argv[3] == "first":
    write_index(loader.cache, fields=["label"])
    loader.sync_remote_cache()
print(digest.hexdigest(), loader.cache.cache_dir, len(loader.cache.value_index("label")))
"""


@pytest.mark.parametrize("server", ["http"], indirect=True)
def test_two_users_train_on_equal_pixels(bucket: Any, tmp_path: Path) -> None:
    """Two processes with separate homes: the second downloads what the first built and added."""
    write_sample_folder(tmp_path / "photos", num_classes=2, images_per_class=6, seed=0)
    answers = []
    kernels = os.environ.get("SLIPSTREAM_KERNEL_CACHE", str(Path.home() / ".cache"))
    for user in ("first", "second"):
        home = tmp_path / user
        home.mkdir()
        environment = {**os.environ, "HOME": str(home), "SLIPSTREAM_KERNEL_CACHE": kernels}
        environment.pop("SLIPSTREAM_CACHE_DIR", None)
        arguments = [str(tmp_path / "photos"), f"{bucket.url}/lab", user]
        run = subprocess.run(
            [sys.executable, "-c", USER, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        assert "WARNING" not in run.stderr
        digest, directory, num_labels = run.stdout.split()
        assert Path(directory).parent == home / ".slipstream"
        answers.append((digest, num_labels))
    assert answers[0] == answers[1] == (answers[0][0], "2")
