"""Lists of images as sources: every format, paths that lead elsewhere, and damaged lists."""

from __future__ import annotations

import io
import json
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from slipstream_loader import ManifestSource, SlipstreamDataset, prepare_cache
from slipstream_loader.errors import EmptyDatasetError, SampleReadError, SourceError
from slipstream_loader.sources import manifest_rows, open_source, parquet_pages

pytestmark = pytest.mark.timeout(120)

ROWS = [
    {"path": "a/1.jpg", "label": "cat", "score": 0.5, "site": "007"},
    {"path": "a/2 ü.jpg", "label": "ant", "score": 1.0, "site": "x,y"},
    {"path": "b/3.jpg", "label": "cat", "score": -2.0, "site": 'say "hi"'},
]


def jpeg(seed: int) -> bytes:
    """A JPEG file of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The images, and lists of them in every format."""
    import csv

    for number, row in enumerate(ROWS):
        path = tmp_path / str(row["path"])
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(jpeg(number))
    for name, delimiter in (("list.csv", ","), ("list.tsv", "\t")):
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(ROWS[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(ROWS)
    lines = [json.dumps(row) for row in ROWS]
    (tmp_path / "list.jsonl").write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "list.parquet")
    return tmp_path


@pytest.mark.parametrize("name", ["list.csv", "list.tsv", "list.jsonl", "list.parquet"])
def test_every_format_gives_the_same_samples(folder: Path, name: str, tmp_path: Path) -> None:
    """Images, class numbers, paths and other columns, through source and cache."""
    source = ManifestSource(folder / name)
    assert source.classes == ["ant", "cat"]
    if name != "list.parquet":  # which is a table, unless it is said to be a list
        assert isinstance(open_source(folder / name), ManifestSource)
    cache = prepare_cache(SlipstreamDataset(source, cache_dir=tmp_path / "caches"))
    again = pickle.loads(pickle.dumps(source))
    for number, row in enumerate(ROWS):
        label = source.class_to_idx[str(row["label"])]
        expected = {**row, "image": jpeg(number), "label": label}
        assert source[number] == cache[number] == again[number] == expected
    lists = [ManifestSource(folder / f"list.{kind}") for kind in ("csv", "tsv", "jsonl", "parquet")]
    assert len({found.fingerprint() for found in lists}) == 1
    with pytest.raises(IndexError):
        source[3]


def test_labels_and_columns_of_other_names(folder: Path) -> None:
    """Numbers stay as they are; columns are named by the user; a list needs no labels."""
    lines = [json.dumps({"img": row["path"], "y": 5 - n}) for n, row in enumerate(ROWS)]
    path = folder / "other.jsonl"
    path.write_text("\n".join(lines))
    source = ManifestSource(path, path_column="img", label_column="y")
    assert [source[n]["label"] for n in range(3)] == [5, 4, 3]
    assert source.classes == []
    assert list(ManifestSource(path, path_column="img")[0]) == ["image", "path", "y"]
    with pytest.raises(SourceError, match="path_column="):
        ManifestSource(path)
    with pytest.raises(SourceError, match="'z'"):
        ManifestSource(path, path_column="img", label_column="z")


@pytest.mark.parametrize("path", ["../secret.jpg", "/etc/passwd", "a/../../x", "", ".", "a\0b"])
def test_paths_that_lead_elsewhere_are_refused(folder: Path, path: str) -> None:
    """Also if there is such a file: only what lies below the root is read."""
    (folder.parent / "secret.jpg").write_bytes(jpeg(9))
    (folder / "bad.jsonl").write_text(json.dumps({"path": path}))
    with pytest.raises(SourceError, match=r"not below.*\n.*\n?give root="):
        ManifestSource(folder / "bad.jsonl")


def test_absolute_paths_below_the_root_and_other_roots(folder: Path) -> None:
    """An absolute path is fine where it is below the root, which may be ``/``."""
    rows = [json.dumps({"path": str(folder / str(row["path"]))}) for row in ROWS]
    (folder / "full.jsonl").write_text("\n".join(rows))
    assert ManifestSource(folder / "full.jsonl")[1]["path"] == "a/2 ü.jpg"
    (folder / "lists").mkdir()
    (folder / "lists/full.jsonl").write_text("\n".join(rows))
    with pytest.raises(SourceError, match="not below"):
        ManifestSource(folder / "lists/full.jsonl")
    assert ManifestSource(folder / "lists/full.jsonl", root="/")[2]["image"] == jpeg(2)
    assert ManifestSource(folder / "lists/full.jsonl", root=folder)[2]["image"] == jpeg(2)


def test_files_that_are_missing_or_change(folder: Path) -> None:
    """All missing ones are named together; one that changes later is an error of its sample."""
    (folder / "bad.csv").write_text("path\na/1.jpg\nnone.jpg\nb\n")
    with pytest.raises(SourceError, match=r"none\.jpg\n  b"):
        ManifestSource(folder / "bad.csv")
    source = ManifestSource(folder / "list.csv")
    (folder / "a/1.jpg").write_bytes(b"other")
    with pytest.raises(SampleReadError, match="changed"):
        source[0]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", b"path,label\na.jpg\n", "line 2 has 1 values"),
        ("a.csv", b"path,path\n", "different names"),
        ("a.csv", b"", "different names"),
        ("a.csv", b'path\n"open', "cannot be read"),
        ("a.csv", b"path\n\xff\xfe.jpg\n", "utf-8"),
        ("a.jsonl", b'{"path": 1}', "not below"),
        ("a.jsonl", b"[1]", "no JSON object"),
        ("a.jsonl", b"[" * 100_000, "cannot be read"),
        ("a.jsonl", b'{"path": "a"}\n{"file": "b"}', "line 2 has the keys"),
        ("a.jsonl", b'{"path": "a/1.jpg", "label": [1]}', "numbers nor"),
        ("a.parquet", b"PAR1 no table", "cannot be read"),
    ],
)
def test_damaged_lists(folder: Path, name: str, text: bytes, message: str) -> None:
    """They are errors that say where."""
    (folder / name).write_bytes(text)
    with pytest.raises(SourceError, match=message):
        ManifestSource(folder / name)


def test_empty_lists_and_mixed_columns(folder: Path) -> None:
    """A list without rows has an error of its own; values of several types are JSON."""
    (folder / "a.csv").write_text("path,label\n")
    with pytest.raises(EmptyDatasetError):
        ManifestSource(folder / "a.csv")
    rows = [{"path": "a/1.jpg", "x": 1}, {"path": "b/3.jpg", "x": "two"}]
    (folder / "b.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = ManifestSource(folder / "b.jsonl")
    assert source.field_types["x"].content == "json"
    assert [source[n]["x"] for n in range(2)] == [1, "two"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["7", "-12", "0"], [7, -12, 0]),
        (["0.5", "-2", "1e3", ".25"], [0.5, -2.0, 1000.0, 0.25]),
        (["0.5", "nan"], "[0.5, nan]"),
        (["007", "012"], None),
        (["01", "2"], None),
        (["2012_0001", "2013_0002"], None),
        (["nan", "inf"], None),
        (["12345678901234567890", "1"], None),
        (["1" * 5000, "1"], None),
        (["1", ""], None),
        (["٣", "1"], None),
    ],
)
def test_what_is_a_number_in_csv(folder: Path, texts: list[str], expected: Any) -> None:
    """Texts that would lose something as numbers stay texts, and so do labels."""
    rows = [f"a/1.jpg,{text},{text}" for text in texts]
    (folder / "n.csv").write_text("\n".join(["path,label,x", *rows]), encoding="utf-8")
    source = ManifestSource(folder / "n.csv")
    found = [source[n]["x"] for n in range(len(texts))]
    if expected is None:
        assert found == texts
        assert source.classes == sorted(texts)
    else:
        assert str(found) == str(expected)
        assert source.classes == []


def test_unusual_separators_do_not_end_a_line_of_json(folder: Path) -> None:
    """Only line feeds do; with or without a carriage return."""
    row = {"path": "a/1.jpg", "text": "one\u2028two\x85three"}
    text = "\r\n".join([json.dumps(row, ensure_ascii=False)] * 2)
    (folder / "u.jsonl").write_text(text, encoding="utf-8", newline="")
    assert ManifestSource(folder / "u.jsonl")[1]["text"] == row["text"]


def test_other_files_are_another_content(folder: Path) -> None:
    """Also where the list has a column ``path`` of its own, and the files are of one size."""
    (folder / "b/3.jpg").write_bytes((folder / "a/1.jpg").read_bytes()[:-2] + b"\xff\xd8")
    prints = set()
    for name in ("a/1.jpg", "b/3.jpg"):
        (folder / "own.csv").write_text(f"file_name,path\n{name},photo\n")
        prints.add(ManifestSource(folder / "own.csv").fingerprint())
    assert len(prints) == 2


def test_from_s3(folder: Path, s3_bucket: Any) -> None:
    """The list and the images in a bucket; or the images only."""
    url = s3_bucket.put_folder(folder, "data")
    remote = open_source(f"{url}/list.csv")
    assert isinstance(remote, ManifestSource)
    assert remote[1] == ManifestSource(folder / "list.csv")[1]
    assert ManifestSource(folder / "list.csv", root=url)[2]["image"] == jpeg(2)
    (folder / "bad.jsonl").write_text(json.dumps({"path": f"{url}/../../x.jpg"}))
    with pytest.raises(SourceError, match="not below"):
        ManifestSource(folder / "bad.jsonl", root=url)
    (folder / "bad.jsonl").write_text(json.dumps({"path": "none.jpg"}))
    with pytest.raises(SourceError, match=r"none\.jpg"):
        ManifestSource(folder / "bad.jsonl", root=url)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_long_lists_in_little_memory(folder: Path, kind: str) -> None:
    """A row takes little more than its text, however it is read."""
    rows = 20_000
    head = "path,label\n" if kind == "csv" else ""
    line = 'a/1.jpg,"c%d"\n' if kind == "csv" else '{"path": "a/1.jpg", "label": "c%d"}\n'
    text = head + "".join(line % (number // 100) for number in range(rows))
    (folder / f"long.{kind}").write_text(text)
    tracemalloc.start()
    source = ManifestSource(folder / f"long.{kind}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(source) == rows
    assert source.classes[source[rows - 1]["label"]] == "c199"
    assert peak < 300 * rows + 6 * (1 << 20)  # buffers, and futures of the files at once


@pytest.mark.parametrize("text", [r"\udc00", r"\ud800", r"\udcc3\udca9", r"\udcff", "é", "日本"])
def test_texts_come_back_as_they_were(folder: Path, text: str) -> None:
    """Also those that are no names of files."""
    lines = [f'{{"path": "a/1.jpg", "note": "{note}"}}' for note in ("x", text)]
    (folder / "odd.jsonl").write_text("\n".join(lines), encoding="utf-8")
    note = ManifestSource(folder / "odd.jsonl")._table["note"][1]
    assert note == json.loads(f'"{text}"')


def test_lists_that_would_fill_the_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line without an end, and a table of a few bytes with any number of rows."""
    monkeypatch.setattr(manifest_rows, "_MAX_LINE", 1000)
    monkeypatch.setattr(manifest_rows, "_MAX_ROWS", 1000)
    monkeypatch.setattr(parquet_pages, "_MAX_PAGE_BYTES", 1 << 20)
    (folder / "a.csv").write_text("path\n" + "a" * 2000)
    (folder / "a.jsonl").write_text('{"path": "' + "a" * 2000)
    for name in ("a.csv", "a.jsonl"):
        with pytest.raises(SourceError, match=r"a line has 1,000 characters or more"):
            ManifestSource(folder / name)
    pq.write_table(pa.table({"path": ["a/1.jpg"] * 1001}), folder / "rows.parquet")
    with pytest.raises(SourceError, match=r"rows\.parquet .* 1,001 rows; at most 1,000"):
        ManifestSource(folder / "rows.parquet")
    long = pa.table({"path": ["a/1.jpg"], "note": ["x" * (2 << 20)]})
    pq.write_table(long, folder / "page.parquet", use_dictionary=False)
    with pytest.raises(SourceError, match=r"page\.parquet .* pages unpack to"):
        ManifestSource(folder / "page.parquet")
