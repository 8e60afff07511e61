"""Writes small files with FFCV itself, and what is in them, for the tests of our reader.

They are in git and must stay readable; they are compressed, since FFCV's pages are mostly zeros.
FFCV needs an environment of its own (FFCV 1.0.2 wrote those that are there):

    python integration_tests/old_ffcv/make.py integration_tests/old_ffcv/golden
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np


def picture(number: int, height: int, width: int) -> np.ndarray:
    """A smooth picture that is unlike the others: uint8 of shape (height, width, 3)."""
    rows, columns = np.mgrid[0:height, 0:width]
    channels = [rows * (1 + number % 3), columns + 9 * number, rows + columns]
    return np.stack(channels, axis=2).astype(np.uint8)


def mixed_samples() -> list[dict[str, Any]]:
    """Ten samples with a field of every type."""
    return [
        {
            "image": picture(number, 16 + number, 33 - number),
            "label": number - 4,
            "score": number / 7,
            "vector": np.arange(6, dtype="<f4").reshape(2, 3) * number,
            "tensor": np.array([number, -number, 2**40], "<i8"),
            "caption": {"text": f"pictüre {number}", "boxes": [[1, number]]},
            "blob": np.frombuffer(bytes(range(3 * number)), np.uint8),
        }
        for number in range(10)
    ]


def sha(data: Any) -> str:
    """SHA-256 of bytes or of an array's bytes."""
    return hashlib.sha256(data if isinstance(data, bytes) else data.tobytes()).hexdigest()


def expected(sample: dict[str, Any], encode_jpeg: Any) -> dict[str, Any]:
    """A sample as JSON: images by the hashes of their pixels and of the JPEG file of them."""
    image = sample["image"]
    found = {
        "size": list(image.shape[:2]),
        "pixels": sha(image),
        "jpeg": sha(encode_jpeg(image, 90)),
    }
    for name, value in sample.items():
        if name == "image":
            continue
        is_blob = name == "blob"
        found[name] = value.tobytes().hex() if is_blob else np.asarray(value).tolist()
        if isinstance(value, dict):
            found[name] = value
    return found


def main(folder: Path) -> None:
    """Write all files."""
    import torch
    from ffcv.fields import (
        BytesField,
        FloatField,
        IntField,
        JSONField,
        NDArrayField,
        RGBImageField,
        TorchTensorField,
    )
    from ffcv.fields.rgb_image import encode_jpeg
    from ffcv.writer import DatasetWriter

    class FileField(BytesField):
        """A type that FFCV does not know: the bytes of image files."""

    def write(
        name: str, fields: dict[str, Any], samples: list[dict[str, Any]], workers: int
    ) -> None:
        rows = [
            tuple(
                torch.from_numpy(sample[field]) if field == "tensor" else sample[field]
                for field in fields
            )
            for sample in samples
        ]
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / name
            writer = DatasetWriter(str(path), fields, page_size=1 << 21, num_workers=workers)
            writer.from_indexed_dataset(rows, chunksize=7)
            packed = gzip.compress(path.read_bytes(), 9, mtime=0)
        (folder / f"{name}.gz").write_bytes(packed)

    np.random.seed(1)  # noqa: NPY002  (FFCV draws from it)
    samples = mixed_samples()
    every = {
        "image": RGBImageField(write_mode="proportion", compress_probability=0.5),
        "label": IntField(),
        "score": FloatField(),
        "vector": NDArrayField(np.dtype("<f4"), (2, 3)),
        "tensor": TorchTensorField(torch.int64, (3,)),
        "caption": JSONField(),
        "blob": BytesField(),
    }
    write("every_type.beton", every, samples, 1)
    small = [{"image": picture(n, 24, 32), "label": n % 3} for n in range(10)]
    labelled = {"label": IntField()}
    write("jpg.ffcv", {"image": RGBImageField("jpg"), **labelled}, small, 1)
    write("raw.beton", {"image": RGBImageField("raw"), **labelled}, small, 1)
    large = [{"image": np.full((256, 320, 3), 5 * n, np.uint8), "label": n} for n in range(40)]
    write("pages.beton", {"image": RGBImageField("raw"), **labelled}, large, 2)
    files = [{"photo": encode_jpeg(s["image"], 90), "label": s["label"]} for s in small]
    write("custom.beton", {"photo": FileField(), **labelled}, files, 1)
    contents = {
        "every_type": [expected(sample, encode_jpeg) for sample in samples],
        "small": [expected(sample, encode_jpeg) for sample in small],
        "pages": [expected(sample, encode_jpeg) for sample in large],
    }
    (folder / "contents.json").write_text(json.dumps(contents, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
