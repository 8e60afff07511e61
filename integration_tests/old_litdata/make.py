"""Writes small LitData data sets in layouts that litdata wrote once and does not write any more.

They are in git and must stay readable. Each is made from the same samples:

- ``classic``: a dict of bytes, int, str and float as an item of leaves (litdata before Arrow rows);
  an index without ``updated_at`` and without the newer keys.
- ``stream``: Arrow rows as an IPC stream, where litdata now writes an IPC file.
- ``both``: items, and the same samples as Arrow rows behind them.

    python integration_tests/old_litdata/make.py integration_tests/old_litdata/golden
"""

from __future__ import annotations

import io
import json
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

FIELDS = {"image": "bytes", "label": "int", "path": "str", "score": "float"}
SAMPLES_IN_CHUNK = 3


def samples() -> list[dict[str, Any]]:
    """Five samples with small images."""
    rows = []
    for number in range(5):
        file = io.BytesIO()
        Image.new("RGB", (8 + number, 8), (50 * number, 90, 200)).save(file, "JPEG")
        path = f"class_{number % 2}/bild_ä{number}.jpg"
        row = {"image": file.getvalue(), "label": number - 2, "path": path, "score": number / 4}
        rows.append(row)
    return rows


def item(sample: dict[str, Any]) -> bytes:
    """A sample as an item: the sizes of its leaves, and the leaves."""
    leaves = [
        sample["image"],
        struct.pack("<q", sample["label"]),
        sample["path"].encode(),
        struct.pack("<d", sample["score"]),
    ]
    return struct.pack(f"<{len(leaves)}I", *map(len, leaves)) + b"".join(leaves)


def chunk_of_items(items: Sequence[bytes]) -> bytes:
    """The number of items, their offsets in the file, and the items."""
    offsets = [4 + 4 * (len(items) + 1)]
    for data in items:
        offsets.append(offsets[-1] + len(data))
    return struct.pack(f"<I{len(offsets)}I", len(items), *offsets) + b"".join(items)


def arrow_rows(rows: list[dict[str, Any]], *, as_stream: bool) -> bytes:
    """Rows as Arrow IPC, with what follows them at the end of a chunk."""
    table = pa.Table.from_pylist(rows)
    sink = pa.BufferOutputStream()
    new = pa.ipc.new_stream if as_stream else pa.ipc.new_file
    with new(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    data: bytes = sink.getvalue().to_pybytes()
    return data + struct.pack("<I", len(data)) + b"LDARW01\0"


def chunk(layout: str, rows: list[dict[str, Any]]) -> bytes:
    """One chunk in a layout."""
    items = [item(row) for row in rows]
    if layout == "classic":
        return chunk_of_items(items)
    if layout == "stream":
        return chunk_of_items([b""] * len(rows)) + arrow_rows(rows, as_stream=True)
    return chunk_of_items(items) + arrow_rows(rows, as_stream=False)


def write(folder: Path, layout: str) -> None:
    """Write all samples in a layout, with an index."""
    folder.mkdir(parents=True)
    rows, chunks = samples(), []
    for number, first in enumerate(range(0, len(rows), SAMPLES_IN_CHUNK)):
        part = rows[first : first + SAMPLES_IN_CHUNK]
        data, name = chunk(layout, part), f"chunk-0-{number}.bin"
        (folder / name).write_bytes(data)
        size = {"chunk_bytes": len(data), "chunk_size": len(part)}
        chunks.append({**size, "dim": None, "filename": name})
    leaf = {"type": None, "context": None, "children_spec": []}
    tree = {"type": "builtins.dict", "context": json.dumps(list(FIELDS))}
    config = {
        "compression": None,
        "chunk_size": SAMPLES_IN_CHUNK,
        "chunk_bytes": None,
        "data_format": list(FIELDS.values()),
        "data_spec": json.dumps([1, {**tree, "children_spec": [leaf] * len(FIELDS)}]),
    }
    index = json.dumps({"chunks": chunks, "config": config}, sort_keys=True)
    (folder / "index.json").write_text(index)


if __name__ == "__main__":
    for name in ("classic", "stream", "both"):
        write(Path(sys.argv[1]) / name, name)
