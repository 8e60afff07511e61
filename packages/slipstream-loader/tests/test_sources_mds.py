"""MDS data sets as sources: what becomes of damaged and hostile ones."""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from slipstream_cache import SourceReadError
from slipstream_cache.source import is_sequential
from slipstream_loader import MDSSource, SlipstreamDataset, prepare_cache
from slipstream_loader.errors import EmptyDatasetError, SampleReadError, SourceError
from slipstream_loader.sources import open_source

pytestmark = pytest.mark.timeout(120)


def samples() -> list[dict[str, Any]]:
    return [{"label": n, "text": f"ü{n}", "data": bytes(range(n))} for n in range(7)]


def shard_bytes(rows: list[dict[str, Any]]) -> bytes:
    """A shard as MDSWriter lays it out: counts, offsets, columns, samples."""
    columns = b'{"columns": []}'
    packed = []
    for row in rows:
        text = row["text"].encode()
        data = row["data"]
        packed.append(
            struct.pack("<II", len(text), len(data)) + struct.pack("<q", row["label"]) + text + data
        )
    offsets = [4 + 4 * (len(rows) + 1) + len(columns)]
    for data in packed:
        offsets.append(offsets[-1] + len(data))
    header = struct.pack(f"<I{len(offsets)}I", len(rows), *offsets)
    return header + columns + b"".join(packed)


def write(folder: Path, *, compression: str | None = None) -> dict[str, Any]:
    """Write a data set of two shards; returns its index."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number, rows in enumerate((samples()[:4], samples()[4:])):
        data = shard_bytes(rows)
        raw = {"basename": f"shard.{number:05}.mds", "bytes": len(data), "hashes": {}}
        packed = None
        if compression:
            stored = zstandard.compress(data)
            packed = {"basename": f"{raw['basename']}.zstd", "bytes": len(stored), "hashes": {}}
            (folder / packed["basename"]).write_bytes(stored)
        else:
            (folder / raw["basename"]).write_bytes(data)
        entries.append(
            {
                "column_encodings": ["int", "str", "bytes"],
                "column_names": ["label", "text", "data"],
                "column_sizes": [8, None, None],
                "compression": compression,
                "format": "mds",
                "hashes": [],
                "raw_data": raw,
                "samples": len(rows),
                "size_limit": None,
                "version": 2,
                "zip_data": packed,
            }
        )
    index = {"version": 2, "shards": entries}
    (folder / "index.json").write_text(json.dumps(index))
    return index


def test_samples_and_pickles(tmp_path: Path) -> None:
    """A data set is found by its index, and a pickled source reads on."""
    write(tmp_path / "a")
    source = open_source(tmp_path / "a")
    assert isinstance(source, MDSSource)
    again = pickle.loads(pickle.dumps(source))
    assert [source[n] for n in (6, 0, 3, 4)] == [samples()[n] for n in (6, 0, 3, 4)]
    assert again[5] == samples()[5]
    assert again.fingerprint() == source.fingerprint()
    assert source.describe(5) == "shard.00001.mds row 1"


Change = Callable[[dict[str, Any]], None]


def setting(value: Any, *path: Any) -> Change:
    def apply(index: dict[str, Any]) -> None:
        target = index
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (setting(1, "version"), "version 1"),
        (setting("xsv", "shards", 0, "format"), "xsv"),
        (setting("../../etc/passwd", "shards", 0, "raw_data", "basename"), "leads out"),
        (setting("/etc/passwd", "shards", 0, "raw_data", "basename"), "leads out"),
        (setting(-1, "shards", 0, "samples"), "no size"),
        (setting(True, "shards", 0, "samples"), "no size"),
        (setting(1 << 40, "shards", 0, "raw_data", "bytes"), "no size"),
        (setting(["int", "str"], "shards", 0, "column_encodings"), "no index"),
        (setting(["a", "a", "a"], "shards", 0, "column_names"), "no index"),
        (setting(["x", "text", "data"], "shards", 0, "column_names"), "different columns"),
        (setting("zstd", "shards", 0, "compression"), "no index"),
        (setting([], "shards"), "no samples"),
        (setting([7], "shards"), "no index"),
    ],
)
def test_a_damaged_index_is_refused(tmp_path: Path, damage: Change, message: str) -> None:
    """It is an error of the data set that says what is wrong."""
    index = write(tmp_path)
    damage(index)
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(SourceError, match=message):
        MDSSource(tmp_path)


def test_encodings_and_compressions_that_are_not_known(tmp_path: Path) -> None:
    """They are named, with what to do."""
    for column, encoding in ((0, "list[jpeg]"), (0, "ndarray:object"), (1, "ndarray:int8:x")):
        index = write(tmp_path)
        for shard in index["shards"]:
            shard["column_encodings"][column] = encoding
        (tmp_path / "index.json").write_text(json.dumps(index))
        with pytest.raises(SourceError, match=encoding.replace("[", r"\[")):
            MDSSource(tmp_path)
    index = write(tmp_path)
    for shard in index["shards"]:
        shard["compression"], shard["zip_data"] = "snappy", shard["raw_data"]
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(SourceError, match="snappy"):
        MDSSource(tmp_path)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, 9, "no table of 3"),
        (8, 2, "byte 2"),
        (8, 0xFFFFFFFF, "byte"),
        (12, 3, "byte"),
    ],
)
def test_a_damaged_shard_fails_for_its_samples(
    tmp_path: Path, offset: int, value: int, message: str
) -> None:
    """Samples of other shards are served; a build names those that cannot be read."""
    write(tmp_path)
    path = tmp_path / "shard.00001.mds"
    data = bytearray(path.read_bytes())
    data[offset : offset + 4] = struct.pack("<I", value)
    path.write_bytes(data)
    source = MDSSource(tmp_path)
    assert source[3] == samples()[3]
    with pytest.raises(SampleReadError, match=rf"shard\.00001\.mds row 1: .*{message}"):
        source[5]
    with pytest.raises(SourceReadError) as caught:
        prepare_cache(SlipstreamDataset(source, cache_dir=tmp_path / "caches"))
    assert 5 in caught.value.sample_ids
    assert min(caught.value.sample_ids) >= 4


def test_sizes_of_values_that_lie(tmp_path: Path) -> None:
    """A value that would reach into the next one is an error of its sample."""
    write(tmp_path)
    path = tmp_path / "shard.00001.mds"
    data = bytearray(path.read_bytes())
    begin = struct.unpack_from("<I", data, 8)[0]
    data[begin : begin + 4] = struct.pack("<I", 0xFFFF)
    path.write_bytes(data)
    with pytest.raises(SampleReadError, match="its values have"):
        MDSSource(tmp_path)[5]


def test_samples_and_shards_without_room_for_their_numbers(tmp_path: Path) -> None:
    """A sample of three bytes, and a compressed shard that is shorter than its table, are named."""
    folder = tmp_path / "a"
    write(folder)
    path = folder / "shard.00000.mds"
    data = bytearray(path.read_bytes())
    begin = int.from_bytes(data[8:12], "little")
    data[12:16] = (begin + 3).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(SampleReadError, match=r"shard.00000.mds row 1: it has 3 bytes, too few"):
        MDSSource(folder)[1]
    packed = gzip.compress(data[:8])
    (folder / "shard.00000.mds.gz").write_bytes(packed)
    index = json.loads((folder / "index.json").read_text())
    entry = index["shards"][0]
    entry["compression"] = "gz"
    entry["raw_data"]["bytes"] = 8
    entry["zip_data"] = {"basename": "shard.00000.mds.gz", "bytes": len(packed), "hashes": {}}
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(SourceError, match="has no table of"):
        MDSSource(folder)


def test_shards_that_are_cut_off_or_missing(tmp_path: Path) -> None:
    """The size of a shard is that of the index."""
    write(tmp_path)
    path = tmp_path / "shard.00001.mds"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SampleReadError, match="cut off"):
        MDSSource(tmp_path)[5]
    path.unlink()
    with pytest.raises(SampleReadError, match="row 1"):
        MDSSource(tmp_path)[5]
    with pytest.raises(SourceError, match=r"no index\.json"):
        MDSSource(tmp_path / "nowhere")


def test_compressed_shards_and_bombs(tmp_path: Path) -> None:
    """Frames unpack to what the index says, and to no more."""
    index = write(tmp_path, compression="zstd")
    source = MDSSource(tmp_path)
    assert [source[n] for n in range(7)] == samples()
    bomb = zstandard.compress(bytes(1 << 28))
    path = tmp_path / "shard.00001.mds.zstd"
    path.write_bytes(bomb)
    index["shards"][1]["zip_data"]["bytes"] = len(bomb)
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(SampleReadError, match="zstd"):
        MDSSource(tmp_path)[5]
    path.write_bytes(b"\0" * len(bomb))
    with pytest.raises(SampleReadError, match="zstd"):
        MDSSource(tmp_path)[5]
    for shard in index["shards"]:
        shard["raw_data"]["bytes"] = (1 << 32) - 1
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(SourceError, match="in memory"):
        MDSSource(tmp_path)


def test_no_samples(tmp_path: Path) -> None:
    """It is an error of its own."""
    index = write(tmp_path)
    index["shards"] = []
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(EmptyDatasetError):
        MDSSource(tmp_path)


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_from_s3(tmp_path: Path, s3_bucket: Any, compression: str | None) -> None:
    """The same samples and the same cache as from a folder."""
    write(tmp_path / "data", compression=compression)
    url = s3_bucket.put_folder(tmp_path / "data", "mds")
    remote = SlipstreamDataset(url, cache_dir=tmp_path / "caches")
    assert isinstance(remote.source, MDSSource)
    local = SlipstreamDataset(tmp_path / "data", cache_dir=tmp_path / "caches")
    assert remote.cache_path == local.cache_path
    assert is_sequential(remote.source) == is_sequential(local.source)  # so the parts are the same
    cache = prepare_cache(remote)
    assert [cache[n] for n in range(7)] == samples()
    shutil.rmtree(tmp_path / "data")
