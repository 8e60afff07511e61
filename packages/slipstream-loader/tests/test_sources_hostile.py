"""Hostile and odd data through every kind of source: a clear error that says where, or the data."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import re
import struct
import tarfile
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from slipstream_cache import (
    Condition,
    FieldTypeError,
    SampleCache,
    SourceReadError,
    StorageOptions,
    sample_stream,
)
from slipstream_cache.testing import make_jpeg
from slipstream_decoders import DecodeCenterCrop, DecodeRandomResizedCrop
from slipstream_loader import (
    SlipstreamDataset,
    SlipstreamLoader,
    decoding_memory,
    prepare_cache,
    transcode,
)
from slipstream_loader.errors import EmptyDatasetError, SampleReadError, SourceError
from slipstream_loader.sources import arrow_file, block_reader, file_names, parquet_file
from slipstream_loader.sources.imagefolder import ImageFolderSource
from slipstream_loader.sources.parquet import TableSource
from slipstream_loader.sources.tar import TarSource

pytestmark = pytest.mark.timeout(120)

Entries = list[tuple[str, bytes]]
"""Names ``class/file`` and contents."""


def photo(number: int = 0, **options: Any) -> bytes:
    """A JPEG of a few hundred bytes."""
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (2, 2, 3), np.uint8)
    Image.fromarray(pixels).resize((24, 16)).save(file, "JPEG", **options)
    return file.getvalue()


def png(height: int, width: int, claimed: tuple[int, int] | None = None) -> bytes:
    """A PNG of black pixels, whose header may claim another height and width."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    packer = zlib.compressobj(9)
    rows = [packer.compress(bytes(1 + 3 * width)) for _ in range(height)]
    claimed_height, claimed_width = claimed or (height, width)
    header = struct.pack(">IIBBBBB", claimed_width, claimed_height, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", b"".join([*rows, packer.flush()]))
    return b"\x89PNG\r\n\x1a\n" + content + chunk(b"IEND", b"")


def with_size(jpeg: bytes, height: int, width: int) -> bytes:
    """A JPEG whose header tells another size than its data has."""
    frame = next(jpeg.index(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in jpeg)
    return jpeg[: frame + 5] + struct.pack(">HH", height, width) + jpeg[frame + 9 :]


def folder(root: Path, entries: Entries) -> Path:
    (root / "photos").mkdir(parents=True)
    for name, content in entries:
        path = root / "photos" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return root / "photos"


def archive(ending: str) -> Callable[[Path, Entries], Path]:
    def write(root: Path, entries: Entries) -> Path:
        root.mkdir()
        mode: Any = f"w:{ending.partition('.')[2]}"
        with tarfile.open(root / f"a.{ending}", mode) as tar:
            for name, content in entries:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return root / f"a.{ending}"

    return write


def listed(root: Path, entries: Entries) -> Path:
    folder(root, entries)
    with (root / "list.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [(f"photos/{name}", name.partition("/")[0]) for name, _ in entries]
        csv.writer(file).writerows([("path", "label"), *rows])
    return root / "list.csv"


def webdataset(root: Path, entries: Entries) -> Path:
    members = []
    for name, content in entries:
        stem = name.rpartition(".")[0]
        members += [(name, content), (f"{stem}.txt", name.encode())]
    return archive("tar")(root, members)


def rows(entries: Entries) -> list[dict[str, Any]]:
    return [{"image": content, "path": name} for name, content in entries]


def parquet(root: Path, entries: Entries) -> Path:
    root.mkdir()
    schema = pa.schema([("image", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.Table.from_pylist(rows(entries), schema), root / "a.parquet")
    return root / "a.parquet"


def arrow(root: Path, entries: Entries) -> Path:
    root.mkdir()
    schema = pa.schema([("image", pa.binary()), ("path", pa.string())])
    with pa.ipc.new_file(root / "a.arrow", schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows(entries), schema))
    return root / "a.arrow"


def litdata(root: Path, entries: Entries) -> Path:
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(cache_dir=str(root), chunk_size=50)
    for index, row in enumerate(rows(entries)):
        writer.add_item(index, row)
    writer.done()
    writer.merge()
    return root


def mds(root: Path, entries: Entries) -> Path:
    root.mkdir()
    names = [name.encode() for name, _ in entries]
    packed = [
        struct.pack("<II", len(content), len(name)) + content + name
        for name, (_, content) in zip(names, entries, strict=True)
    ]
    begin = 4 * (len(packed) + 2) + 2
    offsets = [begin + sum(map(len, packed[:k])) for k in range(len(packed) + 1)]
    table = struct.pack(f"<{len(packed) + 2}I", len(packed), *offsets)
    data = table + b"{}" + b"".join(packed)
    (root / "shard.00000.mds").write_bytes(data)
    shard = {
        "column_encodings": ["jpeg", "str"],
        "column_names": ["image", "path"],
        "column_sizes": [None, None],
        "compression": None,
        "format": "mds",
        "hashes": [],
        "raw_data": {"basename": "shard.00000.mds", "bytes": len(data), "hashes": {}},
        "samples": len(packed),
        "size_limit": None,
        "version": 2,
        "zip_data": None,
    }
    (root / "index.json").write_text(json.dumps({"version": 2, "shards": [shard]}))
    return root


def in_memory(_: Path, entries: Entries) -> list[dict[str, Any]]:
    return rows(entries)


def generator(_: Path, entries: Entries) -> Callable[[], Iterator[dict[str, Any]]]:
    return lambda: iter(rows(entries))


def hugging_face(_: Path, entries: Entries) -> Any:
    import datasets

    features = {"image": datasets.Value("binary"), "path": datasets.Value("string")}
    columns = {
        "image": [content for _, content in entries],
        "path": [name for name, _ in entries],
    }
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


WRITERS: dict[str, Callable[[Path, Entries], Any]] = {
    "folder": folder,
    "tar": archive("tar"),
    "tar.gz": archive("tar.gz"),
    "tar.bz2": archive("tar.bz2"),
    "tar.xz": archive("tar.xz"),
    "CSV": listed,
    "WebDataset": webdataset,
    "parquet": parquet,
    "arrow": arrow,
    "litdata": litdata,
    "MDS": mds,
    "list": in_memory,
    "iterable": generator,
    "datasets.Dataset": hugging_face,
}


def cached(kind: str, root: Path, entries: Entries) -> SampleCache:
    """A cache of images with their names, by way of a kind of source."""
    source = WRITERS[kind](root / "data", entries)
    name = "hostile" if kind == "iterable" else None
    return prepare_cache(SlipstreamDataset(source, cache_dir=root / "caches", name=name))


ODD_NAMES = [
    "Caf\u00e9/1.jpg",  # one letter, or a letter and an accent: two files to a file system
    "Cafe\u0301/1.jpg",
    "\U0001f41d\u200d/\u202eevil.jpg",  # joined and turned round
    "new\nline/tab\t.jpg",
    "quote'\"/comma, .jpg",
    "%41\\x41/#? *.jpg",
]


@pytest.mark.parametrize("kind", WRITERS)
def test_odd_names_stay_apart(kind: str, tmp_path: Path) -> None:
    """Composed and decomposed letters, emoji, line breaks: each name gives its own image."""
    entries = [(name, photo(number)) for number, name in enumerate(ODD_NAMES)]
    cache = cached(kind, tmp_path, entries)
    assert len(cache) == len(entries)
    found = [cache[index] for index in range(len(cache))]
    by_image = {bytes(sample["image"]): sample for sample in found}
    for name, content in entries:
        sample = by_image[content]
        text = sample.get("path", sample.get("txt", sample.get("key")))
        assert text is None or name in (text, f"{text}.jpg") or text.endswith(name)
    labels = {int(sample["label"]) for sample in found if "label" in sample}
    assert len(labels) in (0, len(entries))


@pytest.mark.parametrize("kind", WRITERS)
def test_images_that_are_none_are_flagged(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Empty, cut off, text, a bomb: they are stored, told with their sample, and left out."""
    bad = [
        b"",
        photo(7)[:200],
        b"<html>not found</html>",
        png(40, 40)[:60],
        png(2, 2, claimed=(30_000, 30_000)),
    ]
    entries = [(f"a/{number}.jpg", photo(number)) for number in range(3)]
    entries += [(f"b/{number}.jpg", content) for number, content in enumerate(bad)]
    if kind in ("parquet", "arrow", "litdata", "list", "iterable", "datasets.Dataset"):
        entries = entries[:3] + [(name, content) for name, content in entries[4:]]
    cache = cached(kind, tmp_path, entries)
    assert len(cache) == len(entries)
    report = "\n".join(record.getMessage() for record in caplog.records)
    assert f"{len(entries) - 3} images of" in report
    pipelines = {"image": [DecodeCenterCrop(8)]}
    loader = SlipstreamLoader(
        cache, 20, pipelines=pipelines, on_error="zero", shuffle=False, verbose=False
    )
    (batch,) = loader
    loader.shutdown()
    assert batch["_valid"].tolist() == [True] * 3 + [False] * (len(entries) - 3)


@pytest.mark.parametrize("kind", sorted(WRITERS.keys() - {"litdata"}))
def test_no_samples_at_all(kind: str, tmp_path: Path) -> None:
    """Is an error of its own that names the source."""
    if kind == "folder":
        (tmp_path / "data").mkdir()
    with pytest.raises(EmptyDatasetError):
        cached(kind, tmp_path, [])


def test_a_header_that_tells_a_huge_image(tmp_path: Path) -> None:
    """A JPEG of a few hundred bytes that claims four gigapixels takes no memory for them."""
    entries = [("a/0.jpg", photo(0)), ("a/1.jpg", photo(1))]
    entries += [
        ("a/2.jpg", with_size(photo(2), 65_500, 65_500)),
        ("a/3.jpg", with_size(photo(3, progressive=True), 65_500, 65_500)),
    ]
    cache = cached("folder", tmp_path, entries)
    pipelines = {"image": [DecodeRandomResizedCrop(16)]}
    loader = SlipstreamLoader(
        cache, 4, pipelines=pipelines, on_error="zero", shuffle=False, verbose=False
    )
    (batch,) = loader
    loader.shutdown()
    assert batch["_valid"].tolist() == [True, True, False, False]


def test_files_that_would_fill_the_memory(tmp_path: Path) -> None:
    """Are refused by their size, without being read: in a folder, and in a list."""
    root = folder(tmp_path / "f", [("a/0.jpg", photo())])
    with (root / "a/1.jpg").open("wb") as file:
        file.truncate(1 << 43)
    with pytest.raises(SourceError, match=r"a/1\.jpg: has 8,796,093,022,208 bytes; at most"):
        ImageFolderSource(root)
    (tmp_path / "list.csv").write_text("path\nf/photos/a/0.jpg\nf/photos/a/1.jpg\n")
    with pytest.raises(SourceError, match=r"f/photos/a/1\.jpg has 8,796,093,022,208 bytes"):
        SlipstreamDataset(tmp_path / "list.csv", cache_dir=tmp_path)
    assert file_names.too_large(file_names.MAX_FILE_BYTES) is None


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "WebDataset", "MDS", "litdata"])
def test_files_that_are_written_to_before_a_build(kind: str, tmp_path: Path) -> None:
    """Other bytes in the same place are not published under the name of those before."""
    versions = [
        [(f"a/{n}.jpg", make_jpeg(2, 2, body=bytes([version, n]) * 50)) for n in range(9)]
        for version in (1, 2)
    ]
    source = WRITERS[kind](tmp_path / "data", versions[0])
    WRITERS[kind](tmp_path / "other", versions[1])
    files = [path for path in (tmp_path / "data").iterdir() if path.suffix != ".json"]
    for path in files:
        os.utime(path, (1e9, 1e9))
    dataset = SlipstreamDataset(source, cache_dir=tmp_path / "caches")
    assert dataset.cache_path
    for path in files:
        path.write_bytes((tmp_path / "other" / path.name).read_bytes())
    with pytest.raises(SourceReadError, match="was changed since it was opened: open it again"):
        prepare_cache(dataset)


def test_a_copy_of_a_file_that_is_the_same_elsewhere(tmp_path: Path) -> None:
    """A pickled source takes a file of another time if it holds the same bytes, and no other."""
    path = WRITERS["tar"](tmp_path / "data", [("a/0.jpg", photo(0)), ("a/1.jpg", photo(1))])
    data = pickle.dumps(TarSource(path, cache_root=tmp_path))
    os.utime(path, (1e9, 1e9))
    assert pickle.loads(data)[1]["image"] == photo(1)
    path.write_bytes(path.read_bytes().replace(photo(1), photo(1)[::-1]))
    with pytest.raises(SampleReadError, match=r"a\.tar was changed"):
        pickle.loads(data)[1]


@pytest.mark.parametrize("kind", ["tar", "WebDataset"])
def test_a_file_that_gets_another_time_while_it_is_read(kind: str, tmp_path: Path) -> None:
    """It is read on, by all threads, as long as it holds the same bytes, and has no other ones."""
    entries = [(f"a/{number}.jpg", photo(number)) for number in range(40)]
    source = SlipstreamDataset(WRITERS[kind](tmp_path / "data", entries), cache_dir=tmp_path).source
    fingerprint, first = source.fingerprint(), source[0]
    (path,) = (path for path in (tmp_path / "data").iterdir() if path.suffix != ".json")

    with ThreadPoolExecutor(4) as pool:
        for begin in range(0, 40, 10):
            os.utime(path, (1e9, 1e9 + begin))
            read = pool.map(lambda number: source[number]["image"], range(begin, begin + 10))
            assert list(read) == [data for _, data in entries[begin : begin + 10]]
    assert source.fingerprint() == fingerprint
    assert source[0] == first
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(SampleReadError, match="was changed since it was opened"):
        source[30]


@pytest.mark.parametrize("kind", ["tar.gz", "tar", "CSV"])
def test_large_files_in_a_row(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many threads read, two or three are in memory at a time."""
    monkeypatch.setattr(sample_stream, "_HELD_BYTES", 20 << 20)
    monkeypatch.setattr(block_reader, "_AHEAD_BYTES", 10 << 20)
    monkeypatch.setattr(block_reader, "_KEPT_BYTES", 20 << 20)
    monkeypatch.setattr(block_reader, "_SERVED_BYTES", 2 << 20)
    entries = [(f"a/{number}.jpg", photo(number) + bytes(16 << 20)) for number in range(8)]
    dataset = SlipstreamDataset(WRITERS[kind](tmp_path / "data", entries), cache_dir=tmp_path)
    del entries
    tracemalloc.start()
    try:
        assert len(prepare_cache(dataset, num_workers=8)) == 8
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60 << 20


def test_large_images_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What all threads decode together is limited; a larger image goes alone."""
    monkeypatch.setattr(decoding_memory, "_BYTES_AT_A_TIME", 500)
    now, most = [], []
    load = transcode._load

    def slow_load(opened: Any, max_size: int | None) -> Any:
        now.append(opened.size[0] * opened.size[1])
        most.append((len(now), sum(now)))
        threading.Event().wait(0.02)
        now.remove(opened.size[0] * opened.size[1])
        return load(opened, max_size)

    monkeypatch.setattr(transcode, "_load", slow_load)
    files = [png(side, side) for side in (4, 20, 5, 6, 30, 4, 7, 5)]
    threads = [
        threading.Thread(target=transcode.transcode, args=(file, StorageOptions()))
        for file in files
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(count == 1 or pixels <= 100 for count, pixels in most)
    assert len(most) == len(files)


def test_bombs_that_pillow_refuses() -> None:
    """An image above Pillow's limit of pixels is stored as damaged, and not unpacked."""
    stored = transcode.transcode(png(2, 2, claimed=(30_000, 30_000)), StorageOptions())
    assert stored.condition != Condition.SOUND
    assert "decompression bomb" in str(stored.problem)


def test_values_that_a_dictionary_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row group of few bytes whose rows are one long value is read in steps."""
    monkeypatch.setattr(parquet_file, "REPEATED_BYTES", 100_000)
    values = pa.DictionaryArray.from_arrays(pa.array([0, 1] * 60), pa.array([b"x" * 9000, b"y"]))
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"data": values, "n": list(range(120))}), path, compression="none")
    source = TableSource(path)
    assert np.diff(source._layout.firsts).max() * 9000 <= 100_000
    assert [source[i]["n"] for i in range(120)] == list(range(120))
    assert source[118]["data"] == b"x" * 9000


@pytest.mark.parametrize("form", ["file", "stream"])
def test_compressed_arrow_data(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of a file are unpacked one by one; a stream only where memory may hold it."""
    path = tmp_path / "a.arrow"
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    schema = pa.schema([("data", pa.binary())])
    create = pa.ipc.new_file if form == "file" else pa.ipc.new_stream
    with create(str(path), schema, options=options) as writer:
        for number in range(20):
            writer.write_batch(pa.record_batch([[bytes([number]) * (1 << 20)]], schema=schema))
    before = pa.total_allocated_bytes()
    if form == "file":
        source = TableSource(path)
        assert [source[i]["data"][:1] for i in (0, 19, 7)] == [b"\0", b"\x13", b"\7"]
        source.close()
        assert pa.total_allocated_bytes() - before < 8 << 20
        return
    assert TableSource(path)[19]["data"] == bytes([19]) * (1 << 20)
    monkeypatch.setattr(arrow_file, "_MAX_STREAM_BYTES", 5 << 20)
    with pytest.raises(SourceError, match=r"a\.arrow: a compressed Arrow stream of 20,"):
        TableSource(path)


def test_plain_arrow_streams_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in a map takes no memory, and has no limit."""
    monkeypatch.setattr(arrow_file, "_MAX_STREAM_BYTES", 10)
    table = pa.table({"data": [b"x" * 5000] * 40})
    with pa.ipc.new_stream(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    assert len(TableSource(tmp_path / "a.arrow")) == 40


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_columns_of_one_name(form: str, tmp_path: Path) -> None:
    """Are refused with that name, since a sample has one value for each."""
    columns = [pa.array([photo(1)]), pa.array([1]), pa.array([2])]
    table = pa.table(columns, names=["image", "label", "label"])
    path = tmp_path / f"a.{form}"
    if form == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    with pytest.raises(SourceError, match="several columns are named 'label'; rename them"):
        TableSource(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.parquet", "a.arrow", "a.csv", "a.beton"])
def test_pipes_are_not_waited_for(name: str, tmp_path: Path) -> None:
    """A named pipe in place of a file is an error, where nothing would ever come."""
    os.mkfifo(tmp_path / name)
    with pytest.raises(SourceError, match=f"{re.escape(name)} is not a regular file"):
        SlipstreamDataset(tmp_path / name, cache_dir=tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        ("litdata", "index.json"),
        ("litdata", "chunk*"),
        ("MDS", "index.json"),
        ("MDS", "shard*"),
        ("WebDataset", "*.tar"),
        ("parquet", "*.parquet"),
        ("arrow", "*.arrow"),
    ],
)
def test_pipes_in_folders_are_not_waited_for(kind: str, pattern: str, tmp_path: Path) -> None:
    """Whatever a folder's format opens by name is refused if it is a pipe."""
    WRITERS[kind](tmp_path / "data", [("a/1.jpg", photo())])
    (path,) = (tmp_path / "data").glob(pattern)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SourceError, match=f"{re.escape(path.name)} is not a regular file"):
        SlipstreamDataset(tmp_path / "data", cache_dir=tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_no_manifest_of_a_cache(tmp_path: Path) -> None:
    """A folder of images that holds a pipe of that name is a folder of images."""
    root = folder(tmp_path, [("a/1.jpg", photo())])
    os.mkfifo(root / "manifest.json")
    assert len(SlipstreamDataset(root, cache_dir=tmp_path)) == 1


@pytest.mark.parametrize("kind", ["list", "iterable", "WebDataset"])
def test_values_of_other_types_are_told(kind: str, tmp_path: Path) -> None:
    """The field, the sample, what it should be and what it is."""
    samples = [{"image": make_jpeg(2, 2), "label": label} for label in (1, 2, "three", 4)]
    source: Any = samples
    if kind == "iterable":
        source = lambda: iter(samples)  # noqa: E731
    elif kind == "WebDataset":
        members = []
        for index, sample in enumerate(samples):
            members += [(f"{index}.jpg", make_jpeg(2, 2))]
            members += [(f"{index}.cls", str(sample["label"]).encode())]
        source = archive("tar")(tmp_path / "data", members)
    name = None if kind == "WebDataset" else kind
    with pytest.raises((FieldTypeError, OSError), match=r"(?s)\b2\b.*(three|label|cls)") as caught:
        prepare_cache(SlipstreamDataset(source, cache_dir=tmp_path / "caches", name=name))
    assert re.search("label|cls", str(caught.value))
