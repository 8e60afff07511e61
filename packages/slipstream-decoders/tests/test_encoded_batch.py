"""``EncodedBatch``: headers of JPEG files, and the bounds of payloads."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slipstream_decoders import EncodedBatch


def _jpeg(exif: bytes = b"", size: tuple[int, int] = (20, 12)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (90, 30, 200)).save(file, "JPEG", exif=exif)
    return file.getvalue()


def _exif(kind: int, value: bytes, order: str = ">") -> bytes:
    """EXIF data with an orientation of any type (2 text, 3 short, 4 long, 7 bytes, 11 float)."""
    start = b"MM\0*" if order == ">" else b"II*\0"
    entry = struct.pack(order + "HHI", 0x0112, kind, 1) + value.ljust(4, b"\0")
    directory = struct.pack(order + "H", 1) + entry + bytes(4)
    return b"Exif\0\0" + start + struct.pack(order + "I", 8) + directory


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["H", "I"])
def test_orientations_are_read(order: str, kind: str) -> None:
    """Of either byte order, as short or long; 0 for numbers that there are not."""
    files = [
        _jpeg(_exif(3 if kind == "H" else 4, struct.pack(order + kind, value), order))
        for value in (0, 1, 6, 8, 9, 60000)
    ]
    assert EncodedBatch.from_payloads(files).orientations.tolist() == [0, 1, 6, 8, 0, 0]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # it tells of EXIF data that is damaged
def test_strange_exif_does_not_make_an_image_unreadable() -> None:
    """Wrong types, infinite numbers, cut and mangled directories: no orientation, the true size."""
    floats = [struct.pack(">f", value) for value in (float("inf"), float("nan"), 6.0)]
    strange = [*(_exif(11, value) for value in floats), _exif(2, b"6"), _exif(7, b"\xff" * 4)]
    whole = _exif(3, struct.pack(">H", 6))
    strange += [whole[:cut] for cut in range(7, len(whole) - 6)]
    rng = np.random.default_rng(0)
    for _ in range(300):
        mangled = bytearray(whole + bytes(20))
        for at in rng.integers(6, len(mangled), 4):
            mangled[at] = rng.integers(0, 256)
        strange.append(bytes(mangled))
    batch = EncodedBatch.from_payloads([_jpeg(exif) for exif in strange])
    assert (batch.heights == 12).all()
    assert (batch.widths == 20).all()
    assert (batch.codecs == 0).all()
    assert (batch.orientations <= 8).all()


def test_large_images_are_taken_as_their_header_says() -> None:
    """Pillow's own limits of pixels do not apply: sizes are judged by the decoder."""
    payload = bytearray(_jpeg())
    at = payload.index(b"\xff\xc0") + 5
    files = []
    for side in (10_000, 65_500):
        payload[at : at + 4] = side.to_bytes(2, "big") * 2
        files.append(bytes(payload))
    batch = EncodedBatch.from_payloads(files)
    assert batch.heights.tolist() == batch.widths.tolist() == [10_000, 65_500]


def _mapping(data: Any, sizes: list[int], **columns: Any) -> dict[str, Any]:
    sides = [1] * len(sizes)
    return {"data": data, "sizes": sizes, "heights": sides, "widths": sides, **columns}


@pytest.mark.parametrize(
    ("shape", "sizes", "columns"),
    [
        (10, [11], {}),
        (10, [-1], {}),
        (10, [5], {"offsets": [-1]}),
        (10, [5], {"offsets": [6]}),
        (10, [2**62], {"offsets": [2**62]}),
        (10, [2**63 - 1], {"offsets": [2**63 - 1]}),
        (10, [2**62, 2**62], {}),
        ((2, 10), [15, 5], {}),
        ((2, 10), [5, 11], {}),
        ((3, 10), [5, 5], {}),
    ],
)
def test_payloads_outside_of_the_data_are_refused(
    shape: Any, sizes: list[int], columns: dict[str, Any]
) -> None:
    """Whatever the numbers, sums that do not fit 64 bits and rows that run into the next."""
    with pytest.raises(ValueError, match=r"outside|one offset"):
        EncodedBatch.from_mapping(_mapping(np.zeros(shape, np.uint8), sizes, **columns))


def test_seek_points_outside_of_their_data_are_refused() -> None:
    """As payloads are; their memory must be contiguous bytes, since it is not copied."""
    batch = EncodedBatch.from_mapping(_mapping(np.zeros(10, np.uint8), [4]))
    zero, four = np.zeros(1, np.int64), np.full(1, 4, np.int64)
    assert batch.with_seek_points(np.zeros(4, np.uint8), zero, four).seek_sizes is not None
    far = np.full(1, 2**62, np.int64)
    with pytest.raises(ValueError, match="outside the 4 bytes"):
        batch.with_seek_points(np.zeros(4, np.uint8), far, far)
    for data in (np.zeros(8, np.uint8)[::2], np.zeros(4, np.int64)):
        with pytest.raises(ValueError, match="contiguous"):
            batch.with_seek_points(data, zero, four)  # type: ignore[arg-type]
