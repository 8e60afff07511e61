"""The memory that decoding takes while a cache is built: told before, limited, given back."""

from __future__ import annotations

import io
import json
import subprocess
import sys
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
