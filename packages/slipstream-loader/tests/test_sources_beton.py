"""Files of FFCV as sources: what is served, and what becomes of damaged and hostile ones."""

from __future__ import annotations

import gzip
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slipstream_cache import SampleCache, SourceReadError, StorageOptions, concatenate, subset
from slipstream_cache.source import is_sequential
from slipstream_loader import (
    BetonSource,
    ExportError,
    FFCVFileReader,
    SequenceSource,
    SlipstreamDataset,
    export_beton,
    prepare_cache,
)
from slipstream_loader.errors import EmptyDatasetError, SampleReadError, SourceError
from slipstream_loader.exports import beton as beton_export
from slipstream_loader.sources import neighbouring_reads, open_source
from slipstream_loader.sources.beton_layout import (
    ALLOCATION,
    ARRAY_ARGUMENTS,
    FIELD,
    HEADER,
    row_type,
)

pytestmark = pytest.mark.timeout(120)

KINDS = ["rgb", "int", "json", "bytes"]
ROW = row_type(KINDS)  # type: ignore[arg-type]
Change = Callable[["Parts"], None]


def jpeg(seed: int, height: int = 20, width: int = 24) -> bytes:
    """A JPEG file of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def samples(count: int = 6) -> list[dict[str, Any]]:
    return [
        {
            "image": jpeg(n),
            "label": n - 2,
            "extra": {"n": [n, None, "ü"]},
            "blob": bytes(range(n)),
        }
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> SampleCache:
    """A cache with a field of several kinds."""
    return prepare_cache(SlipstreamDataset(samples(), cache_dir=tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def written(cache: SampleCache, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The cache as a file."""
    path = tmp_path_factory.mktemp("beton") / "a.beton"
    return export_beton(cache, path, verbose=False).read_bytes()


class Parts:
    """A file taken apart, to be changed and put together again."""

    def __init__(self, data: bytes) -> None:
        self.header = np.frombuffer(data[: HEADER.itemsize], HEADER).copy()
        count = int(self.header["num_fields"][0])
        begin = HEADER.itemsize + count * FIELD.itemsize
        self.fields = np.frombuffer(data[HEADER.itemsize : begin], FIELD).copy()
        end = begin + int(self.header["num_samples"][0]) * ROW.itemsize
        self.rows = np.frombuffer(data[begin:end], ROW).copy()
        table = int(self.header["alloc_table_ptr"][0])
        self.middle = data[end:table]
        self.table = np.frombuffer(data[table:], ALLOCATION).copy()
        self.tail = b""

    def join(self) -> bytes:
        parts = (self.header, self.fields, self.rows)
        tables = b"".join(part.tobytes() for part in parts)
        return tables + self.middle + self.table.tobytes() + self.tail


def test_values_come_back_and_pickles_work(
    cache: SampleCache, written: bytes, tmp_path: Path
) -> None:
    """What was exported is read again, also by a source that was pickled, under either ending."""
    (tmp_path / "a.ffcv").write_bytes(written)
    source = open_source(tmp_path / "a.ffcv")
    assert isinstance(source, BetonSource)
    again = pickle.loads(pickle.dumps(source))
    for number, sample in enumerate(samples()):
        assert source[number] == sample == again[number]
    assert source.fingerprint() == again.fingerprint()
    with pytest.raises(IndexError):
        source[len(source)]


def test_the_fingerprint_tells_contents_apart(written: bytes, tmp_path: Path) -> None:
    """Another name is the same content; another label or another pixel of equal size is not."""
    names = {}
    for name in ("one", "two", "label", "pixel"):
        parts = Parts(written)
        if name == "label":
            parts.rows["f1"][3] += 1
        data = bytearray(parts.join())
        if name == "pixel":
            data[int(parts.rows["f0"]["ptr"][0]) + 200] ^= 1
        (tmp_path / f"{name}.beton").write_bytes(data)
        names[name] = BetonSource(tmp_path / f"{name}.beton").fingerprint()
    assert names["one"] == names["two"]
    assert len(set(names.values())) == 3


def change(path: str, value: Any, at: int = 0) -> Change:
    """Set one number of a table; the path is ``table.column`` or ``rows.f0.ptr``."""

    def apply(parts: Parts) -> None:
        table, *columns = path.split(".")
        array = getattr(parts, table)
        for column in columns:
            array = array[column]
        array[at] = value

    return apply


def set_tail(parts: Parts) -> None:
    parts.tail = b"1234567"


def drop_allocations(parts: Parts) -> None:
    parts.table = parts.table[:2]


def as_array_of(code: str, shape: tuple[int, ...] = (1,)) -> Change:
    """Make the first field one of arrays."""

    def apply(parts: Parts) -> None:
        arguments = np.zeros(1, ARRAY_ARGUMENTS)
        arguments["shape"][0][: len(shape)] = shape
        text = json.dumps([["", code]]).encode()
        arguments["type_length"] = len(text)
        parts.fields["type_id"][0] = 4
        parts.fields["arguments"][0] = arguments.tobytes() + text

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change("header.version", 3), "version 3"),
        (change("header.num_fields", 0), "0 fields"),
        (change("header.num_fields", 65535), "65535 fields"),
        (change("header.alloc_table_ptr", 0), "unfinished"),
        (change("header.alloc_table_ptr", 1 << 63), "cut off"),
        (change("header.alloc_table_ptr", 1000), "do not fit"),
        (change("header.num_samples", 1 << 62), "do not fit"),
        (change("header.num_samples", 3), "for sample 3 of 3"),
        (change("fields.type_id", 9), "type 9"),
        (change("fields.name", b"\xff"), "ASCII"),
        (change("fields.name", b"label"), "one name"),
        (change("fields.name", b"../../etc"), "etc"),
        (change("fields.type_id", 4), "dtype"),
        (as_array_of("<i8,"), "dtype"),
        (as_array_of("|O"), "object"),
        (as_array_of("<i8", (1 << 40, 1 << 40)), "shape"),
        (change("table.ptr", (1 << 64) - 8), "allocation table names"),
        (change("table.ptr", 0), "allocation table names"),
        (change("table.size", 1 << 60), "allocation table names"),
        (change("table.sample_id", 1 << 40), "allocation table names"),
        (set_tail, "cut off"),
        (drop_allocations, "cut off"),
    ],
)
def test_damaged_tables_are_refused(
    written: bytes, tmp_path: Path, damage: Change, message: str
) -> None:
    """A file whose tables are cut off, inconsistent or hostile is an error that says what."""
    parts = Parts(written)
    damage(parts)
    path = tmp_path / "bad.beton"
    path.write_bytes(parts.join())
    with pytest.raises(SourceError, match=message):
        BetonSource(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change("rows.f0.ptr", 12, 1), "allocation table has nothing"),
        (change("rows.f0.ptr", 1 << 63, 1), "allocation table has nothing"),
        (change("rows.f0.mode", 7, 1), "mode 7"),
        (change("rows.f0.mode", 1, 1), r"pixels in \d+ bytes"),
        (change("rows.f2.size", 3, 1), "3 bytes"),
        (change("rows.f3.size", 1 << 50, 1), "bytes"),
    ],
)
def test_one_damaged_sample_is_named(
    written: bytes, tmp_path: Path, damage: Change, message: str
) -> None:
    """Others are served; a build tries all and names the bad one."""
    parts = Parts(written)
    damage(parts)
    path = tmp_path / "bad.beton"
    path.write_bytes(parts.join())
    source = BetonSource(path)
    assert source[0] == samples()[0]
    assert source[5] == samples()[5]
    with pytest.raises(SampleReadError, match=rf"bad\.beton\[1\].*{message}"):
        source[1]
    with pytest.raises(SourceReadError) as caught:
        prepare_cache(SlipstreamDataset(path, cache_dir=tmp_path / "caches"))
    assert caught.value.sample_ids == [1]


def test_another_samples_payload_is_never_served(written: bytes, tmp_path: Path) -> None:
    """A place that belongs to another sample is an error."""
    parts = Parts(written)
    parts.rows["f0"]["ptr"][1] = parts.rows["f0"]["ptr"][2]
    (tmp_path / "a.beton").write_bytes(parts.join())
    with pytest.raises(SampleReadError, match="allocation table has nothing"):
        BetonSource(tmp_path / "a.beton")[1]


@pytest.mark.parametrize("keep", [0, 10, 24, 2000, 9000, -24, -1])
def test_files_that_were_cut_off(written: bytes, tmp_path: Path, keep: int) -> None:
    """At any place."""
    (tmp_path / "a.beton").write_bytes(written[:keep])
    with pytest.raises(SourceError):
        BetonSource(tmp_path / "a.beton")


def test_json_that_is_none(written: bytes, tmp_path: Path) -> None:
    """Wrong or endlessly nested JSON is an error of its sample."""
    parts = Parts(written)
    place = int(parts.rows["f2"]["ptr"][1])
    data = bytearray(parts.join())
    data[place : place + 4] = b"[[[["
    (tmp_path / "a.beton").write_bytes(data)
    with pytest.raises(SampleReadError, match="no JSON"):
        BetonSource(tmp_path / "a.beton")[1]


def test_custom_types(written: bytes, tmp_path: Path) -> None:
    """They are told from the file or by the user; what does not fit is an error."""
    parts = Parts(written)
    parts.fields["type_id"][[0, 3]] = 255
    path = tmp_path / "a.beton"
    path.write_bytes(parts.join())
    with pytest.raises(SourceError, match="custom_fields="):
        BetonSource(path)  # two fields of different kinds are not told apart
    source = BetonSource(path, custom_fields={"blob": "bytes"})
    assert [source[n] for n in range(6)] == samples()
    with pytest.raises(SourceError, match="'label'"):
        BetonSource(path, custom_fields={"label": "int"})
    parts = Parts(written)
    parts.fields["type_id"][1] = 255
    path.write_bytes(parts.join())
    with pytest.raises(SourceError, match="custom_fields="):
        BetonSource(path)
    whole = BetonSource(path, custom_fields={"label": "int"})
    assert whole[0]["label"] == -2
    assert whole.fingerprint() != BetonSource(path, custom_fields={"label": "float"}).fingerprint()


def test_from_s3(written: bytes, tmp_path: Path, s3_bucket: Any, monkeypatch: Any) -> None:
    """A file in a bucket gives the same samples, fingerprint and cache as the local one."""
    monkeypatch.setattr(neighbouring_reads, "_BLOCK_BYTES", 1 << 12)
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="a/b.ffcv", Body=written)
    (tmp_path / "a.beton").write_bytes(written)
    remote = SlipstreamDataset(f"{s3_bucket.url}/a/b.ffcv", cache_dir=tmp_path)
    local = SlipstreamDataset(tmp_path / "a.beton", cache_dir=tmp_path)
    url, options = f"{s3_bucket.url}/a/b.ffcv", {"region_name": "us-east-1"}
    assert FFCVFileReader(url, storage_options=options)[2] == samples()[2]
    assert [remote[n] for n in (4, 0, 1, 2, 3, 5)] == [samples()[n] for n in (4, 0, 1, 2, 3, 5)]
    assert remote.cache_path == local.cache_path
    assert is_sequential(remote.source) == is_sequential(local.source)  # so the parts are the same
    cache = prepare_cache(remote)
    assert [cache[n] for n in range(6)] == samples()


def test_the_old_name(written: bytes, tmp_path: Path) -> None:
    """``FFCVFileReader`` takes a file of any name, and checks its image field."""
    (tmp_path / "data").write_bytes(written)
    reader = FFCVFileReader(tmp_path / "data", cache_dir=tmp_path, decode_images=True)
    assert reader[1]["image"].size == (24, 20)
    (tmp_path / "a.ffcv").write_bytes(written)
    with pytest.raises(SourceError, match="no version"):
        SlipstreamDataset(tmp_path / "a.ffcv", expected_version="1")
    with pytest.raises(SourceError, match="photo"):
        FFCVFileReader(tmp_path / "data", image_field="photo")


def test_no_samples(written: bytes, tmp_path: Path) -> None:
    """A file without samples is an error of its own."""
    parts = Parts(written)
    parts.header["num_samples"], parts.table = 0, parts.table[:0]
    (tmp_path / "a.beton").write_bytes(parts.join())
    with pytest.raises(EmptyDatasetError):
        BetonSource(tmp_path / "a.beton")


def test_exports_of_views_and_of_all_codecs(tmp_path: Path) -> None:
    """Pixels, planes and shrunk images are exported as pixels; numbers of any type fit."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (9, 11, 3), dtype=np.uint8) for _ in range(3)]
    rows = [
        {
            "image": Image.fromarray(picture),
            "flag": bool(n % 2),
            "half": np.float16(n / 2),
            "time": np.datetime64(n, "s"),
            "grid": np.full((2, 2), n, np.int8),
            "text": f"ü{n}",
        }
        for n, picture in enumerate(pictures)
    ]
    options = StorageOptions(codec="rgb")
    cache = prepare_cache(SlipstreamDataset(rows, cache_dir=tmp_path, storage_options=options))
    view = concatenate([subset(cache, [2, 0]), cache])
    source = BetonSource(export_beton(view, tmp_path / "a.beton", verbose=False))
    for number, row in enumerate([2, 0, 0, 1, 2]):
        found = source[number]
        assert (np.asarray(Image.open(io.BytesIO(found["image"]))) == pictures[row]).all()
        assert (found["flag"], found["half"], found["text"]) == (row % 2, row / 2, f"ü{row}")
        assert found["time"] == np.datetime64(row, "s")
        assert (found["grid"] == row).all()
        assert found["grid"].dtype == np.int8


def test_what_cannot_be_exported(cache: SampleCache, tmp_path: Path) -> None:
    """Long names, unreadable images and existing files are refused; nothing is left behind."""
    rows = [{"image": b"\xff\xd8\xffno image", "a_name_of_17_chars": 1}]
    bad = prepare_cache(SlipstreamDataset(SequenceSource(rows), cache_dir=tmp_path / "caches"))
    with pytest.raises(ExportError, match=r"unreadable \(samples 0\)"):
        export_beton(bad, tmp_path / "a.beton")
    with pytest.raises(ExportError, match="16 ASCII"):
        export_beton(bad, tmp_path / "a.beton", fields=["a_name_of_17_chars"])
    big = prepare_cache(SlipstreamDataset([{"n": np.uint64(1 << 63)}], cache_dir=tmp_path / "c"))
    with pytest.raises(ExportError, match="sample 0"):
        export_beton(big, tmp_path / "a.beton")
    assert not list(tmp_path.glob("*a.beton*"))
    (tmp_path / "a.beton").write_text("mine")
    with pytest.raises(ExportError, match="exists"):
        export_beton(cache, tmp_path / "a.beton")
    assert (tmp_path / "a.beton").read_text() == "mine"


def test_golden_pages_are_what_gzip_says() -> None:
    """The compressed golden files stay small."""
    folder = Path(__file__).parents[3] / "integration_tests/old_ffcv/golden"
    if not folder.is_dir():
        pytest.skip("the golden files are not beside this package")
    for path in folder.glob("*.gz"):
        assert path.stat().st_size < 100_000
        assert len(gzip.decompress(path.read_bytes())) < 32 << 20


def test_the_command(cache: SampleCache, tmp_path: Path) -> None:
    """``slipstream export --beton`` writes the fields that are named."""
    from typer.testing import CliRunner

    from slipstream_loader.cli import app

    target = tmp_path / "a.beton"
    arguments = ["export", str(cache.cache_dir), "--beton", str(target), "--field", "label"]
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 0, run.output
    assert "6 samples" in run.output
    source = BetonSource(target)
    assert [source[n] for n in range(6)] == [{"label": n - 2} for n in range(6)]
    assert CliRunner().invoke(app, ["export", str(cache.cache_dir)]).exit_code == 2


def test_any_damage_is_an_error_that_is_told(
    cache: SampleCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes of tables changed at random: samples, or errors of the file or of samples."""
    monkeypatch.setattr(beton_export, "_PAGE_BYTES", 1 << 12)
    data = export_beton(cache, tmp_path / "a.beton", verbose=False).read_bytes()
    table = int(np.frombuffer(data[: HEADER.itemsize], HEADER)["alloc_table_ptr"][0])
    fields_end = HEADER.itemsize + len(KINDS) * FIELD.itemsize
    rows_end = fields_end + len(cache) * ROW.itemsize
    places = [*range(60), *range(fields_end, rows_end), *range(table, len(data))]
    rng = np.random.default_rng(7)
    told = 0
    for _ in range(300):
        damaged = bytearray(data)
        for place in rng.choice(places, 2):
            damaged[place] = rng.integers(256)
        (tmp_path / "b.beton").write_bytes(damaged)
        try:
            source = BetonSource(tmp_path / "b.beton")
        except SourceError:
            told += 1
            continue
        for number in range(len(source)):
            try:
                source[number]
            except SampleReadError:
                told += 1
    assert told > 100
