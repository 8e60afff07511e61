"""The memory that decoding takes while a cache is built: told before, limited, given back."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from slipstream_cache import Codec, Condition, StorageOptions
from slipstream_loader.transcode import transcode

pytestmark = pytest.mark.timeout(120)

BUILD = """
import json, sys, threading
from pathlib import Path
import slipstream_loader.transcode
from PIL import Image
from slipstream_loader import SlipstreamDataset, prepare_cache

def anonymous_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024

Image.init()
before, peak, done = anonymous_bytes(), [0], threading.Event()

def watch():
    while not done.wait(0.005):
        peak[0] = max(peak[0], anonymous_bytes())

watcher = threading.Thread(target=watch)
watcher.start()
cache = prepare_cache(SlipstreamDataset(sys.argv[1], cache_dir=sys.argv[2]), num_workers=4)
done.set()
watcher.join()
print(json.dumps([len(cache), peak[0] - before]))
"""


def encoded(mode: str, height: int, width: int, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told by /proc")
def test_images_of_a_few_kilobytes_that_unpack_to_much(tmp_path: Path) -> None:
    """What one of them takes is the peak of them all: each is free before the next is decoded."""
    (tmp_path / "photos/a").mkdir(parents=True)
    bomb = encoded("RGB", 4000, 8000, "PNG", compress_level=1)
    for number in range(4):
        (tmp_path / f"photos/a/{number}.png").write_bytes(bomb)
    command = [sys.executable, "-c", BUILD, str(tmp_path / "photos"), str(tmp_path / "caches")]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100).stdout
    num_samples, peak = json.loads(output.splitlines()[-1])
    assert num_samples == 4
    assert peak < 200 << 20  # one takes 122 MiB


@pytest.mark.parametrize(
    ("mode", "kind", "largest"),
    [
        ("RGB", "PNG", 180_000),
        ("RGBA", "PNG", 100_000),
        ("CMYK", "TIFF", 100_000),
        ("I;16", "PNG", 128_571),
        ("RGB", "WEBP", 56_250),
        ("RGB", "AVIF", 75_000),
    ],
)
def test_the_limit_is_one_of_bytes(
    mode: str, kind: str, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Formats and modes that take more memory for a pixel may have fewer pixels."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    sound = transcode(encoded(mode, largest // 200, 200, kind), StorageOptions())
    assert (sound.condition, sound.codec) == (Condition.SOUND, Codec.JPEG)
    payload = encoded(mode, largest // 200 + 1, 200, kind)
    refused = transcode(payload, StorageOptions())
    assert (refused.condition, refused.payload) == (Condition.DAMAGED, payload)
    assert (refused.height, refused.width) == (largest // 200 + 1, 200)
    assert f"200 x {largest // 200 + 1} pixels of {kind} take" in str(refused.problem)
    assert "at most 900,000 are taken; raise PIL.Image.MAX_IMAGE_PIXELS" in str(refused.problem)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert transcode(payload, StorageOptions()).condition is Condition.SOUND


def test_a_jpeg_that_is_shrunk_while_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is not refused for pixels that are never made, but for coefficients that are."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    options = StorageOptions(max_size=40)
    baseline = transcode(encoded("RGB", 400, 480, "JPEG"), options)
    assert (baseline.condition, baseline.height, baseline.width) == (Condition.SOUND, 33, 40)
    held = transcode(encoded("RGB", 400, 480, "JPEG", progressive=True), options)
    assert (held.condition, held.codec) == (Condition.DAMAGED, Codec.JPEG)
    assert "480 x 400 pixels of JPEG take" in str(held.problem)


@pytest.mark.parametrize("bitmap", ["bmp", "png"])
def test_an_icon_that_holds_an_image(bitmap: str) -> None:
    """Is refused before Pillow decodes it, which it does as it opens the file."""
    whole = encoded("RGB", 64, 64, "ICO", sizes=[(64, 64)], bitmap_format=bitmap)
    assert transcode(whole, StorageOptions()).condition is Condition.SOUND
    head = b"IHDR" if bitmap == "png" else b"\x28\0\0\0"
    place = whole.index(head) + 4
    side = (30_000).to_bytes(4, "big" if bitmap == "png" else "little")
    stored = transcode(whole[:place] + side + whole[place + 4 :], StorageOptions())
    assert stored.condition is not Condition.SOUND
    assert "an icon of 30000 x 64 pixels; icons have at most 4096" in str(stored.problem)
    for end in range(0, len(whole), 7):
        transcode(whole[:end], StorageOptions())  # never raises


def tiled(side: int, tile: int) -> bytes:
    """A square TIFF in RGB whose only tile, packed by deflate, is larger than the image."""
    packed = zlib.compress(bytes(3 * tile * tile))
    tags = [
        (256, side), (257, side), (258, 8), (259, 8), (262, 2), (277, 3), (322, tile), (323, tile),
        (324, 8), (325, len(packed)),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + directory


def test_a_tile_that_is_larger_than_its_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts as what libtiff unpacks."""
    payload = tiled(64, 512)
    stored = transcode(payload, StorageOptions())
    assert (stored.condition, stored.height, stored.width) == (Condition.SOUND, 64, 64)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)
    stored = transcode(payload, StorageOptions())
    assert stored.condition is Condition.DAMAGED
    assert "64 x 64 pixels of TIFF take 1,064,960 bytes to decode" in str(stored.problem)


def test_samples_that_are_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count as many bytes as they have, in the strip that libtiff unpacks."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9_000)
    payload = encoded("RGBA", 100, 100, "TIFF", compression="tiff_deflate")
    assert "take 90,000 bytes" in str(transcode(payload, StorageOptions()).problem)
    wide = payload.replace(struct.pack("<4H", 8, 8, 8, 8), struct.pack("<4H", 16, 16, 16, 16))
    assert wide != payload
    assert "take 120,000 bytes" in str(transcode(wide, StorageOptions()).problem)
