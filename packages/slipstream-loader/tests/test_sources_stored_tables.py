"""Parquet files on S3 and behind other stores: read by ranges, ahead, as the local ones."""

from __future__ import annotations

import io
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader.errors import RemoteError, RemoteNotFoundError, SampleReadError, SourceError
from slipstream_loader.sources import TableSource, open_source, ranged_file
from slipstream_loader.sources.ranged_file import RangedFile
from slipstream_loader.sources.stored_tables import StoredTables

pytestmark = pytest.mark.timeout(120)
DATA = np.random.default_rng(0).bytes(40_000)


def rows(first: int, count: int) -> dict[str, Any]:
    """Columns of some rows: bytes that do not shrink, and numbers."""
    random = np.random.default_rng(first)
    return {
        "data": [random.bytes(2000 + i) for i in range(count)],
        "label": list(range(first, first + count)),
    }


def write(folder: Path) -> list[dict[str, Any]]:
    """Two files of a split, and one of another one; returns the split's samples."""
    (folder / "train").mkdir(parents=True)
    samples = []
    for number in range(2):
        columns = rows(20 * number, 20)
        samples += [
            dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
        ]
        pq.write_table(pa.table(columns), folder / f"train/{number}.parquet", row_group_size=7)
    return samples


def test_a_folder_and_a_file_on_s3(s3_bucket: Any, tmp_path: Path) -> None:
    """Samples, cache and fingerprint; the same files elsewhere make the same samples."""
    samples = write(tmp_path / "data")
    url = s3_bucket.put_folder(tmp_path / "data", "set")
    source = open_source(url)
    assert isinstance(source, TableSource)
    assert source.uri == url
    assert [source[i] for i in range(40)] == samples
    copy = pickle.loads(pickle.dumps(source))
    assert [copy[i] for i in (39, 3)] == [samples[39], samples[3]]
    assert source.describe(25) == "train/1.parquet row 5"
    single = open_source(f"{url}/train/1.parquet")
    assert [single[i] for i in range(20)] == samples[20:]
    dataset = SlipstreamDataset(url, cache_dir=tmp_path / "caches")
    cache = SlipstreamLoader(dataset, 8, verbose=False).cache
    assert [cache[i] for i in range(40)] == samples
    s3_bucket.client.put_object(
        Bucket=s3_bucket.name,
        Key="set/train/1.parquet",
        Body=(tmp_path / "data/train/0.parquet").read_bytes(),
    )
    assert open_source(url).fingerprint() != source.fingerprint()
    with pytest.raises(SampleReadError, match="replaced while it was read"):
        copy[25]


def test_what_is_no_table_is_told(s3_bucket: Any, tmp_path: Path) -> None:
    """An empty prefix, a missing or damaged file, several splits, options of other sources."""
    with pytest.raises(SourceError, match=r"no index\.json in .* no parquet files either"):
        open_source(f"{s3_bucket.url}/nothing")
    with pytest.raises(RemoteNotFoundError, match="no such object"):
        open_source(f"{s3_bucket.url}/a.parquet")
    put = s3_bucket.client.put_object
    put(Bucket=s3_bucket.name, Key="bad/a.parquet", Body=b"PAR1 and not much else")
    with pytest.raises(SourceError, match=r"bad/a\.parquet cannot be opened"):
        open_source(f"{s3_bucket.url}/bad")
    for split in ("train", "test"):
        put(Bucket=s3_bucket.name, Key=f"splits/{split}.parquet", Body=b"")
    with pytest.raises(SourceError, match="several splits, test, train"):
        open_source(f"{s3_bucket.url}/splits")
    with pytest.raises(SourceError, match="takes no expected_version"):
        SlipstreamDataset(f"{s3_bucket.url}/bad/a.parquet", expected_version="1")


class Stored:
    """A file in memory that counts its requests, and may fail."""

    is_remote = True
    uri = "memory"
    size = len(DATA)

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []
        self.fails = False
        self._lock = threading.Lock()

    def read(self, start: int, stop: int) -> bytes:
        with self._lock:
            self.spans.append((start, stop))
        if self.fails:
            raise RemoteError("it fails")
        return DATA[start:stop]

    def identity(self) -> str:
        return ""


def test_ranges_are_those_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeks and reads as of ``io.BytesIO``; forward reads in turns share blocks asked for once."""
    monkeypatch.setattr(ranged_file, "_BLOCK_BYTES", 1000)
    random, stored = np.random.default_rng(1), Stored()
    with RangedFile(stored) as file:
        twin = io.BytesIO(DATA)
        for _ in range(300):
            if random.random() < 0.3:
                place = int(random.integers(0, len(DATA) + 100))
                assert file.seek(place) == twin.seek(place)
            size = int(random.integers(-1, 3000))
            assert file.read(size) == twin.read(size)
            assert file.tell() == twin.tell()
        assert file.seek(-5, io.SEEK_END) == twin.seek(-5, io.SEEK_END)
        assert file.seek(2, io.SEEK_CUR) == twin.seek(2, io.SEEK_CUR)
        assert (file.read(), file.read(5)) == (twin.read(), b"")
    stored.spans.clear()
    with RangedFile(stored) as file:
        for step in range(10):  # two columns
            for column in (0, 20_000):
                file.seek(column + 500 * step)
                assert file.read(500) == DATA[column + 500 * step :][:500]
    assert len(stored.spans) == len(set(stored.spans)) < 20
    assert sum(stop - start for start, stop in stored.spans) < 20_000


def test_a_failed_range_is_asked_for_again() -> None:
    """An error comes out of the read that it concerns, and is not remembered."""
    stored = Stored()
    with RangedFile(stored) as file:
        assert file.read(10) == DATA[:10]
        stored.fails = True
        with pytest.raises(RemoteError, match="it fails"):
            file.read(10)
        stored.fails = False
        assert file.read(10) == DATA[10:20]


def test_tables_can_be_pickled(s3_bucket: Any, tmp_path: Path) -> None:
    """For the workers of an executor; the options go along."""
    write(tmp_path / "data")
    url = s3_bucket.put_folder(tmp_path / "data", "set")
    tables = StoredTables(url, {"endpoint_url": s3_bucket.endpoint_url})
    copy = pickle.loads(pickle.dumps(tables))
    assert (copy.names, copy.identity()) == (tables.names, tables.identity())
    assert copy.open(copy.names[0]).read(4) == b"PAR1"
