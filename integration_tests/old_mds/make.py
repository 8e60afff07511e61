"""Writes small MDS data sets with mosaicml-streaming itself, for the tests of our reader.

They are in git and must stay readable. mosaicml-streaming is in an environment of its own (0.13.0
wrote those that are there):

    python integration_tests/old_mds/make.py integration_tests/old_mds/golden
"""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COLUMNS = {
    "image": "jpeg",
    "mask": "png",
    "raw": "pil",
    "data": "bytes",
    "label": "int",
    "small": "uint8",
    "score": "float32",
    "big": "str_int",
    "ratio": "str_float",
    "price": "str_decimal",
    "path": "str",
    "extra": "json",
    "fixed": "ndarray:int16:2,3",
    "shaped": "ndarray:float32",
    "free": "ndarray",
    "object": "pkl",
}


def image(number: int, form: str) -> Image.Image:
    """A small image as opened from a file."""
    file = io.BytesIO()
    Image.new("RGB", (8 + number, 8), (40 * number, 90, 200)).save(file, form)
    file.seek(0)
    return Image.open(file)


def samples() -> list[dict[str, Any]]:
    """Seven samples with a column of every encoding."""
    from decimal import Decimal

    return [
        {
            "image": image(number, "JPEG"),
            "mask": image(number, "PNG"),
            "raw": Image.new("RGB", (3, 2 + number), (number, 2, 3)),
            "data": bytes(range(number)),
            "label": number - 3,
            "small": np.uint8(number),
            "score": np.float32(number / 4),
            "big": 10**number,
            "ratio": number / 8,
            "price": Decimal(f"{number}.50"),
            "path": f"ä/{number}.jpg",
            "extra": {"n": [number, None]},
            "fixed": np.arange(6, dtype=np.int16).reshape(2, 3) * number,
            "shaped": np.full((2, 2), number, np.float32),
            "free": np.arange(4, dtype=np.int64) * number,
            "object": {"a": number},
        }
        for number in range(7)
    ]


def shown(value: Any) -> Any:
    """A value as JSON; images by their pixels."""
    if isinstance(value, Image.Image):
        return [list(value.size), value.convert("RGB").tobytes().hex()]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (dict, str, int, float)):
        return value
    return str(value) if type(value).__name__ == "Decimal" else np.asarray(value).tolist()


def main(folder: Path) -> None:
    """Write plain and compressed shards, and their contents as read back by their own library."""
    from streaming import LocalDataset, MDSWriter

    for name, compression in (("plain", None), ("zstd", "zstd:7"), ("gz", "gz")):
        shutil.rmtree(folder / name, ignore_errors=True)
        with MDSWriter(
            out=str(folder / name), columns=COLUMNS, compression=compression, size_limit=3600
        ) as writer:
            for sample in samples():
                writer.write(sample)
    dataset = LocalDataset(str(folder / "plain"))
    contents = [{key: shown(value) for key, value in sample.items()} for sample in dataset]
    (folder / "contents.json").write_text(json.dumps(contents, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
