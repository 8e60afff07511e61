"""The first epoch while the cache is being built: the same batches as from the complete cache."""

from __future__ import annotations

import gc
import io
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipstream_cache import SampleCache, SourceReadError, verify
from slipstream_decoders import DecodeRandomResizedCrop
from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader import prepare as prepare_module
from slipstream_loader.growing_cache import BuildStoppedError, GrowingCache
from slipstream_loader.sample_images import write_sample_folder

pytestmark = pytest.mark.timeout(120)

NUM_SAMPLES = 24


class Gate:
    """Builds wait until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = threading.Event()
        self._build = prepare_module.build
        monkeypatch.setattr(prepare_module, "build", self.build)

    def build(self, *arguments: Any, **options: Any) -> SampleCache:
        assert self.opened.wait(60)
        return self._build(*arguments, **options)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.opened.set()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("growing") / "photos"
    write_sample_folder(folder, num_classes=3, images_per_class=NUM_SAMPLES // 3, seed=3)
    return folder


def put_litdata(bucket: Any, photos: Path, directory: Path) -> str:
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(cache_dir=str(directory), chunk_size=5)
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))):
        row = {"image": path.read_bytes(), "label": number % 7, "path": f"{number}é"}
        writer.add_item(number, row)
    writer.done()
    writer.merge()
    return str(bucket.put_folder(directory, "set"))


def put_tar(bucket: Any, photos: Path, directory: Path) -> str:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(photos, "train")
    bucket.client.put_object(Bucket=bucket.name, Key="train.tar", Body=packed.getvalue())
    return f"{bucket.url}/train.tar"


@pytest.fixture(params=[put_litdata, put_tar], ids=["litdata", "tar"])
def url(request: pytest.FixtureRequest, s3_bucket: Any, photos: Path, tmp_path: Path) -> str:
    found: str = request.param(s3_bucket, photos, tmp_path / "written")
    return found


def make_loader(url: str, root: Path, **options: Any) -> SlipstreamLoader:
    dataset = SlipstreamDataset(url, cache_dir=root)
    pipelines = {"image": [DecodeRandomResizedCrop(48)]}
    return SlipstreamLoader(
        dataset, batch_size=5, pipelines=pipelines, seed=11, verbose=False, **options
    )


def taken(batches: Any) -> list[dict[str, Any]]:
    return [
        {name: value.numpy() if hasattr(value, "numpy") else value for name, value in b.items()}
        for b in batches
    ]


def assert_equal(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    assert len(first) == len(second) > 0
    for ours, theirs in zip(first, second, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def test_batches_are_those_of_the_complete_cache(url: str, gate: Gate, tmp_path: Path) -> None:
    """From the source alone, with the cache completed in the middle, and in the epoch after."""
    growing = make_loader(url, tmp_path / "a", overlap_build=True)
    assert isinstance(growing.cache, GrowingCache)
    assert growing.cache.load_batch([0], []) == {}
    first = taken(growing)
    assert not list((tmp_path / "a").glob("slipcache-*/manifest.json"))
    iterator = iter(growing)
    second = taken([next(iterator)])
    cache = growing.cache
    gate.opened.set()
    cache.wait()
    second += taken(iterator)
    third = taken(growing)
    assert isinstance(growing.cache, SampleCache)
    complete = make_loader(url, tmp_path / "b")
    for epoch in (first, second, third):
        assert_equal(epoch, taken(complete))


def test_resume_and_ranks_keep_their_laws(
    url: str, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state moves between a growing and a complete cache; ranks share an epoch."""
    growing = make_loader(url, tmp_path / "a", overlap_build=True)
    iterator = iter(growing)
    begun = taken([next(iterator), next(iterator)])
    state = growing.state_dict()
    again = make_loader(url, tmp_path / "c", overlap_build=True)
    again.load_state_dict(state)
    resumed = taken(again)
    monkeypatch.setenv("WORLD_SIZE", "2")
    ranks = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        ranks.append(make_loader(url, tmp_path / "a", overlap_build=True, shuffle=False))
    served = [np.concatenate([b["_indices"] for b in taken(loader)]) for loader in ranks]
    assert sorted(np.concatenate(served).tolist()) == list(range(NUM_SAMPLES))
    monkeypatch.delenv("WORLD_SIZE")
    gate.opened.set()
    complete = taken(make_loader(url, tmp_path / "b"))
    assert_equal(begun + resumed, complete)


def test_fields_without_a_pipeline(url: str, gate: Gate, tmp_path: Path) -> None:
    """Stored images, numbers and texts come as they do from the complete cache."""
    options: dict[str, Any] = {"batch_size": 7, "shuffle": False}
    growing = SlipstreamLoader(
        SlipstreamDataset(url, cache_dir=tmp_path), overlap_build=True, **options
    )
    loose = [b["image"] | {n: v for n, v in b.items() if n != "image"} for b in growing]
    gate.opened.set()
    growing.cache.wait()
    stored = [b["image"] | {n: v for n, v in b.items() if n != "image"} for b in growing]
    assert_equal(taken(loose), taken(stored))


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def num_threads_of(cache: GrowingCache) -> int:
    return sum(thread.is_alive() for thread in (cache._thread, *cache._pool._threads))


def test_shutdown_ends_the_build(url: str, gate: Gate, tmp_path: Path) -> None:
    """No thread is left and nothing is published; iterated again, the loader builds on."""
    growing = make_loader(url, tmp_path / "a", overlap_build=True)
    next(iter(growing))
    cache = growing.cache
    assert isinstance(cache, GrowingCache)
    closing = threading.Thread(target=growing.shutdown)
    closing.start()
    wait_until(lambda: cache.is_stopped)
    gate.opened.set()
    closing.join(60)
    assert num_threads_of(cache) == 0
    assert not cache.is_complete
    assert not list((tmp_path / "a").glob("slipcache-*/manifest.json"))
    growing.set_epoch(0)
    assert_equal(taken(growing), taken(make_loader(url, tmp_path / "b")))
    assert verify(growing.cache.caches[0]).ok
    growing.shutdown()


def test_a_forgotten_loader_ends_its_build(url: str, gate: Gate, tmp_path: Path) -> None:
    """The build and its readers end with the loader that began them."""
    growing = make_loader(url, tmp_path, overlap_build=True)
    next(iter(growing))
    cache = growing.cache
    assert isinstance(cache, GrowingCache)
    del growing
    gc.collect()
    assert cache.is_stopped
    gate.opened.set()
    with pytest.raises(BuildStoppedError):
        cache.wait()
    wait_until(lambda: num_threads_of(cache) == 0)


def test_a_copy_before_the_epoch_excludes_a_build_during_it() -> None:
    """The two contradict each other, which is said."""
    with pytest.raises(ValueError, match="choose one"):
        SlipstreamLoader([{"x": 1}], presync_s3=True, overlap_build=True)


def test_a_build_that_fails_reaches_the_consumer(
    s3_bucket: Any, photos: Path, gate: Gate, tmp_path: Path
) -> None:
    """A chunk that is cut off: the error is raised in the epoch, and nothing hangs."""
    url = put_litdata(s3_bucket, photos, tmp_path / "written")
    key = "set/chunk-0-1.bin"
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=key, Body=b"cut off")
    growing = make_loader(url, tmp_path / "a", overlap_build=True)
    iterator = iter(growing)
    gate.opened.set()
    cache = growing.cache
    assert isinstance(cache, GrowingCache)
    with pytest.raises(SourceReadError, match="cannot be read"):
        cache.wait()
    with pytest.raises(OSError, match="cannot be read"):
        list(iterator)
