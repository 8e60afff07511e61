"""Damaged and hostile JPEGs, and lesser processors; some tests run programs of their own."""

from __future__ import annotations

import hashlib
import io
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slipstream_decoders import (
    BatchContext,
    Boxes,
    CorruptImageError,
    DecodeStatus,
    EncodedBatch,
    crop_images,
    decode_images,
    find_turbojpeg,
)
from slipstream_decoders.engines.native import NativeDecoder
from slipstream_decoders.seek_points import build_seek_points

_CAMPAIGN = Path(__file__).parent.parent / "benchmarks" / "campaign_mutations.py"
_PROCESSORS = {
    "x86-64-v3": "+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+avx,+avx2,+bmi,+bmi2,+f16c,+fma,"
    "+lzcnt,+movbe",
    "x86-64-v2": "+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16",
}


def _jpeg(seed: int, height: int = 40, width: int = 56, **options: object) -> bytes:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 5 + 1, width // 5 + 1, 3), np.uint8)
    file = io.BytesIO()
    options = {"quality": 85, **options}
    Image.fromarray(coarse).resize((width, height)).save(file, "JPEG", **options)
    return file.getvalue()


def _status(payload: bytes, height: int = 40, width: int = 56) -> DecodeStatus:
    """The native decoder's verdict on a file, whatever Pillow thinks of its header."""
    batch = EncodedBatch.from_mapping(
        {
            "data": np.frombuffer(payload, np.uint8),
            "sizes": [len(payload)],
            "heights": [height],
            "widths": [width],
        }
    )
    status = NativeDecoder().planes(batch, 0)[0]
    assert build_seek_points(batch).statuses[0] == status
    return status


def _run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="needs mprotect")
def test_mutated_files_touch_nothing_outside_and_get_one_verdict() -> None:
    """A sample of the campaign: all engines, memory that ends at forbidden pages."""
    engines = ["native", "pillow", *(["turbojpeg"] if find_turbojpeg() else [])]
    result = _run(str(_CAMPAIGN), "--count", "600", "--engines", *engines)
    assert result.returncode == 0, result.stderr
    for verdict in ("native OK", "native CORRUPT", "native UNSUPPORTED"):
        assert verdict in result.stdout


def test_every_truncation_is_noticed() -> None:
    """Wherever a file ends before its end, it is damaged; whole, it is sound."""
    payload = _jpeg(1, restart_marker_blocks=2)
    assert _status(payload) == DecodeStatus.OK
    for length in range(len(payload) - 1):
        assert _status(payload[:length]) == DecodeStatus.CORRUPT, length


def test_restart_markers_must_be_in_order() -> None:
    """A missing, a doubled or a wrong one is damage."""
    payload = _jpeg(2, restart_marker_blocks=2)
    at = payload.index(b"\xff\xd1")
    for damaged in (
        payload[:at] + payload[at + 2 :],
        payload[:at] + b"\xff\xd1" + payload[at:],
        payload[:at] + b"\xff\xd2" + payload[at + 2 :],
    ):
        assert _status(damaged) == DecodeStatus.CORRUPT


def test_bad_codes_are_damage() -> None:
    """Bits of ones are no code of any table."""
    payload = _jpeg(3)
    start = payload.index(b"\xff\xda") + 14
    damaged = payload[: start + 30] + b"\xff\x00" * 8 + payload[start + 46 :]
    assert _status(damaged) == DecodeStatus.CORRUPT


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c", DecodeStatus.UNSUPPORTED),
        (b"\xff\xc0\x00\x11\x08", b"\xff\xc2\x00\x11\x08", DecodeStatus.UNSUPPORTED),
        (b"\xff\xc0\x00\x11\x08", b"\xff\xc9\x00\x11\x08", DecodeStatus.UNSUPPORTED),
        (b"\xff\xc0\x00\x11", b"\xff\xc0\x00\x12", DecodeStatus.CORRUPT),
        (b"\xff\xc0\x00\x11", b"\xff\xc0\xff\xff", DecodeStatus.CORRUPT),
        (b"\xff\xc0\x00\x11", b"\xff\xc0\x00\x01", DecodeStatus.CORRUPT),
        (b"\x01\x22\x00", b"\x01\x00\x00", DecodeStatus.CORRUPT),
        (b"\x01\x22\x00", b"\x01\x44\x00", DecodeStatus.CORRUPT),
        (b"\x01\x22\x00", b"\x01\x32\x00", DecodeStatus.UNSUPPORTED),
        (b"\x01\x22\x00", b"\x01\x22\x03", DecodeStatus.UNSUPPORTED),
        (b"\x01\x22\x00", b"\x01\x22\x04", DecodeStatus.CORRUPT),
        (b"\xff\xda\x00\x0c\x03\x01\x00", b"\xff\xda\x00\x0c\x03\x01\x44", DecodeStatus.CORRUPT),
        (b"\xff\xda\x00\x0c\x03\x01", b"\xff\xda\x00\x0c\x03\x02", DecodeStatus.UNSUPPORTED),
        (b"\x00\x3f\x00", b"\x01\x3f\x00", DecodeStatus.UNSUPPORTED),
        (b"\x00\x28\x00\x38", b"\x00\x29\x00\x38", DecodeStatus.SIZE_MISMATCH),
        (b"\xff\xc4", b"\xff\xc8", DecodeStatus.UNSUPPORTED),
        (b"\xff\xc4\x00\x1f\x00\x00", b"\xff\xc4\x00\x1f\x00\x03", DecodeStatus.CORRUPT),
        (b"\xff\xc4\x00\x1f\x00", b"\xff\xc4\x00\x1f\x20", DecodeStatus.CORRUPT),
        (b"\xff\xdb\x00\x43\x00", b"\xff\xdb\x00\x43\x20", DecodeStatus.CORRUPT),
        (b"\xff\xdb\x00\x43\x00", b"\xff\xdb\x00\x43\x10", DecodeStatus.CORRUPT),
    ],
)
def test_headers_are_checked(old: bytes, new: bytes, status: DecodeStatus) -> None:
    """Each field of each segment, out of its range or of a kind that is not taken."""
    payload = _jpeg(4)
    assert payload.count(old) >= 1
    assert _status(payload.replace(old, new, 1)) == status


def test_an_image_that_its_bytes_cannot_hold_costs_nothing() -> None:
    """65,500 x 65,500 pixels in a few hundred bytes: refused before any room is made."""
    payload = _jpeg(5)
    at = payload.index(b"\xff\xc0") + 5
    hostile = payload[:at] + (65500).to_bytes(2, "big") * 2 + payload[at + 4 :]
    assert _status(hostile, 65500, 65500) == DecodeStatus.CORRUPT


def test_seek_points_are_as_described() -> None:
    """The header, byte by byte, and the first point of each row; gray has shorter points."""
    payload = _jpeg(6, 48, 200)
    files = [payload, payload[:-40], _jpeg(6, progressive=True)]
    built = build_seek_points(EncodedBatch.from_payloads(files))
    statuses = [DecodeStatus.OK, DecodeStatus.CORRUPT, DecodeStatus.UNSUPPORTED]
    assert built.statuses.tolist() == statuses
    assert built.sizes[1:].tolist() == [0, 0]
    points = built.data.tobytes()
    assert points[:4] == b"\x01\x04\x03\x00"
    assert int.from_bytes(points[4:8], "little") == len(payload)
    assert int.from_bytes(points[8:10], "little") == 13
    assert int.from_bytes(points[10:12], "little") == 3
    assert int.from_bytes(points[12:16], "little") == payload.index(b"\xff\xda") + 14
    assert len(points) == 16 + 3 * 4 * 10
    assert points[16:26] == bytes(10)
    offsets = [int.from_bytes(points[i : i + 4], "little") for i in range(16, len(points), 10)]
    assert offsets == sorted(set(offsets))


@pytest.mark.skipif(find_turbojpeg() is None, reason="no TurboJPEG library")
def test_a_damaged_image_does_not_spoil_the_next_for_turbojpeg() -> None:
    """The library's handle remembers bad tables: sound images are decoded all the same."""
    good = _jpeg(7)
    at = good.index(b"\xff\xc4") + 5
    bad = good[:at] + b"\xff" * 8 + good[at + 8 :]
    batch = EncodedBatch.from_payloads([bad, good, bad, good])
    for _ in range(2):
        with pytest.raises(CorruptImageError) as caught:
            decode_images(batch, BatchContext(np.arange(4), seed=0), engine="turbojpeg")
        assert caught.value.sample_ids == [0, 2]


def _digest_of_pixels() -> str:
    """Of exact crops, not resized, of a few images: from the start and from seek points."""
    hasher = hashlib.sha256()
    generator = random.Random(0)
    context = BatchContext(np.arange(1), seed=0)
    for seed in range(24):
        sampling = ("4:4:4", "4:2:2", "4:2:0")[seed % 3]
        height, width = generator.randint(1, 90), generator.randint(1, 120)
        payload = _jpeg(seed, height, width, subsampling=sampling, quality=30 + 3 * seed)
        batch = EncodedBatch.from_payloads([payload])
        points = build_seek_points(batch)
        hasher.update(points.data.tobytes())
        pointed = batch.with_seek_points(points.data, points.offsets, points.sizes)
        boxes = Boxes.of_crops(np.array([[0, height // 4, width, height - height // 4]], np.int32))
        size = height - height // 4, width
        for each in (batch, pointed):
            crops = crop_images(each, boxes, size, context, quality="exact", engine="native")
            hasher.update(crops.tobytes())
    return hasher.hexdigest()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="names of x86 processors")
@pytest.mark.parametrize("processor", list(_PROCESSORS))
def test_lesser_processors_give_the_same_pixels(processor: str) -> None:
    """Compiled for AVX2 or SSE4 only."""
    if os.uname().machine != "x86_64":
        pytest.skip("names of x86 processors")
    lesser = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": _PROCESSORS[processor]}
    result = _run(__file__, **lesser)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == _digest_of_pixels()


if __name__ == "__main__":
    sys.stdout.write(_digest_of_pixels())
