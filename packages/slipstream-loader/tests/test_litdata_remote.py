"""LitData data sets on S3: a server over HTTP, single samples, chunks ahead, failures."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipstream_cache import layout
from slipstream_cache.errors import SourceReadError
from slipstream_loader.dataset import SlipstreamDataset
from slipstream_loader.errors import RemoteAccessError, SampleReadError, SourceError
from slipstream_loader.lit_dataset import SlipstreamLitDataset
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.seed_names import StreamingDataset, StreamingReader
from slipstream_loader.sources.litdata import LitDataSource
from slipstream_loader.sources.object_store import ObjectStore
from slipstream_s3sync import connection
from slipstream_s3sync.connection import new_client
from slipstream_s3sync.testing import fault_proxy

pytestmark = pytest.mark.timeout(120)

ROWS = [{"data": b"\0%d" % i * (i % 9), "label": i, "text": f"té {i}"} for i in range(40)]
ITEMS = [{"data": b"\0%d" % i * (i % 9), "vector": np.arange(3) * i} for i in range(40)]


def write(folder: Path, samples: list[Any], **options: Any) -> Path:
    """Write chunks of 8 samples."""
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(cache_dir=str(folder), chunk_size=8, **options)
    for number, sample in enumerate(samples):
        writer.add_item(number, sample)
    writer.done()
    writer.merge()
    return folder


class Requests:
    """The ranges and whole objects that stores have asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.whole: list[str] = []
        self.ranges: list[str] = []
        stream, read = ObjectStore.stream, ObjectStore.read

        def counted_stream(store: ObjectStore, name: str = "", **options: Any) -> Iterator[bytes]:
            self.whole.append(name)
            return stream(store, name, **options)

        def counted_read(store: ObjectStore, name: str = "", *span: int, **options: Any) -> bytes:
            self.ranges.append(name)
            return read(store, name, *span, **options)

        monkeypatch.setattr(ObjectStore, "stream", counted_stream)
        monkeypatch.setattr(ObjectStore, "read", counted_read)


@pytest.mark.parametrize(
    ("samples", "options"),
    [
        (ROWS, {}),
        (ITEMS, {}),
        (ITEMS, {"compression": "zstd", "compression_batch_size": 3}),
        (ITEMS, {"compression": "zstd", "compression_level": "sample"}),
        (ITEMS, {"compression": "zstd", "compression_level": "chunk"}),
    ],
    ids=["rows", "items", "frames", "packed items", "packed files"],
)
def test_every_layout_comes_back(
    samples: list[Any], options: dict[str, Any], s3_bucket: Any, tmp_path: Path
) -> None:
    """Sample by sample and through a build; nothing stays in the download directory."""
    url = s3_bucket.put_folder(write(tmp_path / "data", samples, **options), "set")
    single = LitDataSource(url, download_dir=tmp_path / "single")
    for number in (39, 3, 20, 9):
        assert_same(single[number], samples[number])
    single.close()
    source = LitDataSource(url, download_dir=tmp_path / "downloads")
    cache = prepare_cache(SlipstreamDataset(source, cache_dir=tmp_path), num_workers=3)
    for number, sample in enumerate(samples):
        assert_same(cache[number], sample)
    assert not list((tmp_path / "downloads").iterdir())
    assert_same(source[7], samples[7])  # a build closes the source, and reading opens it again
    assert source.fingerprint() == LitDataSource(tmp_path / "data").fingerprint()
    assert source.uri == url


def assert_same(found: Any, expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_single_samples_are_requested_alone(
    s3_bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sample here and there downloads no chunk; samples in a row download each chunk once."""
    url = s3_bucket.put_folder(write(tmp_path / "data", ITEMS), "set")
    requests = Requests(monkeypatch)
    source = LitDataSource(url, download_dir=tmp_path / "downloads")
    for number in (30, 12, 38, 2):
        assert_same(source[number], ITEMS[number])
    assert requests.whole == []
    assert len(requests.ranges) < 25
    requests.ranges.clear()
    for number, sample in enumerate(ITEMS):
        assert_same(source[number], sample)
    assert sorted(requests.whole) == [f"chunk-0-{i}.bin" for i in range(5)]
    assert len(requests.ranges) < 10
    source.close()


def test_a_data_set_is_opened_by_few_requests(
    s3_bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One client; the index twice, and of the first chunk its end, its tables and a row."""
    large = [{**row, "data": bytes([row["label"]]) * 90_000} for row in ROWS]
    url = s3_bucket.put_folder(write(tmp_path / "data", large), "set")
    clients: list[Any] = []

    def counted(options: Any) -> Any:
        clients.append(new_client(options))
        return clients[-1]

    monkeypatch.setattr(connection, "new_client", counted)
    with fault_proxy(s3_bucket.endpoint_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint_url)
        dataset = SlipstreamDataset(url, cache_dir=tmp_path / "cache")
        requests = [(path.rpartition("/")[2], span != "") for _, path, span in proxy.requests]
        assert requests.count(("index.json", False)) == 2
        assert 3 <= requests.count(("chunk-0-0.bin", True)) <= 5
        assert (len(requests) <= 7, len(clients)) == (True, 1)
        proxy.requests.clear()
        cache = prepare_cache(dataset)
        whole = [path.rpartition("/")[2] for _, path, span in proxy.requests if not span]
        assert sorted(whole) == [f"chunk-0-{number}.bin" for number in range(5)]
    assert cache[39]["data"] == large[39]["data"]


def test_a_cache_that_is_there_needs_no_chunk(
    s3_bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening it again begins no download."""
    url = str(s3_bucket.put_folder(write(tmp_path / "written", ROWS), "set"))
    prepare_cache(SlipstreamDataset(url, cache_dir=tmp_path / "caches"), verbose=False)
    begun: list[object] = []
    monkeypatch.setattr(LitDataSource, "begin_downloads", begun.append)
    prepare_cache(SlipstreamDataset(url, cache_dir=tmp_path / "caches"), verbose=False)
    assert begun == []


def test_an_interrupted_build_downloads_what_is_missing(
    s3_bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of parts that are complete are not downloaded again, the first ones included."""
    monkeypatch.setattr(layout, "MAX_PART_SAMPLES", 8)
    folder = write(tmp_path / "data", ITEMS)
    url = s3_bucket.put_folder(folder, "set")
    dataset = SlipstreamDataset(url, cache_dir=tmp_path / "caches")
    s3_bucket.client.delete_object(Bucket=s3_bucket.name, Key="set/chunk-0-4.bin")
    with pytest.raises(SourceReadError):
        prepare_cache(dataset, verbose=False)
    assert len(list(Path(dataset.cache_path).glob("part-?????"))) == 4
    s3_bucket.put_folder(folder, "set")
    requests = Requests(monkeypatch)
    again = SlipstreamDataset(url, cache_dir=tmp_path / "caches")
    cache = prepare_cache(again, verbose=False)
    assert_same(cache[39], ITEMS[39])
    assert set(requests.whole) <= {"chunk-0-4.bin"}


def test_many_threads_download_each_chunk_once(
    s3_bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that read runs of samples wait for one another's downloads."""
    url = s3_bucket.put_folder(write(tmp_path / "data", ROWS), "set")
    requests = Requests(monkeypatch)
    source = LitDataSource(url, download_dir=tmp_path / "downloads")

    def read(first: int) -> None:
        for number in range(first, first + 10):
            assert_same(source[number], ROWS[number])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(0, 40, 10)))
    source.close()
    assert len(requests.whole) == len(set(requests.whole)) <= 5


def test_old_chunks_are_forgotten(
    s3_bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So much space is used and not more; what was forgotten is downloaded again."""
    from slipstream_loader.sources.litdata import chunks

    monkeypatch.setattr(chunks, "_BYTES_KEPT", 0)
    monkeypatch.setattr(chunks, "_THREADS", 2)
    monkeypatch.setattr(chunks, "_LEAST_KEPT", 1)
    url = s3_bucket.put_folder(write(tmp_path / "data", ITEMS), "set")
    source = LitDataSource(url, download_dir=tmp_path / "downloads")
    for _ in range(2):
        for number, sample in enumerate(ITEMS):
            assert_same(source[number], sample)
            assert len(source._chunks._fetched) <= 3
    source.close()


def test_a_missing_chunk_is_named_and_the_build_goes_on(s3_bucket: Any, tmp_path: Path) -> None:
    """The error names its samples; when the chunk is back, the build ends."""
    folder = write(tmp_path / "data", ITEMS)
    url = s3_bucket.put_folder(folder, "set")
    s3_bucket.client.delete_object(Bucket=s3_bucket.name, Key="set/chunk-0-3.bin")
    dataset = SlipstreamDataset(url, cache_dir=tmp_path / "caches")
    with pytest.raises(SourceReadError, match=r"chunk-0-3\.bin") as caught:
        prepare_cache(dataset)
    assert caught.value.sample_ids == list(range(24, 32))
    s3_bucket.put_folder(folder, "set")
    cache = prepare_cache(SlipstreamDataset(url, cache_dir=tmp_path / "caches"))
    assert_same(cache[30], ITEMS[30])
    assert (tmp_path / "caches" / "downloads").is_dir()


def test_chunks_of_another_size_are_refused(s3_bucket: Any, tmp_path: Path) -> None:
    """A chunk that is cut off, directly and as a whole."""
    folder = write(tmp_path / "data", ITEMS)
    chunk = folder / "chunk-0-1.bin"
    chunk.write_bytes(chunk.read_bytes()[:-5])
    source = LitDataSource(s3_bucket.put_folder(folder, "set"), download_dir=tmp_path / "d")
    with pytest.raises(SampleReadError, match=r"chunk-0-1.bin\[7\].*cut off"):
        source[15]
    with pytest.raises(SampleReadError, match="the index says"):
        [source[number] for number in range(40)]
    source.close()


def test_versions_and_credentials(s3_bucket: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """What was expected is compared; options reach the store; the secrets stay out of messages."""
    folder = write(tmp_path / "data", ROWS)
    url = s3_bucket.put_folder(folder, "set")
    version = json.loads((folder / "index.json").read_text())["updated_at"]
    reader = StreamingReader(url, cache_dir=tmp_path, expected_version=version)
    assert reader.version == version
    with pytest.raises(SourceError, match=f"version {version}, expected 7"):
        SlipstreamLitDataset(remote_dir=url, expected_version="7")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    endpoint = {"endpoint_url": s3_bucket.endpoint_url}
    with pytest.raises(RemoteAccessError):
        SlipstreamDataset(url, storage_options=endpoint)
    secrets = {"aws_access_key_id": "me", "aws_secret_access_key": "hush"}
    streaming = StreamingDataset(
        s3_dir=url, cache_dir=tmp_path, storage_options={**endpoint, **secrets}
    )
    assert_same(streaming[5], ROWS[5])
    prepare_cache(streaming)
    manifest = (streaming.cache_path / "manifest.json").read_text()
    assert url in manifest
    assert "hush" not in manifest + repr(streaming.source)
    with pytest.raises(SourceError, match="is no LitData"):
        SlipstreamLitDataset(ROWS)
    with pytest.raises(SourceError, match=r"no index\.json in .*nowhere"):
        SlipstreamDataset(f"{s3_bucket.url}/nowhere", storage_options={**endpoint, **secrets})


def test_builds_in_other_processes(s3_bucket: Any, tmp_path: Path) -> None:
    """A source can be pickled, in the middle of its downloads as well."""
    url = s3_bucket.put_folder(write(tmp_path / "data", ROWS), "set")
    source = LitDataSource(url, download_dir=tmp_path / "downloads")
    for number in range(10):
        assert_same(source[number], ROWS[number])
    copy = pickle.loads(pickle.dumps(source))
    assert_same(copy[30], ROWS[30])
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        dataset = SlipstreamDataset(source, cache_dir=tmp_path)
        cache = prepare_cache(dataset, executor=executor)
    assert_same(cache[39], ROWS[39])
    copy.close()
    source.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork with threads, which is the point
def test_a_forked_process_reads_on(s3_bucket: Any, tmp_path: Path) -> None:
    """With downloads of its own: threads and connections are not shared."""
    url = s3_bucket.put_folder(write(tmp_path / "data", ROWS), "set")
    source = LitDataSource(url, download_dir=tmp_path / "downloads")
    for number in range(12):
        assert_same(source[number], ROWS[number])
    child = os.fork()
    if child == 0:
        try:
            for number in range(12, 40):
                assert_same(source[number], ROWS[number])
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert_same(source[39], ROWS[39])
    source.close()


def test_many_small_chunks(s3_bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More chunks than may be open: each is downloaded about once, in a build of many threads."""
    from litdata.streaming.writer import BinaryWriter

    from slipstream_loader.sources.litdata import chunks

    monkeypatch.setattr(chunks, "_CHUNKS_KEPT", 16)
    writer = BinaryWriter(cache_dir=str(tmp_path / "data"), chunk_size=1)
    for number, sample in enumerate(ITEMS):
        writer.add_item(number, sample)
    writer.done()
    writer.merge()
    url = s3_bucket.put_folder(tmp_path / "data", "set")
    requests = Requests(monkeypatch)
    source = LitDataSource(url, download_dir=tmp_path / "downloads")
    cache = prepare_cache(SlipstreamDataset(source, cache_dir=tmp_path), num_workers=2)
    for number, sample in enumerate(ITEMS):
        assert_same(cache[number], sample)
    assert len(requests.whole) < 2 * len(ITEMS)
