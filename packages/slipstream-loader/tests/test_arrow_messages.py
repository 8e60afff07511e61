"""Batches of Arrow data are looked at before they are unpacked."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from slipstream_cache import CacheError
from slipstream_loader.errors import SampleReadError, SourceError
from slipstream_loader.sources import TableSource, arrow_file
from slipstream_loader.sources.arrow_messages import batch_facts, batch_places

pytestmark = pytest.mark.timeout(120)

MIB = 1 << 20


def written(path: Path, table: pa.Table, form: str, compression: str | None, rows: int = 2) -> Path:
    """A file or a stream of batches of so many rows."""
    create = pa.ipc.new_file if form == "file" else pa.ipc.new_stream
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with create(str(path), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    """All samples of a file."""
    source = TableSource(path)
    return [source[index] for index in range(len(source))]


@pytest.mark.parametrize("compression", ["zstd", "lz4", None])
def test_as_pyarrow_tells_it(compression: str | None, tmp_path: Path) -> None:
    """Rows and unpacked bytes of each batch and dictionary."""
    words = pa.array(["a" * 3000, "b", "b", None, "a" * 3000]).dictionary_encode()
    columns = {"data": [b"x" * 5000, None, b"", b"y" * 100, b"z"], "word": words, "n": range(5)}
    table = pa.table(columns)
    path = written(tmp_path / "a.arrow", table, "file", compression)
    file = pa.memory_map(str(path)).read_buffer()
    dictionaries, batches = (
        [batch_facts(pa.ipc.read_message(file.slice(place))) for place in places]
        for places in batch_places(memoryview(file))
    )
    assert [batch.num_rows for batch in batches] == [2, 2, 1]
    assert [batch.num_rows for batch in dictionaries] == [2]
    if compression is None:
        assert not any(batch.num_bytes for batch in batches + dictionaries)
        return
    assert 3000 < dictionaries[0].num_bytes < 3100
    assert 5000 < batches[0].num_bytes < 5200
    assert 100 < batches[1].num_bytes < 200
    stream = written(tmp_path / "b.arrow", table, "stream", compression)
    messages = list(pa.ipc.MessageReader.open_stream(pa.memory_map(str(stream))))
    facts = [batch_facts(message) for message in messages if message.type != "schema"]
    assert facts == dictionaries + batches
    assert [batch.body_bytes for batch in batches] == [m.body.size for m in messages[2:]]


@pytest.mark.parametrize("form", ["file", "stream"])
@pytest.mark.parametrize("column", ["bytes", "dictionary"])
def test_bombs(form: str, column: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a few kilobytes end in an error that names the file, and take no memory."""
    monkeypatch.setattr(arrow_file, "_MAX_BATCH_BYTES", 5 * MIB)
    monkeypatch.setattr(arrow_file, "_MAX_STREAM_BYTES", 5 * MIB)
    values = pa.array([bytes(3 * MIB), b"x", bytes(6 * MIB)])
    table = pa.table({"a": values.dictionary_encode() if column == "dictionary" else values})
    path = written(tmp_path / "a.arrow", table, form, "zstd")
    del values, table
    before = pa.default_memory_pool().bytes_allocated()
    with pytest.raises(SourceError, match=r"a\.arrow: .* 9,437,\d+ bytes|batch 1 .* 6,291,\d+ b"):
        TableSource(path)
    assert pa.default_memory_pool().bytes_allocated() - before < MIB


@pytest.mark.parametrize("kind", ["dictionary", "view"])
def test_values_that_are_repeated(kind: str, tmp_path: Path) -> None:
    """By many rows of a small file take the memory of one."""
    words = pa.DictionaryArray.from_arrays(pa.array([0, 1, None] * 21), ["x" * MIB, "y"])
    if kind == "view":
        words = words.dictionary_decode().cast(pa.string_view())
    path = written(tmp_path / "a.arrow", pa.table({"a": words}), "file", None, rows=63)
    del words
    tracemalloc.start()
    before = pa.default_memory_pool().bytes_allocated()
    samples = TableSource(path)
    assert [samples[row]["a"][:1] for row in (0, 1, 60)] == ["x", "y", "x"]
    held = tracemalloc.get_traced_memory()[1] + pa.default_memory_pool().bytes_allocated() - before
    tracemalloc.stop()
    assert held < 8 * MIB


@pytest.mark.parametrize("form", ["file", "stream"])
def test_any_changed_byte(form: str, tmp_path: Path) -> None:
    """Samples or our errors, at once; the process goes on."""
    path = tmp_path / "a.arrow"
    table = pa.table({"a": [b"x" * 400, b"y"], "b": pa.array(["k", "k"]).dictionary_encode()})
    data = written(path, table, form, "zstd").read_bytes()
    told = 0
    for place in range(0, len(data), 2):
        for bits in (1, 0x80, 0xFF):
            path.write_bytes(data[:place] + bytes([data[place] ^ bits]) + data[place + 1 :])
            try:
                read(path)
            except (SourceError, SampleReadError, CacheError):
                told += 1
    assert told > 100
