"""Writes small shards with webdataset itself, and what is in them, for the tests of our reader.

They are in git and must stay readable. webdataset is in an environment of its own (1.0.2 wrote
those that are there):

    python integration_tests/old_webdataset/make.py integration_tests/old_webdataset/golden
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def image(number: int, form: str) -> bytes:
    """A small image file."""
    file = io.BytesIO()
    Image.new("RGB", (8 + number, 8), (40 * number, 90, 200)).save(file, form)
    return file.getvalue()


def samples() -> list[dict[str, Any]]:
    """Six samples with a member of every type."""
    return [
        {
            "__key__": f"bild/ä{number:03}",
            "jpg": image(number, "JPEG"),
            "mask.png": image(number, "PNG"),
            "cls": number % 3,
            "json": {"n": [number, None], "text": "ü"},
            "caption.txt": f"picture {number} ☃",
            "npy": np.arange(6, dtype="<f4").reshape(2, 3) * number,
            "bin": bytes(range(number)),
        }
        for number in range(6)
    ]


def main(folder: Path) -> None:
    """Write plain and compressed shards, and their contents."""
    from webdataset import ShardWriter, TarWriter

    with ShardWriter(str(folder / "plain-%06d.tar"), maxcount=4, verbose=0) as writer:
        for sample in samples():
            writer.write(sample)
    with TarWriter(str(folder / "packed.tar.gz"), compress=True) as writer:
        for sample in samples():
            writer.write(sample)
    contents = [
        {
            name: value.hex() if isinstance(value, bytes) else np.asarray(value).tolist()
            for name, value in sample.items()
            if name != "json"
        }
        | {"json": sample["json"]}
        for sample in samples()
    ]
    (folder / "contents.json").write_text(json.dumps(contents, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
