"""Damaged and hostile LitData data sets: a clear error, no code run, no way out."""

from __future__ import annotations

import json
import os
import pickle
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from slipstream_cache.errors import FieldTypeError, SourceReadError
from slipstream_loader.dataset import SlipstreamDataset
from slipstream_loader.errors import EmptyDatasetError, SampleReadError, SourceError
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.sources.litdata import LitDataSource, arrow_columns, arrow_rows, items
from slipstream_loader.sources.litdata.arrow_columns import BatchColumns
from slipstream_loader.sources.litdata.leaves import leaf_kind
from slipstream_loader.sources.litdata.nested import load_nested
from slipstream_loader.sources.litdata.pickles import load_scalar
from slipstream_loader.sources.litdata.ranges import FileRanges
from slipstream_loader.sources.litdata.zstd import unpack, unpack_blocks

pytestmark = pytest.mark.timeout(120)

ROWS = [{"data": b"\0%d" % i * 9, "label": i, "meta": {"a": [i, 1]}} for i in range(12)]
ITEMS = [{"data": b"\0%d" % i * 9, "vector": np.arange(3) * i} for i in range(12)]
LAYOUTS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "rows": (ROWS, {}),
    "packed rows": (
        [{"text": "abc " * 50, "label": i} for i in range(12)],
        {"compression": "zstd"},
    ),
    "items": (ITEMS, {}),
    "frames": (ITEMS, {"compression": "zstd", "compression_batch_size": 3}),
    "packed items": (ITEMS, {"compression": "zstd", "compression_level": "sample"}),
    "packed files": (ITEMS, {"compression": "zstd", "compression_level": "chunk"}),
}


def write(folder: Path, samples: list[Any], **options: Any) -> Path:
    """Write one chunk of all samples; another folder beside it where there is one already."""
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(cache_dir=str(folder), **{"chunk_size": len(samples), **options})
    for number, sample in enumerate(samples):
        writer.add_item(number, sample)
    writer.done()
    writer.merge()
    return folder


def change_index(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "index.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def set_size(folder: Path) -> None:
    """Make the index agree with the size of the only chunk, so that its content is looked at."""
    (chunk,) = folder.glob("chunk*")
    change_index(folder, lambda index: index["chunks"][0].update(chunk_bytes=chunk.stat().st_size))


def damage(folder: Path, offset: int, data: bytes) -> None:
    """Write over some bytes of the only chunk."""
    (chunk,) = folder.glob("chunk*")
    content = bytearray(chunk.read_bytes())
    content[offset : offset + len(data)] = data
    chunk.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index: index["chunks"][0].update(filename="../../secret.bin"), "not the name of a"),
        (lambda index: index["chunks"][0].update(filename="/etc/passwd"), "not the name of a file"),
        (lambda index: index["chunks"][0].update(filename="a\\b.bin"), "not the name of a file"),
        (lambda index: index["chunks"][0].update(filename="a\0b"), "not the name of a file"),
        (lambda index: index["chunks"][0].update(filename=7), "not the name of a file"),
        (lambda index: index["chunks"][0].update(chunk_size=-3), "chunk_size is -3"),
        (lambda index: index["chunks"][0].update(chunk_size=1 << 63), "cannot be right"),
        (lambda index: index["chunks"][0].update(chunk_size=True), "chunk_size is True"),
        (lambda index: index["chunks"][0].update(chunk_bytes="9"), "chunk_bytes '9'"),
        (lambda index: index["chunks"].append([]), "chunk 1 is no object"),
        (lambda index: index.update(chunks={}), "chunks is no list"),
        (lambda index: index.update(config=None), "no chunks and config"),
        (lambda index: index["config"].update(data_format=None), "data_format is None"),
        (lambda index: index["config"].update(data_format=["int", 5]), "data_format is"),
        (lambda index: index["config"].update(encryption={"algorithm": "fernet"}), "encrypted"),
        (lambda index: index["config"].update(data_format=["bytes"]), "data_spec"),
        (lambda index: index["config"].update(data_format=["no_header_numpy:14"] * 3), "dtype"),
        (lambda index: index["chunks"][0].update(chunk_size=5), "the index says 5"),
    ],
)
def test_wrong_indexes(change: Any, message: str, tmp_path: Path) -> None:
    """Each is told; no name leads out of the data set."""
    write(tmp_path, ROWS)
    change_index(tmp_path, change)
    with pytest.raises(SourceError, match=message):
        SlipstreamDataset(tmp_path)


def test_no_samples(tmp_path: Path) -> None:
    """An index without chunks or with empty ones, or that is no JSON."""
    write(tmp_path, ROWS)
    change_index(tmp_path, lambda index: index["chunks"][0].update(chunk_size=0))
    with pytest.raises(EmptyDatasetError, match="no samples"):
        LitDataSource(tmp_path)
    change_index(tmp_path, lambda index: index["chunks"].clear())
    with pytest.raises(EmptyDatasetError, match="no chunks"):
        LitDataSource(tmp_path)
    (tmp_path / "index.json").write_bytes(b"[" * 100_000)
    with pytest.raises(SourceError, match="no JSON"):
        LitDataSource(tmp_path)
    with pytest.raises(SourceError, match=r"no index\.json"):
        LitDataSource(tmp_path / "elsewhere")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_cut_and_any_flipped_byte(layout: str, tmp_path: Path) -> None:
    """Ends in samples or in our error that names the sample, never in another error."""
    samples, options = LAYOUTS[layout]
    folder = write(tmp_path, samples, **options)
    (chunk,) = folder.glob("chunk*")
    whole, index = chunk.read_bytes(), (folder / "index.json").read_bytes()
    rng = np.random.default_rng(0)
    source_of = lambda: LitDataSource(folder, download_dir=tmp_path / "d")  # noqa: E731

    def read_all() -> None:
        try:
            source = source_of()
        except SourceError:
            return
        for number in range(len(source)):
            with suppress(SampleReadError):
                source[number]
        source.close()

    for size in sorted({0, 1, 7, 12, *rng.integers(0, len(whole), 8).tolist()}):
        chunk.write_bytes(whole[:size])
        with pytest.raises(SourceError, match=r"the index says|expected \d+$"):
            source_of()
        if "zstd" not in chunk.name:
            set_size(folder)
            read_all()
        (folder / "index.json").write_bytes(index)
    head = [*range(min(90, len(whole))), *range(max(0, len(whole) - 40), len(whole))]
    for position in [*head, *rng.integers(0, len(whole), 100).tolist()]:
        content = bytearray(whole)
        content[position] ^= int(rng.integers(1, 256))
        chunk.write_bytes(content)
        read_all()


def write_index(folder: Path, num_bytes: int) -> None:
    change_index(folder, lambda index: index["chunks"][0].update(chunk_bytes=num_bytes))


def test_offsets_that_lead_elsewhere(tmp_path: Path) -> None:
    """Into the header, backwards, behind the end; sizes of leaves that do not add up."""
    folder = write(tmp_path, ITEMS)
    for offset in (0, 8, 1 << 31, (1 << 32) - 1):
        damage(folder, 4 + 4 * 5, struct.pack("<I", offset))
        source = LitDataSource(folder)
        with pytest.raises(SampleReadError, match="offset"):
            source[5]
        with pytest.raises(SampleReadError):
            source[4]
        assert source[6]["data"] == ITEMS[6]["data"]
    first = struct.unpack_from("<I", (folder / "chunk-0-0.bin").read_bytes(), 4)[0]
    damage(folder, first, struct.pack("<I", 1 << 30))
    with pytest.raises(SourceError, match="its 2 leaves have"):
        LitDataSource(folder)


def test_bombs(tmp_path: Path) -> None:
    """A frame that unpacks to more than was said is not unpacked, wherever it is."""
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 24))
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 24))
    for frame in (bomb, unsized):
        with pytest.raises(SampleReadError, match="zstd frame"):
            unpack(frame, 1 << 20)
        with pytest.raises(SampleReadError, match="more than 1000 bytes"):
            list(unpack_blocks(Bytes(frame), 1000))
    with pytest.raises(SampleReadError, match="expected 20000000"):
        list(unpack_blocks(Bytes(bomb), 20_000_000))
    folder = write(tmp_path, ITEMS, compression="zstd", compression_level="chunk")
    (folder / "chunk-0-0.zstd.bin").write_bytes(bomb)
    with pytest.raises(SourceError, match="a zstd frame of more than"):
        LitDataSource(folder, download_dir=tmp_path)
    write_index(folder, 1 << 50)
    with pytest.raises(SourceError, match="no chunk is so large"):
        LitDataSource(folder, download_dir=tmp_path)


class Bytes:
    """Bytes as a file."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, num_bytes: int = -1, /) -> bytes:
        taken = self._data if num_bytes < 0 else self._data[:num_bytes]
        self._data = self._data[len(taken) :]
        return taken


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("layout", ["items", "frames", "packed items"])
def test_items_that_would_fill_the_memory(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Are refused by what the chunk says of them, however small they are packed."""
    samples, options = LAYOUTS[layout]
    source = LitDataSource(
        write(tmp_path, [*samples, {**samples[0], "data": b"x" * 999}], **options)
    )
    monkeypatch.setattr(items, "_MAX_ITEM_BYTES", 900)
    assert source[3]["data"] == samples[3]["data"]
    with pytest.raises(SampleReadError, match=r"bin\[12\]: .*(at most 900|too small)"):
        source[12]


def test_rows_that_unpack_to_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is unpacked once for all threads; few are kept, however many chunks there are."""
    unpacked: list[object] = []

    class Counted(BatchColumns):
        def __init__(self, *given: Any) -> None:
            threading.Event().wait(0.01)
            super().__init__(*given)
            unpacked.append(self)

    monkeypatch.setattr(arrow_rows, "BatchColumns", Counted)
    monkeypatch.setattr(arrow_rows, "_UNPACKED_BYTES_KEPT", 2500)
    samples = [{"text": "abcd" * 50, "label": i} for i in range(40)]
    source = LitDataSource(write(tmp_path, samples, compression="zstd", chunk_size=5))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(source.__getitem__, range(5))) == samples[:5]
        assert len(unpacked) == 1
        assert list(pool.map(source.__getitem__, range(40))) == samples
    assert len(source._chunks._batches._kept) == 2
    monkeypatch.setattr(arrow_columns, "_MAX_UNPACKED_BYTES", 1000)
    source.close()
    with pytest.raises(SampleReadError, match="a compressed Arrow buffer of 1,000 bytes"):
        source[0]


def test_pickles_run_no_code(tmp_path: Path) -> None:
    """Not while opening, reading or building; with consent they do."""
    trap = tmp_path / "trap"
    folder = write(tmp_path / "data", [{"label": np.int64(i), "v": np.ones(2)} for i in range(4)])
    evil = [{"label": pickle.dumps(Evil(trap)), "v": np.ones(2)} for _ in range(4)]
    other = write(tmp_path / "evil", evil)
    change_index(other, lambda index: index["config"]["data_format"].__setitem__(0, "pickle"))
    with pytest.raises(SourceError, match=r"pickle with pathlib.*allow_pickle=True"):
        SlipstreamDataset(other)
    assert not trap.exists()
    assert LitDataSource(folder)[3]["label"] == 3
    with pytest.raises(TypeError):  # the value of Path.touch is None, which no field of dense has
        LitDataSource(other, allow_pickle=True)[0]["label"] + 1
    assert trap.exists()


SCALARS = [
    np.int64(-3),
    np.float32(0.5),
    np.bool_(True),
    np.complex64(1j),
    np.str_("né"),
    None,
    "x",
]


def test_pickled_scalars_of_every_protocol() -> None:
    """They come back with their dtypes; containers, arrays and functions do not come back."""
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        for value in [*SCALARS, 5, 2.5, True, b"b", np.bytes_(b"ab"), np.uint8(9)]:
            found = load_scalar(pickle.dumps(value, protocol))
            assert type(found) is type(value)
            assert found == value
        for refused in ([1], {"a": 1}, (1,), np.ones(2), np.datetime64(3, "s"), print, object()):
            with pytest.raises(SampleReadError, match="pickle"):
                load_scalar(pickle.dumps(refused, protocol))
    with pytest.raises(SampleReadError, match="pickle of 5000 bytes"):
        load_scalar(bytes(5000))


@given(st.data())
@settings(max_examples=150)
def test_damaged_pickles_and_leaves(data: st.DataObject) -> None:
    """Any bytes are a value or our error, for every kind of leaf."""
    name = data.draw(
        st.sampled_from(
            [
                *("pickle", "json", "pil", "numpy", "tensor", "no_header_numpy:3"),
                *("no_header_tensor:17", "int", "float", "bool", "str", "jpeg", "jpeg_array"),
            ]
        )
    )
    start = data.draw(
        st.sampled_from(
            [
                b"",
                pickle.dumps(np.int64(3)),
                b"\x06\x01\0\0\0\x01\0\0\0",
                b"\x05\x01\0\0\0",
                struct.pack("<III", 2, 2, 1) + b"L1234",
                struct.pack(">III", 0, 1, 1),
            ]
        )
    )
    content = bytearray(start + data.draw(st.binary(max_size=20)))
    for _ in range(data.draw(st.integers(0, 3))):
        if content:
            position = data.draw(st.integers(0, len(content) - 1))
            content[position] = data.draw(st.integers(0, 255))
    with suppress(SampleReadError):
        leaf_kind(name, allow_pickle=False).decode(bytes(content))


def test_sizes_that_are_not_true() -> None:
    """Arrays, images and lists that claim more than they hold are refused before memory is."""
    huge = 0xFFFFFFF0
    for name, content in [
        ("numpy", struct.pack("<IIII", 3, 2, huge, huge)),
        ("tensor", struct.pack(">IIII", 0, 2, huge, huge)),
        ("tensor", struct.pack(">II", 10, 0)),
        ("pil", struct.pack("<III", huge, huge, 3) + b"RGB" + bytes(12)),
        ("pil", struct.pack("<III", 2, 2, huge)),
        ("json", b"\x02" + struct.pack("<I", huge)),
        ("json", b"\x06" + struct.pack("<II", huge, 0)),
        ("json", b"\x05\x01\0\0\0\x01\0\0\0a" * 1000),
    ]:
        with pytest.raises(SampleReadError):
            leaf_kind(name, allow_pickle=False).decode(content)


def test_nested_values_agree_with_litdata() -> None:
    """Every form that its writer has for lists and dicts."""
    from litdata.streaming.serializers import JsonLeaf, JsonSerializer

    records = [{"a": 1, "b": "ü", "c": None, "d": True, "e": 0.5}] * 3
    for value in [
        [],
        {},
        ["a", "é"],
        [1, -(2**62)],
        [0.5, 1.5],
        [True, False],
        [1, "a", None],
        [[1], [2]],
        records,
        [{"a": [1]}],
        {"k": records, "n": None, "t": {"x": 2**70}},
    ]:
        data, name = JsonSerializer().serialize(JsonLeaf(value))
        assert name == "json"
        assert load_nested(data) == value
    assert load_nested(b'{"old": [1]}') == {"old": [1]}


def test_mixed_types_are_told(tmp_path: Path) -> None:
    """A field whose values do not fit the first one's; the build names the sample."""
    scalars = [{"x": np.int64(1)}, {"x": np.int64(2)}, {"x": np.float32(3)}]
    with pytest.raises(FieldTypeError, match=r"'x' of sample 2 .*expected <i8"):
        prepare_cache(SlipstreamDataset(write(tmp_path / "a", scalars), cache_dir=tmp_path))
    shapes = [{"v": np.ones((1, n + 1))} for n in range(4)]
    with pytest.raises(FieldTypeError, match=r"'v' of sample 1 .*shape \(1, 1\).*tolist"):
        prepare_cache(SlipstreamDataset(write(tmp_path / "b", shapes), cache_dir=tmp_path))
    extra = [{"a": 1}, {"a": 2}, {"a": 3, "b": "late"}]
    with pytest.raises(FieldTypeError, match=r"sample 2 .*\['b'\]"):
        prepare_cache(SlipstreamDataset(write(tmp_path / "c", extra), cache_dir=tmp_path))


def test_values_that_may_be_none(tmp_path: Path) -> None:
    """Are stored as JSON values, whatever the first one is."""
    samples = [{"a": None if i % 2 else i, "b": None if i % 3 else f"ü{i}"} for i in range(6)]
    cache = prepare_cache(SlipstreamDataset(write(tmp_path, samples), cache_dir=tmp_path))
    assert [cache[i] for i in range(6)] == samples


def test_a_repaired_chunk_is_all_that_is_read_again(tmp_path: Path) -> None:
    """A build that met a damaged chunk names its samples, and goes on when the chunk is whole."""
    folder = write(tmp_path / "data", ITEMS * 4, chunk_size=12)
    chunk = folder / "chunk-0-2.bin"
    whole = chunk.read_bytes()
    damage_at = struct.unpack_from("<I", whole, 4 + 4 * 3)[0]
    content = bytearray(whole)
    content[damage_at : damage_at + 4] = b"\xff" * 4
    chunk.write_bytes(content)
    with pytest.raises(SourceReadError, match=r"chunk-0-2\.bin\[3\]") as caught:
        prepare_cache(SlipstreamDataset(folder, cache_dir=tmp_path))
    assert caught.value.sample_ids == [27]
    chunk.write_bytes(whole)
    assert len(prepare_cache(SlipstreamDataset(folder, cache_dir=tmp_path))) == 48


def test_names_of_fields_are_checked(tmp_path: Path) -> None:
    """A key that cannot be a file's name is refused."""
    folder = write(tmp_path / "data", [{"../up": 1, "b": 2}] * 3)
    with pytest.raises(ValueError, match="cannot be a field's name"):
        SlipstreamDataset(folder)


def test_files_that_shrink_while_they_are_open(tmp_path: Path, monkeypatch: Any) -> None:
    """End in an error, not in the end of the process; the same where there is no ``pread``."""
    path = tmp_path / "chunk"
    path.write_bytes(bytes(range(256)) * 100)
    for _ in range(2):
        ranges = FileRanges.open(path)
        assert ranges.read(300, 310) == bytes(range(44, 54))
        with pytest.raises(SampleReadError, match="cut off"):
            ranges.read(25_000, 26_000)
        os.truncate(path, 1000)
        with pytest.raises(SampleReadError, match="had 25600 bytes"):
            ranges.read(900, 1200)
        path.write_bytes(bytes(range(256)) * 100)
        monkeypatch.delattr(os, "pread", raising=False)


def test_errors_of_litdata_are_told(tmp_path: Path) -> None:
    """A layout that neither of us knows: an error of ours, of the data set or of its sample."""
    samples, options = LAYOUTS["frames"]
    write(tmp_path, samples, **options)
    damage(tmp_path, 7, b"\xc7")
    with pytest.raises(SourceError, match=r"not read here; sample 0 of .*litdata cannot read it"):
        SlipstreamDataset(tmp_path, cache_dir=tmp_path / "caches")
