"""Parquet and Arrow files, and ``datasets.Dataset`` objects, as sources."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from slipstream_cache import FieldSpec, FieldTypeError, Source, SourceReadError
from slipstream_loader import SlipstreamDataset, SlipstreamHFDataset, SlipstreamLoader
from slipstream_loader.errors import EmptyDatasetError, SampleReadError, SourceError
from slipstream_loader.sources import HuggingFaceSource, TableSource, open_source, parquet_file
from slipstream_loader.sources.arrow_rows import Rows


def jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def arrow_bytes(name: str) -> bytes:
    """An Arrow file of one column."""
    file = io.BytesIO()
    with pa.ipc.new_file(file, pa.schema([(name, pa.int64())])) as writer:
        writer.write_table(pa.table({name: [1, 2]}))
    return file.getvalue()


FEATURES = datasets.Features(
    {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=["ant", "bee"]),
        "views": {"left": datasets.Image(), "side": datasets.Value("string")},
        "score": datasets.Value("float32"),
        "small": datasets.Value("int8"),
        "flag": datasets.Value("bool"),
        "name": datasets.Value("string"),
        "blob": datasets.Value("binary"),
        "matrix": datasets.Array2D((2, 3), "float32"),
        "vector": datasets.List(datasets.Value("int16"), length=4),
        "boxes": datasets.List(datasets.List(datasets.Value("float32"))),
    }
)


def row(i: int) -> dict[str, Any]:
    return {
        "image": {"bytes": jpeg(i), "path": f"{i}.jpg"},
        "label": i % 2,
        "views": {"left": {"bytes": jpeg(100 + i), "path": None}, "side": "l"},
        "score": i / 3,
        "small": -i,
        "flag": i % 3 == 0,
        "name": "" if i == 0 else f"ü {i}",
        "blob": bytes([i]) * i,
        "matrix": np.arange(6).reshape(2, 3) + i,
        "vector": [i, i + 1, 2, 3],
        "boxes": [[0.5, i]] * (i % 3),
    }


@pytest.fixture(scope="module")
def dataset() -> datasets.Dataset:
    """A data set of 30 rows with every kind of column."""
    return datasets.Dataset.from_list([row(i) for i in range(30)], features=FEATURES)


def check(found: Any, order: Any = range(30)) -> None:
    """All values of all samples, with their dtypes."""
    for position, i in enumerate(order):
        value, expected = found[position], row(i)
        assert value["image"] == expected["image"]["bytes"]
        assert value["views.left"] == expected["views"]["left"]["bytes"]
        assert (value["label"], value["views.side"]) == (i % 2, "l")
        assert value["score"] == np.float32(i / 3)
        assert (value["small"], value["flag"]) == (-i, i % 3 == 0)
        assert (value["name"], value["blob"]) == (expected["name"], expected["blob"])
        assert np.asarray(value["matrix"]).tolist() == expected["matrix"].tolist()
        assert np.asarray(value["vector"]).tolist() == expected["vector"]
        assert value["boxes"] == expected["boxes"]


KINDS = {
    "image": FieldSpec("image"),
    "label": FieldSpec("dense", "<i8"),
    "views.left": FieldSpec("image"),
    "views.side": FieldSpec("ragged", content="str"),
    "score": FieldSpec("dense", "<f4"),
    "small": FieldSpec("dense", "|i1"),
    "flag": FieldSpec("dense", "|b1"),
    "name": FieldSpec("ragged", content="str"),
    "blob": FieldSpec("ragged", content="bytes"),
    "matrix": FieldSpec("dense", "<f4", (2, 3)),
    "vector": FieldSpec("dense", "<i2", (4,)),
    "boxes": FieldSpec("ragged", content="json"),
}


@pytest.mark.parametrize("form", ["parquet", "small groups", "arrow", "saved"])
def test_files_give_every_value(
    dataset: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Every value of every column comes back through source, cache and loader."""
    path = tmp_path / "data"
    if form == "parquet":
        path = tmp_path / "data.parquet"
        dataset.to_parquet(path)
    elif form == "small groups":  # and read in steps, as large row groups are
        monkeypatch.setattr(parquet_file, "_steps", lambda _, __, rows, ___: [4] * len(rows))
        path.mkdir()
        for k in range(3):
            part = dataset.select(range(10 * k, 10 * k + 10))
            part.to_parquet(path / f"train-0000{k}-of-00003.parquet", batch_size=7)
    elif form == "arrow":
        dataset.save_to_disk(path, num_shards=2)
        path = path / "data-00000-of-00002.arrow"
    else:
        dataset.save_to_disk(path, num_shards=2)
    source = open_source(path)
    assert isinstance(source, TableSource)
    assert isinstance(source, Source)
    assert source.field_types == KINDS
    assert source.classes == ["ant", "bee"]
    order = range(15 if form == "arrow" else 30)
    assert len(source) == len(order)
    check(source, order)
    copy = pickle.loads(pickle.dumps(source))
    check([copy[i] for i in reversed(order)], reversed(order))
    loader = SlipstreamLoader(
        SlipstreamDataset(path, cache_dir=tmp_path),
        30,
        shuffle=False,
        verbose=False,
        drop_last=False,
    )
    check(loader.cache, order)
    assert next(iter(loader))["matrix"].shape == (len(order), 2, 3)


def test_dataset_objects_give_every_value(dataset: datasets.Dataset, tmp_path: Path) -> None:
    """A ``datasets.Dataset``, also one that was shuffled and filtered."""
    source = open_source(dataset)
    assert isinstance(source, HuggingFaceSource)
    assert isinstance(source, Source)
    assert (source.field_types, source.classes) == (KINDS, ["ant", "bee"])
    check(source)
    check(SlipstreamLoader(SlipstreamDataset(dataset, cache_dir=tmp_path), 8, verbose=False).cache)
    some = dataset.shuffle(seed=3).select([5, 1, 7])
    order = [next(i for i in range(30) if row(i)["name"] == name) for name in some["name"]]
    check(open_source(some), order)
    check(pickle.loads(pickle.dumps(source)))


def test_fingerprint_of_dataset_objects(dataset: datasets.Dataset) -> None:
    """Equal rows agree, however they are held; other rows, orders and slices differ."""
    again = datasets.Dataset.from_list([row(i) for i in range(30)], features=FEATURES)
    picked = dataset.select(list(range(29, -1, -1))).select(list(range(29, -1, -1)))
    base = open_source(dataset).fingerprint()  # type: ignore[union-attr]
    assert HuggingFaceSource(again).fingerprint() == base
    assert HuggingFaceSource(picked).fingerprint() == base
    others = [dataset.select(range(10)), dataset.select(range(10, 20)), dataset.shuffle(seed=1)]
    prints = [HuggingFaceSource(other).fingerprint() for other in others]
    assert len({base, *prints}) == 4
    assert (
        HuggingFaceSource(dataset, "a").fingerprint()
        != HuggingFaceSource(dataset, "b").fingerprint()
    )


def table(**columns: Any) -> pa.Table:
    return pa.table(columns)


def test_fingerprint_does_not_depend_on_chunks(dataset: datasets.Dataset) -> None:
    """Data sets of equal values agree, however their memory is cut; any other value differs."""
    pieces = [dataset.select(range(k, k + 7)) for k in range(0, 28, 7)] + [dataset.select([28, 29])]
    joined = datasets.concatenate_datasets(pieces)
    assert joined.data.column("image").num_chunks > 1
    assert HuggingFaceSource(joined).fingerprint() == HuggingFaceSource(dataset).fingerprint()
    check(HuggingFaceSource(joined))
    blobs = [b"ab", b"c", None, b"", b"d"]
    prints = set()
    for number, value in ((0, b"a"), (0, None), (2, b""), (3, None), (4, b"e"), (4, b"d")):
        values = [*blobs[:number], value, *blobs[number + 1 :]]
        prints.add(HuggingFaceSource(datasets.Dataset.from_dict({"x": values})).fingerprint())
    assert len(prints) == 6


def test_formats_and_transforms_of_dataset_objects(
    dataset: datasets.Dataset, tmp_path: Path
) -> None:
    """Columns that a format leaves out are not stored; a transform is applied, but needs a name."""
    chosen = open_source(dataset.with_format("torch", columns=["image", "label"]))
    assert list(chosen.field_types) == ["image", "label"]
    assert chosen[3] == {"image": jpeg(3), "label": 1}
    doubled = dataset.with_transform(lambda rows: {"double": [2 * n for n in rows["small"]]})
    with pytest.raises(SourceError, match=r"has a transform.*reset_format"):
        open_source(doubled)
    assert HuggingFaceSource(doubled.with_format(None))[3]["small"] == -3
    data = SlipstreamHFDataset(doubled, name="doubled-v1", cache_dir=tmp_path)
    cache = SlipstreamLoader(data, 30, verbose=False).cache
    assert cache.load_batch(np.arange(30))["double"].tolist() == [-2 * i for i in range(30)]


def test_plain_parquet_columns(tmp_path: Path) -> None:
    """Bytes that begin like an image are images; dictionaries are their values."""
    path = tmp_path / "a.parquet"
    words = pa.array(["x", "y", "x"]).dictionary_encode()
    pq.write_table(table(jpg=[jpeg(0), jpeg(1), jpeg(2)], cls=[1, 2, 3], word=words), path)
    source = TableSource(path)
    assert source.field_types == {
        "jpg": FieldSpec("image"),
        "cls": FieldSpec("dense", "<i8"),
        "word": FieldSpec("ragged", content="str"),
    }
    assert source[2] == {"jpg": jpeg(2), "cls": 3, "word": "x"}
    assert source.describe(2) == f"{path} row 2"


COLUMNS = {
    "large": pa.array([b"", b"ab", None, b"c"], pa.large_binary()),
    "text": pa.array(["é", None, "", "x"], pa.large_string()),
    "flags": pa.array([True, False, True, True]),
    "pairs": pa.array([[1, 2], [3, 4], [5, 6], [7, 8]], pa.list_(pa.int16(), 2)),
    "holes": pa.array([[1, 2], None, [5, 6], [7, 8]], pa.list_(pa.int16(), 2)),
    "half": pa.array(np.arange(4, dtype=np.float16)),
    "nested": pa.array(
        [{"n": 1, "t": "a", "p": [1, 2]}, None, {"n": None, "t": None, "p": None}, {"n": 2}],
        pa.struct([("n", pa.int8()), ("t", pa.string()), ("p", pa.list_(pa.int8(), 2))]),
    ),
    "words": pa.array(["x", "y", None, "x"]).dictionary_encode(),
    "chunks": pa.chunked_array([["a"], ["b", "c"], ["d"]]),
    "lists": pa.array([[b"a"], [], None, [b"b", b"c"]]),
}


@pytest.mark.parametrize("begin", [0, 1, 3])
def test_values_of_columns_are_those_of_pyarrow(begin: int) -> None:
    """Every kind of column, with missing values, cut out of its table: as ``to_pylist`` has it."""
    part = pa.table(COLUMNS).slice(begin)
    rows = Rows(part)
    found = [
        {k: v.tolist() if hasattr(v, "tolist") else v for k, v in rows[i].items()}
        for i in range(len(rows))
    ]
    assert found == part.to_pylist()


def numbers(*values: int) -> bytes:
    return np.array(values, np.int32).tobytes()


WORDS = pa.array(["x", "y", "z"]).take(pa.array([0, 1, 2, 2, 1, 0])).dictionary_encode()


@pytest.mark.parametrize(
    ("array", "sound", "damaged"),
    [
        (pa.array([b"abc", b"def"]), numbers(0, 3, 6), numbers(0, 3, 1 << 30)),
        (pa.array([b"abc", b"def"]), numbers(0, 3, 6), numbers(0, -3, 6)),
        (pa.array(["some text"]), b"some text", b"some\xfftext"),
        (WORDS, numbers(0, 1, 2, 2, 1, 0), numbers(0, 1, 99, 2, 1, 0)),
    ],
    ids=["behind", "before", "text", "index"],
)
def test_damaged_arrow_files_are_errors(
    array: pa.Array, sound: bytes, damaged: bytes, tmp_path: Path
) -> None:
    """Offsets beside the data, an index behind its dictionary, text that is none: never read."""
    path = tmp_path / "a.arrow"
    with pa.ipc.new_file(path, pa.schema([("x", array.type)])) as writer:
        writer.write_batch(pa.record_batch([array], ["x"]))
    data = path.read_bytes()
    assert data.count(sound) == 1
    TableSource(path)
    path.write_bytes(data.replace(sound, damaged))
    with pytest.raises(SourceError, match=r"a\.arrow: row group 0 cannot be read"):
        TableSource(path)


def test_pandas_is_not_needed(tmp_path: Path) -> None:
    """It would take seconds, and pyarrow imports it for some conversions."""
    path = tmp_path / "a.parquet"
    pq.write_table(
        table(jpg=[jpeg(0)], n=[1], flag=[True], v=pa.array([[1, 2]], pa.list_(pa.int8(), 2))), path
    )
    code = (
        "import sys; from slipstream_loader.sources.parquet import TableSource;"
        "print(len(TableSource(sys.argv[1])[0]), 'pandas' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["4", "False"]


MIXED = {
    "int": pa.array([None, *range(99)], pa.int64()),
    "flag": pa.array([None] + [True] * 99),
    "half": pa.array([None] + [0.5] * 99, pa.float16()),
    "pair": pa.array([None] + [[1, 2]] * 99, pa.list_(pa.int8(), 2)),
}


def test_columns_with_nulls_do_not_depend_on_row_groups(tmp_path: Path) -> None:
    """A column that begins with a null is JSON, also where a row group has numbers alone."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(MIXED), path, row_group_size=10)
    cache = SlipstreamLoader(SlipstreamDataset(path, cache_dir=tmp_path), 1, verbose=False).cache
    rows = pa.table(MIXED).to_pylist()
    assert [cache[n] for n in range(100)] == rows
    assert [TableSource(path)[n] for n in (0, 5, 55)] == [rows[n] for n in (0, 5, 55)]


def test_dates_and_decimals_are_text(tmp_path: Path) -> None:
    """Moments and decimal numbers are told exactly, inside of lists and structs too."""
    path = tmp_path / "a.parquet"
    nanoseconds = pa.array([1, 2], pa.timestamp("ns"))
    pq.write_table(
        table(
            at=nanoseconds,
            day=pa.array([1, 2], pa.date32()),
            price=pa.array([Decimal("1.50"), Decimal("2.00")]),
            took=pa.array([5, 6], pa.duration("ms")),
            deep=[{"day": date(2020, 1, 2)}] * 2,
            days=[[{"day": [date(2020, 1, 2), None]}]] * 2,
        ),
        path,
    )
    source = TableSource(path)
    cache = SlipstreamLoader(SlipstreamDataset(source, cache_dir=tmp_path), 1, verbose=False).cache
    assert cache[1] == {
        "at": "1970-01-01 00:00:00.000000002",
        "day": "1970-01-03",
        "price": "2.00",
        "took": 6,
        "deep": {"day": "2020-01-02"},
        "days": [{"day": ["2020-01-02", None]}],
    }


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_a_file_may_begin_with_no_rows(tmp_path: Path, form: str) -> None:
    """Row groups and batches without rows are passed over, at the beginning too."""
    path = tmp_path / f"a.{form}"
    parts = [table(x=pa.array([], pa.int64())), table(x=[1, 2]), table(x=pa.array([], pa.int64()))]
    if form == "parquet":
        with pq.ParquetWriter(path, parts[0].schema) as writer:
            for part in parts:
                writer.write_table(part)
    else:
        with pa.ipc.new_stream(path, parts[0].schema) as stream:
            stream.write_batch(pa.record_batch([pa.array([], pa.int64())], ["x"]))
            stream.write_batch(pa.record_batch([pa.array([1, 2])], ["x"]))
    source = TableSource(path)
    assert [source[n]["x"] for n in range(len(source))] == [1, 2]


def test_missing_and_mixed_values_are_named(tmp_path: Path) -> None:
    """A value that is missing, and files with other columns, are errors that say where."""
    path = tmp_path / "a.parquet"
    pq.write_table(table(x=[1, None, 3]), path)
    with pytest.raises(FieldTypeError, match=r"field 'x' of sample 1 \(.*a.parquet row 1\)"):
        SlipstreamLoader(SlipstreamDataset(path, cache_dir=tmp_path), 1, verbose=False)
    pq.write_table(table(img=[{"bytes": None, "path": "/etc/passwd"}]), path)
    with pytest.raises(SampleReadError, match="has no bytes, only the path '/etc/passwd'"):
        TableSource(path)
    (tmp_path / "d").mkdir()
    pq.write_table(table(x=[1]), tmp_path / "d/a.parquet")
    pq.write_table(table(x=["1"]), tmp_path / "d/b.parquet")
    with pytest.raises(SourceError, match=r"b.parquet has the columns .* \['string'\]"):
        TableSource(tmp_path / "d")
    (tmp_path / "e").mkdir()
    (tmp_path / "e/a.arrow").write_bytes(arrow_bytes("lab"))
    (tmp_path / "e/b.arrow").write_bytes(arrow_bytes("lab").replace(b"lab", b"l\x80b"))
    with pytest.raises(SourceError, match=r"b.arrow has columns with a name that is not UTF-8"):
        TableSource(tmp_path / "e")


def test_splits_are_not_mixed(tmp_path: Path) -> None:
    """A folder with files of several splits is refused, with what to do."""
    pq.write_table(table(x=[1]), tmp_path / "train-00000-of-00001.parquet")
    pq.write_table(table(x=[2]), tmp_path / "test-00000-of-00001.parquet")
    with pytest.raises(SourceError, match="several splits, test, train: name a file"):
        open_source(tmp_path)
    assert len(TableSource(tmp_path / "test-00000-of-00001.parquet")) == 1


def test_files_of_no_split_are_not_left_out_in_silence(tmp_path: Path) -> None:
    """Beside files that tell a split, they leave a choice."""
    for name in ("part-0", "part-1", "train-extra"):
        pq.write_table(table(x=[1]), tmp_path / f"{name}.parquet")
    with pytest.raises(SourceError, match=r"split train, and 2 .* such as part-0.parquet: name a"):
        TableSource(tmp_path)


def test_no_rows(tmp_path: Path, dataset: datasets.Dataset) -> None:
    """Files, folders and data sets without rows are told."""
    pq.write_table(table(x=pa.array([], pa.int64())), tmp_path / "a.parquet")
    with pytest.raises(EmptyDatasetError, match=r"a.parquet has no rows"):
        TableSource(tmp_path / "a.parquet")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(EmptyDatasetError, match="no parquet or Arrow files"):
        TableSource(tmp_path / "nothing")
    with pytest.raises(EmptyDatasetError, match="no rows"):
        HuggingFaceSource(dataset.select([]))


def test_damaged_files(tmp_path: Path) -> None:
    """Cut-off and overwritten files are errors; sound row groups of a damaged file are read."""
    path = tmp_path / "a.parquet"
    samples = [jpeg(i) for i in range(40)]
    pq.write_table(
        table(jpg=samples), path, row_group_size=10, compression="none", use_dictionary=False
    )
    data = path.read_bytes()
    for cut in (0, 3, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(SourceError, match=r"a.parquet cannot be opened"):
            TableSource(path)
    metadata = pq.ParquetFile(io.BytesIO(data)).metadata
    (tmp_path / "a.arrow").write_bytes(arrow_bytes("lab").replace(b"lab", b"l\x80b"))
    with pytest.raises(SourceError, match="name or its first text is not UTF-8"):
        TableSource(tmp_path / "a.arrow")
    place = metadata.row_group(2).column(0).data_page_offset
    path.write_bytes(data[:place] + b"\xff" * 64 + data[place + 64 :])
    source = TableSource(path)
    assert source[5] == {"jpg": samples[5]}
    assert source[35] == {"jpg": samples[35]}
    with pytest.raises(SampleReadError, match=r"row group 2 cannot be read"):
        source[25]
    with pytest.raises(SourceReadError, match=r"10 of 40 samples of .*a.parquet cannot be read"):
        SlipstreamLoader(SlipstreamDataset(path, cache_dir=tmp_path), 1, verbose=False)


def test_folders_that_are_named_like_files(tmp_path: Path) -> None:
    """As those of Spark are: what counts is the files in them."""
    (tmp_path / "a.parquet").mkdir()
    pq.write_table(table(n=[1, 2]), tmp_path / "a.parquet/part-0.parquet")
    pq.write_table(table(n=[3]), tmp_path / "a.parquet/part-1.parquet")
    for place in (tmp_path, tmp_path / "a.parquet"):
        assert [sample["n"] for sample in TableSource(place)] == [1, 2, 3]  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", ["parquet", "file", "compressed file", "stream"])
def test_sizes_of_samples(form: str, tmp_path: Path) -> None:
    """Are told before they are read, and a batch is not counted for each of its rows."""
    rng = np.random.default_rng(0)
    rows = table(jpg=[rng.bytes(10_000) for _ in range(200)], n=list(range(200)))
    path = tmp_path / ("a.parquet" if form == "parquet" else "a.arrow")
    if form == "parquet":
        pq.write_table(rows, path)
    else:
        create = pa.ipc.new_stream if form == "stream" else pa.ipc.new_file
        compression = "lz4" if form == "compressed file" else None
        options = pa.ipc.IpcWriteOptions(compression=compression)
        with create(str(path), rows.schema, options=options) as writer:
            writer.write_table(rows)
    source = TableSource(path)
    assert all(10_000 <= source.sample_bytes(index) < 11_000 for index in range(200))
