"""Reads a file with FFCV's own reader and loader; prints what is in it, as JSON.

python integration_tests/old_ffcv/read_back.py data.beton
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import numpy as np


def main(path: str) -> None:
    """Print one object for each sample."""
    from ffcv.fields import JSONField
    from ffcv.fields.bytes import BytesDecoder
    from ffcv.fields.ndarray import NDArrayDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.reader import Reader
    from ffcv.types import TYPE_ID_HANDLER

    reader = Reader(path)
    table = {int(ptr): int(size) for _, ptr, size in reader.alloc_table}
    with open(path, "rb") as file:
        data = file.read()
    samples: list[dict[str, Any]] = [{} for _ in range(int(reader.num_samples))]
    types = [TYPE_ID_HANDLER[int(entry["type_id"])] for entry in reader.field_descriptors]
    kinds = {name: kind.__name__ for name, kind in zip(reader.field_names, types, strict=True)}
    for number, (name, kind) in enumerate(kinds.items()):
        rows = reader.metadata[f"f{number}"]
        if kind != "RGBImageField":
            continue
        for sample, row in zip(samples, rows, strict=True):
            ptr = int(row["data_ptr"])
            payload = data[ptr : ptr + table[ptr]]
            sample[name] = {
                "mode": int(row["mode"]),
                "size": [int(row["height"]), int(row["width"])],
                "payload": hashlib.sha256(payload).hexdigest(),
            }
    pipelines = {
        name: {"BytesField": [BytesDecoder()], "JSONField": [BytesDecoder()]}.get(
            kind, [NDArrayDecoder()]
        )
        for name, kind in kinds.items()
        if kind in ("BytesField", "JSONField", "NDArrayField", "TorchTensorField")
    }
    pipelines |= {name: None for name, kind in kinds.items() if kind == "RGBImageField"}
    loader = Loader(
        path, 4, num_workers=1, order=OrderOption.SEQUENTIAL, drop_last=False, pipelines=pipelines
    )
    names = [name for name in kinds if kinds[name] != "RGBImageField"]
    done = 0
    for batch in loader:
        for name, values in zip(names, batch, strict=True):
            for offset, value in enumerate(np.asarray(values)):
                is_json = kinds[name] == "JSONField"
                found = JSONField.unpack(value) if is_json else np.asarray(value).tolist()
                samples[done + offset][name] = found
        done += len(batch[0])
    print(json.dumps({"kinds": kinds, "samples": samples}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
