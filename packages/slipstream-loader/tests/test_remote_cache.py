"""Caches shared over S3: built once, found whole or not at all, whatever happens on the way."""

from __future__ import annotations

import io
import json
import logging
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slipstream_cache import (
    Codec,
    CorruptCacheError,
    SampleCache,
    StorageOptions,
    StoredImage,
    build,
    verify,
    write_index,
)
from slipstream_cache.bundles import (
    addition_bundles,
    cache_bundle,
    publish_bundle,
    staging_directory,
)
from slipstream_decoders import DecodeRandomResizedCrop
from slipstream_loader import LoaderError, RemoteCache, SlipstreamDataset, SlipstreamLoader
from slipstream_loader import remote_cache as remote_module
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.remote_cache import fetch_additions, fetch_cache, send_cache, sync_cache
from slipstream_loader.sample_images import write_sample_folder
from slipstream_s3sync import IntegrityError, S3AccessError, S3ConnectionError, S3NotFoundError
from slipstream_s3sync.testing import Fault, FaultProxy, fault_proxy

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("remote") / "photos"
    write_sample_folder(path, num_classes=2, images_per_class=6, seed=0)
    return path


@pytest.fixture(scope="module")
def built(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SampleCache:
    """A cache without additions; tests do not change it."""
    root = tmp_path_factory.mktemp("built")
    return prepare_cache(SlipstreamDataset(folder, cache_dir=root), verbose=False)


@pytest.fixture
def remote(s3_bucket: Any) -> RemoteCache:
    return RemoteCache(f"{s3_bucket.url}/shared/caches/")


@pytest.fixture
def proxy(s3_bucket: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with fault_proxy(s3_bucket.endpoint_url) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.endpoint_url)
        yield running


def keys(bucket: Any) -> list[str]:
    found = bucket.client.list_objects_v2(Bucket=bucket.name).get("Contents", ())
    return [entry["Key"] for entry in found]


def make_loader(folder: Path, root: Path, **options: Any) -> SlipstreamLoader:
    return SlipstreamLoader(
        SlipstreamDataset(folder, cache_dir=root),
        batch_size=4,
        seed=7,
        pipelines={"image": [DecodeRandomResizedCrop(64)]},
        verbose=False,
        **options,
    )


def pixels(loader: SlipstreamLoader) -> np.ndarray:
    return np.concatenate([batch["image"].numpy() for batch in loader])


def test_the_second_user_downloads_what_the_first_built(
    folder: Path, s3_bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cache and seek points come from the remote; nothing is built, and the pixels are equal."""
    url = f"{s3_bucket.url}/caches"
    first = make_loader(folder, tmp_path / "first", remote_cache=url)
    assert any(key.endswith("/manifest.json") for key in keys(s3_bucket))
    monkeypatch.setattr("slipstream_loader.prepare.build", None)
    monkeypatch.setattr("slipstream_loader.seek_points.write_seek_points", None)
    second = make_loader(folder, tmp_path / "second", remote_cache=url)
    np.testing.assert_array_equal(pixels(first), pixels(second))
    cache = second.cache.caches[0]
    assert cache.cache_dir.parent == tmp_path / "second"
    assert verify(cache.cache_dir, level="full", source=second.dataset.source).ok
    assert cache.manifest.num_bytes == first.cache.caches[0].manifest.num_bytes
    left = [path.name for path in (tmp_path / "second").iterdir()]
    assert [name for name in left if not name.endswith(".lock")] == [cache.cache_dir.name]
    assert second.sync_remote_cache() == (0, 0)


def test_an_index_that_is_added_later_reaches_the_other(
    folder: Path, s3_bucket: Any, tmp_path: Path
) -> None:
    """``sync_remote_cache`` sends what was added here, and fetches what others added."""
    url = f"{s3_bucket.url}/caches"
    first = make_loader(folder, tmp_path / "first", remote_cache=url)
    second = make_loader(folder, tmp_path / "second", remote_cache=url)
    write_index(first.cache.caches[0], ["label"])
    write_index(second.cache.caches[0], ["path"])
    assert first.sync_remote_cache() == (0, 1)
    assert second.sync_remote_cache() == (1, 1)
    assert first.sync_remote_cache() == (1, 0)
    for loader in (first, second):
        np.testing.assert_array_equal(
            loader.cache.value_index("label").sample_ids(1), np.arange(6, 12)
        )
        assert len(loader.cache.value_index("path")) == 12
        assert verify(loader.cache.caches[0].cache_dir, level="full").ok
    planes = make_loader(folder, tmp_path / "first", remote_cache=url, image_format="yuv420")
    third = make_loader(folder, tmp_path / "third", remote_cache=url, image_format="yuv420")
    np.testing.assert_array_equal(pixels(planes), pixels(third))
    with pytest.raises(LoaderError, match="remote_cache="):
        make_loader(folder, tmp_path / "third").sync_remote_cache()


def test_nobody_sees_half_a_cache(
    built: SampleCache, remote: RemoteCache, proxy: FaultProxy, s3_bucket: Any, tmp_path: Path
) -> None:
    """An uploader that ends after any number of objects has published nothing."""
    num_files = sum(len(part.files) for part in built.manifest.parts)
    puts = 0
    for allowed in range(num_files + 1):
        proxy.faults[:] = [
            Fault("slow", method="PUT", value=0, times=min(allowed, 1)),
            Fault("drop", method="PUT"),
        ]
        with pytest.raises(S3ConnectionError):
            send_cache(remote, built, verbose=False)
        puts = sum("/parts/" in key for key in keys(s3_bucket))
        assert not any(key.endswith("manifest.json") for key in keys(s3_bucket))
        assert fetch_cache(remote, built.key, tmp_path / "reader", verbose=False) is False
    assert puts == num_files
    proxy.faults.clear()
    assert send_cache(remote, built, verbose=False) == 1  # all but the manifest was there
    assert fetch_cache(remote, built.key, tmp_path / "reader", verbose=False) is True
    assert verify(tmp_path / "reader", level="full").ok


def test_readers_during_an_upload(
    built: SampleCache, remote: RemoteCache, proxy: FaultProxy, tmp_path: Path
) -> None:
    """Whoever looks while two uploaders are at work finds nothing or all of it."""
    proxy.faults.append(Fault("slow", method="PUT", value=0.05))
    uploaders = [
        threading.Thread(target=send_cache, args=(remote, built), kwargs={"verbose": False})
        for _ in range(2)
    ]
    for thread in uploaders:
        thread.start()
    found = []
    while not found or not found[-1]:
        place = tmp_path / f"{len(found)}"
        found.append(fetch_cache(remote, built.key, place, verbose=False))
        if found[-1]:
            assert verify(place, level="full").ok
        else:
            assert not place.exists()
        assert len(found) < 1000
    for thread in uploaders:
        thread.join()
    assert sync_cache(remote, built, verbose=False) == (0, 0)


def other_version(built: SampleCache, folder: Path, root: Path) -> SampleCache:
    """The same source and options, stored with other bytes."""

    def transcode(data: bytes, options: StorageOptions) -> StoredImage:
        image = Image.open(io.BytesIO(data)).convert("RGB")
        packed = io.BytesIO()
        image.save(packed, "JPEG", quality=30)
        return StoredImage(packed.getvalue(), image.height, image.width, Codec.JPEG)

    options = StorageOptions(max_size=32)
    dataset = SlipstreamDataset(folder, cache_dir=root, storage_options=options)
    return build(dataset.source, dataset.cache_path, options=options, transcode=transcode)


def test_two_versions_of_a_library_do_not_mix(
    built: SampleCache, folder: Path, remote: RemoteCache, tmp_path: Path
) -> None:
    """The first manifest stays; what belongs to the other build is not taken for its own."""
    options = StorageOptions(max_size=32)
    dataset = SlipstreamDataset(folder, cache_dir=tmp_path / "a", storage_options=options)
    ours = prepare_cache(dataset, verbose=False)
    theirs = other_version(built, folder, tmp_path / "b")
    assert ours.key == theirs.key
    assert ours.manifest.parts != theirs.manifest.parts
    send_cache(remote, ours, verbose=False)
    assert send_cache(remote, theirs, verbose=False) == 0
    write_index(theirs, ["label"])
    label_only = sync_cache(remote, theirs, verbose=False)
    assert label_only == (0, 1)
    assert fetch_cache(remote, ours.key, tmp_path / "c", verbose=False)
    reader = SampleCache.open(tmp_path / "c")
    assert reader.manifest.parts == ours.manifest.parts
    assert sync_cache(remote, reader, verbose=False) == (1, 0)  # labels are equal in both
    assert verify(tmp_path / "c", level="full").ok


@pytest.mark.parametrize("damage", ["truncated", "tampered", "missing", "manifest", "foreign"])
def test_a_damaged_remote_is_told_and_built_anew(
    damage: str,
    built: SampleCache,
    folder: Path,
    remote: RemoteCache,
    s3_bucket: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing wrong is published; without ``strict`` it is one warning, with it an error."""
    send_cache(remote, built, verbose=False)
    client, name = s3_bucket.client, s3_bucket.name
    victim = next(key for key in keys(s3_bucket) if key.endswith("image.bin"))
    data = client.get_object(Bucket=name, Key=victim)["Body"].read()
    manifest = f"shared/caches/slipcache-{built.key}/manifest.json"
    if damage == "truncated":
        client.put_object(Bucket=name, Key=victim, Body=data[:-10])
    elif damage == "tampered":
        client.put_object(Bucket=name, Key=victim, Body=data[:99] + b"!" + data[100:])
    elif damage == "missing":
        client.delete_object(Bucket=name, Key=victim)
    elif damage == "manifest":
        client.put_object(Bucket=name, Key=manifest, Body=b"{}")
    else:
        text = built.manifest.to_json().replace("part-00000", "../../outside")
        client.put_object(Bucket=name, Key=manifest, Body=text.encode())
    strict = RemoteCache(remote.url, strict=True)
    dataset = SlipstreamDataset(folder, cache_dir=tmp_path / "caches")
    with pytest.raises((OSError, ValueError), match=r"s3://"):
        prepare_cache(dataset, remote=strict, verbose=False)
    assert not dataset.cache_path.exists()
    assert not list(tmp_path.glob("outside*"))
    with caplog.at_level(logging.WARNING):
        cache = prepare_cache(dataset, remote=remote, verbose=False)
    assert [len(cache), len(caplog.records)] == [12, 1]
    assert "built here" in caplog.text
    assert verify(cache.cache_dir, level="full").ok


def test_what_fails_is_told_and_the_cache_is_used(
    folder: Path, s3_bucket: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Bucket, credentials and endpoint: a warning each, and training goes on; strict raises."""
    with fault_proxy(s3_bucket.endpoint_url) as proxy:
        proxy.faults.append(Fault("status", method="PUT", value=403))
        refusing = RemoteCache(f"{s3_bucket.url}/x", endpoint_url=proxy.endpoint_url)
        cases = {
            "no-such-bucket": (RemoteCache("s3://no-such-bucket-here/x"), S3NotFoundError),
            "refused": (refusing, S3AccessError),
            "down": (
                RemoteCache(s3_bucket.url, endpoint_url="http://127.0.0.1:1"),
                S3ConnectionError,
            ),
        }
        expected = {
            "no-such-bucket": "the bucket does not exist",
            "refused": "credentials do not allow",
            "down": "cannot be reached",
        }
        for name, (remote, error) in cases.items():
            caplog.clear()
            with caplog.at_level(logging.WARNING):
                loader = make_loader(folder, tmp_path / name, remote_cache=remote)
            assert expected[name] in caplog.text
            assert "not shared" in caplog.text
            assert len(pixels(loader)) == 12
            assert "testing" not in caplog.text
            strict = RemoteCache(remote.url, endpoint_url=remote.endpoint_url, strict=True)
            with pytest.raises(error):
                make_loader(folder, tmp_path / name, remote_cache=strict)


def test_an_interrupted_download_goes_on(
    built: SampleCache, remote: RemoteCache, proxy: FaultProxy, tmp_path: Path
) -> None:
    """What has arrived is not fetched again, and until the end there is no cache."""
    send_cache(remote, built, verbose=False)
    place = tmp_path / "caches" / built.cache_dir.name
    proxy.faults.append(Fault("drop", "image.bin"))
    with pytest.raises(S3ConnectionError):
        fetch_cache(remote, built.key, place, verbose=False)
    assert not place.exists()
    proxy.faults.clear()
    proxy.requests.clear()
    assert fetch_cache(remote, built.key, place, verbose=False)
    fetched = [path for method, path, _ in proxy.requests if method == "GET" and "parts/" in path]
    assert len(fetched) < sum(len(part.files) for part in built.manifest.parts)
    assert any("image.bin" in path for path in fetched)
    assert verify(place, level="full").ok
    assert [p.name for p in place.parent.iterdir() if p.suffix != ".lock"] == [place.name]


def test_an_unfinished_build_makes_room_and_foreign_files_do_not(
    built: SampleCache, remote: RemoteCache, tmp_path: Path
) -> None:
    """A directory with a journal of ours is replaced; one with other files is left as it is."""
    send_cache(remote, built, verbose=False)
    unfinished = tmp_path / "a" / built.cache_dir.name
    (unfinished / "part-00000.0123456789ab").mkdir(parents=True)
    journal = {"format": "slipcache", "version": 2, "key": built.key}
    (unfinished / "build.json").write_text(json.dumps(journal))
    assert fetch_cache(remote, built.key, unfinished, verbose=False)
    assert verify(unfinished, level="full").ok
    foreign = tmp_path / "b" / built.cache_dir.name
    foreign.mkdir(parents=True)
    (foreign / "thesis.tex").write_text("precious")
    with pytest.raises(OSError, match="other files"):
        fetch_cache(remote, built.key, foreign, verbose=False)
    assert (foreign / "thesis.tex").read_text() == "precious"


def test_a_damaged_local_cache_is_not_uploaded(
    folder: Path, remote: RemoteCache, s3_bucket: Any, tmp_path: Path
) -> None:
    """Files are compared with the manifest before they leave."""
    cache = prepare_cache(SlipstreamDataset(folder, cache_dir=tmp_path), verbose=False)
    path = cache.cache_dir / "part-00000" / "image.bin"
    data = path.read_bytes()
    path.write_bytes(data[:50] + b"!" + data[51:])
    with pytest.raises(IntegrityError, match="is damaged and is not uploaded"):
        send_cache(remote, cache, verbose=False)
    assert keys(s3_bucket) == []


def test_no_room_is_told_before_anything_is_fetched(
    built: SampleCache, remote: RemoteCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is too small for the cache."""
    send_cache(remote, built, verbose=False)
    usage = remote_module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(remote_module.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(OSError, match="more bytes"):
        fetch_cache(remote, built.key, tmp_path / "x", verbose=False)
    assert not (tmp_path / "x").exists()


def test_presync_feeds_the_build(s3_bucket: Any, tmp_path: Path) -> None:
    """The data set is copied once as a whole; the build asks the server for nothing."""
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(cache_dir=str(tmp_path / "written"), chunk_size=4)
    image = io.BytesIO()
    Image.new("RGB", (40, 30), (9, 80, 200)).save(image, "JPEG")
    for number in range(10):
        writer.add_item(number, {"image": image.getvalue(), "label": number})
    writer.done()
    writer.merge()
    url = s3_bucket.put_folder(tmp_path / "written", "set")
    with fault_proxy(s3_bucket.endpoint_url) as proxy:
        options = {"endpoint_url": proxy.endpoint_url}
        dataset = SlipstreamDataset(url, cache_dir=tmp_path / "caches", storage_options=options)
        proxy.requests.clear()
        loader = SlipstreamLoader(dataset, batch_size=5, shuffle=False, presync_s3=True)
        asked = [path for method, path, _ in proxy.requests if method == "GET" and "/set/" in path]
        whole = [path.rpartition("/")[2] for path in asked]
    chunks = {path.name for path in (tmp_path / "written").iterdir()}
    assert sorted(whole) == sorted(chunks)  # each object once
    assert [batch["label"].tolist() for batch in loader] == [[*range(5)], [*range(5, 10)]]
    assert loader.cache.caches[0].manifest.source.fingerprint == dataset.source.fingerprint()


def test_a_closed_cache_error_is_still_told(built: SampleCache, tmp_path: Path) -> None:
    """What is no failure of the remote is not turned into a warning."""
    broken = tmp_path / "caches" / built.cache_dir.name
    broken.mkdir(parents=True)
    (broken / "manifest.json").write_text(built.manifest.to_json())
    with pytest.raises(CorruptCacheError):
        SampleCache.open(broken).load_batch([0])


def test_ranks_that_fetch_one_addition_share_the_work(
    folder: Path, remote: RemoteCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One downloads it, the others wait and find it; what is published stays whole."""
    cache = prepare_cache(SlipstreamDataset(folder, cache_dir=tmp_path / "a"), verbose=False)
    write_index(cache, "label")
    sync_cache(remote, cache, verbose=False)
    place = tmp_path / "b" / cache.cache_dir.name
    assert fetch_cache(remote, cache.key, place, verbose=False)
    both, fetch = threading.Barrier(2), remote_module._fetch_files

    def fetch_together(*arguments: Any, **options: Any) -> None:
        with suppress(threading.BrokenBarrierError):
            both.wait(0.5)
        fetch(*arguments, **options)

    monkeypatch.setattr(remote_module, "_fetch_files", fetch_together)
    ranks = [SampleCache.open(place) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        fetched = list(pool.map(lambda rank: fetch_additions(remote, rank, verbose=False), ranks))
    assert sorted(fetched) == [0, 1]
    assert ranks[0].value_index("label").sample_ids(1).tolist() == [*range(6, 12)]


def test_publishing_an_addition_again_changes_nothing(folder: Path, tmp_path: Path) -> None:
    """Whoever comes second, with a copy or with none left, leaves the first one's files alone."""
    cache = prepare_cache(SlipstreamDataset(folder, cache_dir=tmp_path), verbose=False)
    write_index(cache, "label")
    (bundle,) = addition_bundles(cache)
    publish_bundle(cache.cache_dir, bundle)
    staging = staging_directory(cache.cache_dir, bundle)
    shutil.copytree(cache.cache_dir / bundle.directory, staging)
    publish_bundle(cache.cache_dir, bundle)
    assert not staging.exists()
    assert cache.value_index("label").sample_ids(1).tolist() == [*range(6, 12)]


def test_what_killed_publishers_left_is_not_published(built: SampleCache, tmp_path: Path) -> None:
    """A temporary manifest, of the cache or a part, does not get into the directory of a copy."""
    bundle, place = cache_bundle(built.manifest), tmp_path / built.cache_dir.name
    staging = staging_directory(place, bundle)
    parts = built.cache_dir.glob("part-*")
    for part in parts:
        shutil.copytree(part, staging / part.name)
    for name in ("manifest.json", "part-00000/part.json"):
        (staging / f"{name}.0123456789ab").write_text("{")
    publish_bundle(place, bundle)
    copied, original = (
        {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
        for root in (place, built.cache_dir)
    )
    assert copied <= original
    assert Path("part-00000/part.json") in copied
    assert verify(place, level="full").ok
