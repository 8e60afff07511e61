"""Pages of parquet files are looked at before they are unpacked."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slipstream_cache import CacheError
from slipstream_loader.errors import SampleReadError, SourceError
from slipstream_loader.sources import TableSource, parquet_pages
from slipstream_loader.sources.thrift_compact import CompactReader

pytestmark = pytest.mark.timeout(120)

MIB = 1 << 20


def written(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    """A file without dictionaries, packed by zstd, unless options say otherwise."""
    pq.write_table(
        pa.table(columns), path, **{"use_dictionary": False, "compression": "zstd"} | options
    )
    return path


def packed_lists(num_values: int) -> pa.Array:
    """A row of so many equal numbers, and three short ones."""
    values = pa.array([7] * (num_values + 3), pa.int32())
    return pa.ListArray.from_arrays([0, num_values, *range(num_values + 1, num_values + 4)], values)


BOMBS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a page": ({"a": [bytes(2 * MIB)] * 5, "n": range(5)}, {}, "its pages unpack to 10,48"),
    "pages of columns": (
        {f"c{n}": [bytes(2 * MIB), b""] for n in range(5)},
        {},
        "its pages unpack to",
    ),
    "a second page": ({"a": [b"x"] * 1024 + [bytes(9 * MIB)]}, {"data_page_size": 1}, "its pages"),
    "lists": (
        {"a": packed_lists(2 * MIB + 5)},
        {"use_dictionary": True},
        "its pages unpack to 8,3",
    ),
    "long rows": ({"a": packed_lists(9 * MIB)}, {"use_dictionary": True}, "for each of its rows"),
    "a dictionary": (
        {"a": [bytes(6 * MIB), *[b"y"] * 400]},
        {"use_dictionary": True, "dictionary_pagesize_limit": 64 * MIB},
        "a dictionary unpacks to 6,291,",
    ),
}


@pytest.mark.parametrize("form", ["1.0", "2.0"])
@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a few kilobytes end in an error that names the file, and take no memory."""
    columns, options, message = BOMBS[name]
    monkeypatch.setattr(parquet_pages, "_MAX_PAGE_BYTES", 8 * MIB)
    monkeypatch.setattr("slipstream_loader.sources.parquet_file._MAX_ROW_BYTES", 8 * MIB)
    monkeypatch.setattr(parquet_pages, "REPEATED_BYTES", 256 * MIB)
    path = written(tmp_path / "a.parquet", columns, data_page_version=form, **options)
    assert path.stat().st_size < 100_000
    del columns
    before = pa.default_memory_pool().bytes_allocated()
    with pytest.raises(
        (SourceError, SampleReadError), match=rf"a\.parquet: .*row group 0.* {message}"
    ):
        read(path)
    assert pa.default_memory_pool().bytes_allocated() - before < 8 * MIB


def read(path: Path) -> list[dict[str, Any]]:
    """All samples of a file."""
    source = TableSource(path)
    return [source[index] for index in range(len(source))]


def numbers(name: str) -> pa.Array:
    """Columns whose dictionaries say nothing of how long a row may be."""
    rows = np.arange(200_000)
    words = pa.array([f"class {row % 1000:06}" for row in rows.tolist()])
    return {
        "integers": pa.array(rows % 1000),
        "floats": pa.array((rows % 777) / 7),
        "lists": pa.FixedSizeListArray.from_arrays(pa.array((rows % 99) / 3), 100),
        "fixed bytes": words.cast(pa.binary(12)),
        "text": words,
    }[name]


@pytest.mark.parametrize("form", ["1.0", "2.0"])
@pytest.mark.parametrize("name", ["integers", "floats", "lists", "fixed bytes", "text"])
def test_dictionaries_as_files_have_them(name: str, form: str, tmp_path: Path) -> None:
    """Are read, whatever their type, beside others."""
    values = numbers(name)
    columns = {"a": values, "b": values, "n": range(len(values))}
    path = written(tmp_path / "a.parquet", columns, use_dictionary=True, data_page_version=form)
    source = TableSource(path)
    for row in (0, len(values) // 2 + 3, len(values) - 1):
        assert source[row]["n"] == row
        assert np.array_equal(source[row]["a"], values[row].as_py())


def test_photos_in_dictionaries(tmp_path: Path) -> None:
    """As pyarrow writes them unless it is told otherwise: are read several at a time."""
    photos = [random.Random(number).randbytes(20_000) for number in range(100)]
    path = written(tmp_path / "a.parquet", {"a": 9 * photos}, use_dictionary=True)
    source = TableSource(path)
    assert source._layout.firsts[1] == 16
    assert [source[index]["a"] for index in range(900)] == 9 * photos


def test_large_pages_of_data_that_is_hardly_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of photos in row groups of many rows are read, up to a limit of their own."""
    monkeypatch.setattr(parquet_pages, "_MAX_PAGE_BYTES", MIB)
    photos = [random.Random(number).randbytes(MIB // 8) for number in range(24)]
    path = written(tmp_path / "a.parquet", {"a": photos})
    assert [sample["a"] for sample in read(path)] == photos
    monkeypatch.setattr(parquet_pages, "_MAX_PLAIN_BYTES", 2 * MIB)
    with pytest.raises(SourceError, match="its pages unpack to 3,1"):
        read(path)


def test_rows_of_numbers_are_counted_by_their_type(tmp_path: Path) -> None:
    """A volume of 256 x 256 x 256 bytes in a list takes four bytes for each, not more."""
    volume = pa.FixedSizeListArray.from_arrays(np.zeros(256**3, np.uint8), 256**3)
    path = written(tmp_path / "a.parquet", {"volume": volume, "n": [5]})
    assert TableSource(path)[0]["volume"].shape == (256**3,)


@pytest.mark.parametrize("header_bytes", [1, 16, 4096])
def test_headers_across_reads(
    header_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Headers that a read cuts off are read on; many pages, several columns and row groups."""
    monkeypatch.setattr(parquet_pages, "_HEADER_BYTES", header_bytes)
    rng = random.Random(3)
    rows = [rng.randbytes(rng.randrange(40_000)) for _ in range(300)]
    columns = {"data": rows, "n": range(300), "list": [[n, 2 * n] for n in range(300)]}
    options = {"data_page_size": 1000, "write_batch_size": 7, "row_group_size": 90}
    path = written(tmp_path / "a.parquet", columns, write_page_checksum=True, **options)
    samples = read(path)
    assert [sample["data"] for sample in samples] == rows
    assert [sample["list"] for sample in samples] == columns["list"]


def test_any_changed_byte(tmp_path: Path) -> None:
    """Of the headers of pages: samples or our errors, at once; the process goes on."""
    path = tmp_path / "a.parquet"
    data = written(path, {"a": [b"x" * 40, b"yy"], "b": [[1], [2, 3]]}).read_bytes()
    footer = len(data) - int.from_bytes(data[-8:-4], "little") - 8
    told = 0
    for place in range(4, footer):
        for bits in (1, 0x10, 0x80, 0xFF):
            path.write_bytes(data[:place] + bytes([data[place] ^ bits]) + data[place + 1 :])
            try:
                read(path)
            except (SourceError, SampleReadError, CacheError):
                told += 1
    assert told > footer


@pytest.mark.parametrize(
    "data",
    [
        b"\x19\xf7" + b"\xff" * 8 + b"\x7f",  # a list of 2**63 doubles
        b"\x1b" + b"\xff" * 8 + b"\x7f\x77" + b"\0" * 40,  # a map of as many
        b"\x16" + b"\xff" * 2_000_000,  # a number without an end
        b"\x18" + b"\xff" * 8 + b"\x7f",  # bytes outside of the data
        b"\x1c" * 100_000,  # structures in structures
    ],
)
def test_values_that_claim_too_much(data: bytes) -> None:
    """End in an error at once, whatever size they tell."""
    with pytest.raises((IndexError, TypeError, RecursionError)):
        CompactReader(data, 0).struct({})


def test_more_files_than_a_process_opens(tmp_path: Path) -> None:
    """A table may have any number of files: they are closed when they were looked at."""
    resource = pytest.importorskip("resource")
    for number in range(60):
        written(tmp_path / f"{number:03}.parquet", {"n": [number]})
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_descriptor() + 20, limits[1]))
    try:
        samples = read(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert [sample["n"] for sample in samples] == list(range(60))


def lowest_descriptor() -> int:
    """The number that the next open file gets."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor
