"""Layouts that litdata wrote once are read; others are read through litdata, which is said."""

from __future__ import annotations

import gc
import json
import logging
import pickle
import runpy
from pathlib import Path
from typing import Any

import pytest

from slipstream_loader import LitDataSource, SlipstreamDataset, SourceError
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.sources.litdata import open_litdata

FOLDER = Path(__file__).parent
GOLDEN = FOLDER / "golden"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def maker() -> dict[str, Any]:
    """What made the golden data sets."""
    return runpy.run_path(str(FOLDER / "make.py"))


@pytest.mark.parametrize("layout", ["classic", "stream", "both"])
def test_golden_data_sets(layout: str, tmp_path: Path) -> None:
    """Every value is read from the source and through a cache, and litdata reads the same."""
    import litdata

    expected = golden_samples()
    source = LitDataSource(GOLDEN / layout)
    assert source.version is None
    assert [source[i] for i in range(5)] == expected
    cache = prepare_cache(SlipstreamDataset(GOLDEN / layout, cache_dir=tmp_path))
    assert [cache[i] for i in range(5)] == expected
    theirs = litdata.StreamingDataset(str(GOLDEN / layout))
    assert [theirs[i] for i in range(5)] == expected


def golden_samples() -> list[dict[str, Any]]:
    """The samples of the classic data set, parsed here: offsets, sizes, leaves."""
    samples = []
    for path in sorted((GOLDEN / "classic").glob("*.bin")):
        data = path.read_bytes()
        count = int.from_bytes(data[:4], "little")
        numbers = memoryview(data[4 : 4 + 4 * (count + 1)]).cast("I")
        for start in numbers[:-1]:
            sizes = list(memoryview(data[start : start + 16]).cast("I"))
            ends = [start + 16 + sum(sizes[: i + 1]) for i in range(4)]
            image, label, name, score = (
                data[end - size : end] for end, size in zip(ends, sizes, strict=True)
            )
            samples.append(
                {
                    "image": image,
                    "label": int.from_bytes(label, "little", signed=True),
                    "path": name.decode(),
                    "score": memoryview(score).cast("d")[0],
                }
            )
    return samples


def test_the_writer_still_writes_the_same(maker: dict[str, Any], tmp_path: Path) -> None:
    """But for the images, whose bytes depend on Pillow, and Arrow's own padding."""
    maker["write"](tmp_path / "classic", "classic")
    written = LitDataSource(tmp_path / "classic")
    for number, sample in enumerate(golden_samples()):
        found = written[number]
        assert {**found, "image": None} == {**sample, "image": None}


def mds_data_set(folder: Path) -> list[dict[str, Any]]:
    """A data set of MosaicML's layout, which litdata reads and our reader of LitData does not."""
    folder.mkdir()
    samples = [{"number": i, "text": f"ü{i}"} for i in range(4)]
    items = []
    for sample in samples:
        text = str(sample["text"]).encode()
        items.append(
            len(text).to_bytes(4, "little")
            + int(str(sample["number"])).to_bytes(8, "little")
            + text
        )
    offsets = [4 + 4 * (len(items) + 1)]
    for item in items:
        offsets.append(offsets[-1] + len(item))
    header = b"".join(n.to_bytes(4, "little") for n in [len(items), *offsets])
    data = header + b"".join(items)
    (folder / "shard.00000.mds").write_bytes(data)
    raw = {"basename": "shard.00000.mds", "bytes": len(data), "hashes": {}}
    shard = {
        "column_encodings": ["int", "str"],
        "column_names": ["number", "text"],
        "column_sizes": [8, None],
        "compression": None,
        "format": "mds",
        "hashes": [],
        "raw_data": raw,
        "samples": len(items),
        "size_limit": 1 << 20,
        "version": 2,
        "zip_data": raw,
    }
    (folder / "index.json").write_text(json.dumps({"shards": [shard], "version": 2}))
    return samples


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # litdata leaves its files open
def test_other_layouts_are_read_through_litdata(tmp_path: Path, caplog: Any) -> None:
    """With a line in the log, and a cache that is found again."""
    samples = mds_data_set(tmp_path / "mds")
    with caplog.at_level(logging.WARNING):
        source = open_litdata(tmp_path / "mds")
        dataset = SlipstreamDataset(source, cache_dir=tmp_path)
    assert "MDS data set: read through litdata" in caplog.text
    assert [dataset[i] for i in range(4)] == samples
    cache = prepare_cache(dataset)
    assert [cache[i] for i in range(4)] == samples
    again: SlipstreamDataset = pickle.loads(pickle.dumps(dataset))
    assert again.cache_path == cache.cache_dir
    assert again[3] == samples[3]
    del dataset, again
    gc.collect()


def test_what_litdata_needs_to_be_told_is_told(tmp_path: Path) -> None:
    """Tokens need a block size: the error says how to open them."""
    folder = tmp_path / "tokens"
    folder.mkdir()
    index = json.loads((GOLDEN / "classic" / "index.json").read_text())
    index["config"]["item_loader"] = "TokensLoader"
    index["config"]["data_format"] = ["no_header_tensor:17"]
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(SourceError, match=r"TokensLoader.*SequenceSource"):
        SlipstreamDataset(folder, cache_dir=tmp_path)
