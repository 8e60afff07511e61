"""Mutated JPEGs through every engine: no crash, no hang, no stray access, the same verdict twice.

Payloads, seek points, outputs and scratch memory end at a page that nobody may touch, so a stray
access kills the process; ``--show-seeds`` tells at which payload.

    python benchmarks/campaign_mutations.py --count 100000 --engines native turbojpeg pillow
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import io
import math
import mmap
import random
import sys
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from slipstream_decoders import Boxes, DecodeStatus, EncodedBatch
from slipstream_decoders.batch import READABLE_SLACK
from slipstream_decoders.engines.base import CropJob, Engine, Quality, Scratch
from slipstream_decoders.engines.native import NativeDecoder, NativeEngine
from slipstream_decoders.engines.pillow import PillowEngine
from slipstream_decoders.engines.turbojpeg import TurboJpegEngine
from slipstream_decoders.seek_points import build_seek_points
from slipstream_decoders.views import View, addresses_of, crops_of

_ENGINES = {"native": NativeEngine, "turbojpeg": TurboJpegEngine, "pillow": PillowEngine}
_MOST_PIXELS = 1 << 20
_SIZE = (24, 20)


class _Fence:
    """Memory that ends at a page that nobody may touch."""

    def __init__(self, num_bytes: int) -> None:
        page = mmap.PAGESIZE
        self._size = -(-num_bytes // page) * page
        self._memory = mmap.mmap(-1, self._size + page)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        assert protect(base + self._size, page, 0) == 0

    def last(self, num_bytes: int) -> NDArray[np.uint8]:
        """The last bytes before the page."""
        return np.frombuffer(self._memory, np.uint8, num_bytes, self._size - num_bytes)


class _FencedScratch(Scratch):
    """Scratch memory of exactly the size that was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self._fences: dict[str, tuple[int, _Fence]] = {}

    def get(self, name: str, num_bytes: int) -> NDArray[np.uint8]:
        size, fence = self._fences.get(name, (0, None))
        if fence is None or size < num_bytes:
            fence = _Fence(2 * num_bytes)
            self._fences[name] = 2 * num_bytes, fence
        return fence.last(num_bytes)


def pictures() -> list[bytes]:
    """JPEGs of all kinds, small enough to be decoded a hundred thousand times."""
    rng = np.random.default_rng(0)
    kinds: list[dict[str, Any]] = [
        {"subsampling": "4:2:0"},
        {"subsampling": "4:4:4", "optimize": True},
        {"subsampling": "4:2:2", "restart_marker_blocks": 2},
        {"quality": 100, "restart_marker_rows": 1},
        {"quality": 10},
        {"progressive": True},
    ]
    payloads = []
    for kind in kinds:
        for mode in ("RGB", "L"):
            height, width = rng.integers(8, 70, 2).tolist()
            coarse = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
            image = Image.fromarray(coarse).resize((width, height)).convert(mode)
            file = io.BytesIO()
            image.save(file, "JPEG", **{"quality": 85, **kind})
            payloads.append(file.getvalue())
    return payloads


def mutated(payloads: list[bytes], generator: random.Random) -> bytes:
    """One of the payloads, damaged in one of several ways."""
    payload = bytearray(generator.choice(payloads))
    kind = generator.randrange(6)
    markers = [i for i in range(len(payload) - 1) if payload[i] == 255 and payload[i + 1] >= 0xC0]
    if kind == 0:  # a few bits anywhere
        for _ in range(generator.randint(1, 8)):
            payload[generator.randrange(len(payload))] ^= 1 << generator.randrange(8)
    elif kind == 1:
        del payload[generator.randrange(len(payload)) :]
    elif kind == 2:  # the header: bytes behind a marker
        for _ in range(generator.randint(1, 4)):
            at = generator.choice(markers) + generator.randrange(24)
            payload[min(at, len(payload) - 1)] = generator.choice([0, 1, 2, 16, 17, 34, 255])
    elif kind == 3:  # segments of another file, in place of or between this one's
        other = generator.choice(payloads)
        begin = generator.randrange(len(other))
        piece = other[begin : begin + generator.randrange(400)]
        at = generator.choice(markers)
        payload[at : at + generator.choice([0, len(piece)])] = piece
    elif kind == 4:  # the scan: any bytes
        start = payload.rindex(b"\xff\xda")
        for _ in range(generator.randint(1, 20)):
            payload[generator.randrange(start, len(payload))] = generator.randrange(256)
    else:  # a piece twice, or left out
        begin = generator.randrange(len(payload))
        end = min(len(payload), begin + generator.randrange(1, 200))
        payload[begin:end] = payload[begin:end] * generator.choice([0, 2, 3])
    return bytes(payload)


def _recorded_size(payload: bytes, generator: random.Random) -> tuple[int, int]:
    """What a cache may have recorded: mostly what the frame says."""
    at = max(payload.find(b"\xff\xc0"), payload.find(b"\xff\xc2"))
    if at < 0 or len(payload) < at + 9 or generator.random() < 0.1:
        return 40, 40
    height, width = (int.from_bytes(payload[at + i : at + i + 2], "big") for i in (5, 7))
    return (height, width) if 0 < height * width <= _MOST_PIXELS else (40, 40)


class _Campaign:
    """The engines, and fenced memory for one payload."""

    def __init__(self, engines: list[str]) -> None:
        self.engines: dict[str, Engine] = {name: _ENGINES[name]() for name in engines}
        self._payload, self._points = _Fence(1 << 16), _Fence(1 << 20)
        self._out = _Fence(3 * _MOST_PIXELS)
        self.verdicts: Counter[str] = Counter()

    def _batch(self, payload: bytes, generator: random.Random) -> EncodedBatch:
        fenced = self._payload.last(len(payload) + READABLE_SLACK)
        fenced[: len(payload)] = np.frombuffer(payload, np.uint8)
        fenced[len(payload) :] = generator.randrange(256)
        height, width = _recorded_size(payload, generator)
        return EncodedBatch(
            addresses=np.array([fenced.ctypes.data]),
            sizes=np.array([len(payload)]),
            heights=np.array([height], np.int32),
            widths=np.array([width], np.int32),
            codecs=np.zeros(1, np.uint8),
            orientations=np.zeros(1, np.uint8),
            owner=fenced,
        )

    def _pointed(self, batch: EncodedBatch, generator: random.Random) -> EncodedBatch:
        """With seek points, right ones or damaged ones."""
        points = build_seek_points(batch, num_threads=1)
        data = self._points.last(points.data.size)
        data[:] = points.data
        if data.size and generator.random() < 0.5:
            for _ in range(generator.randint(1, 6)):
                data[generator.randrange(16, data.size)] = generator.randrange(256)
        return batch.with_seek_points(data, points.offsets, points.sizes)

    def _verdict(
        self, engine: Engine, batch: EncodedBatch, boxes: list[list[int]], kind: str
    ) -> tuple[int, bytes]:
        """The status and the pixels: crops of one of the qualities, or the whole image."""
        height, width = int(batch.heights[0]), int(batch.widths[0])
        shape = (1, height, width, 3) if kind == "whole" else (len(boxes), *_SIZE, 3)
        out = self._out.last(math.prod(shape)).reshape(shape)
        if kind == "whole":
            status = DecodeStatus(engine.whole(batch, 0, out[0])[0])
        else:
            views = [View(Boxes.of_crops(np.array([box], np.int32)), _SIZE) for box in boxes]
            crops = crops_of(views, addresses_of(out)[:, None])
            quality: Quality = "exact" if kind == "exact" else "fast"
            job = CropJob(batch, crops, quality, np.full(1, 99, np.int32))
            engine.crop(job, np.zeros(1, np.int64))
            status = DecodeStatus(int(job.statuses[0]))
        return status, out.tobytes() if status == DecodeStatus.OK else b""

    def run(self, payload: bytes, generator: random.Random) -> None:
        batch = self._batch(payload, generator)
        height, width = int(batch.heights[0]), int(batch.widths[0])
        boxes = []
        for _ in range(generator.randint(1, 3)):
            x, y = generator.randrange(width), generator.randrange(height)
            boxes.append([x, y, generator.randint(1, width - x), generator.randint(1, height - y)])
        batches = [batch, self._pointed(batch, generator)]
        kind = generator.choice(["fast", "exact", "whole"])
        for name, engine in self.engines.items():
            for each in batches if name == "native" else batches[:1]:
                first = self._verdict(engine, each, boxes, kind)
                if first != self._verdict(engine, each, boxes, kind):
                    raise AssertionError(f"{name} gives two verdicts")
                self.verdicts[f"{name} {DecodeStatus(first[0]).name}"] += 1


def main() -> None:
    """Run, and print how many payloads got which verdict."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--start", type=int, default=0, help="seed of the first payload")
    parser.add_argument("--engines", nargs="+", default=list(_ENGINES), choices=list(_ENGINES))
    parser.add_argument("--show-seeds", action="store_true", help="the last one is a crash's")
    parser.add_argument("--hang-seconds", type=float, default=60)
    arguments = parser.parse_args()
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    faulthandler.enable()
    NativeDecoder.scratch_type = _FencedScratch
    campaign = _Campaign(arguments.engines)
    payloads = pictures()
    for payload in payloads:
        campaign.run(payload, random.Random(0))
    for seed in range(arguments.start, arguments.start + arguments.count):
        faulthandler.dump_traceback_later(arguments.hang_seconds, exit=True)
        generator = random.Random(seed)
        if arguments.show_seeds:
            sys.stderr.write(f"{seed}\n")
        campaign.run(mutated(payloads, generator), generator)
    faulthandler.cancel_dump_traceback_later()
    for verdict, count in sorted(campaign.verdicts.items()):
        sys.stdout.write(f"{verdict}: {count}\n")


if __name__ == "__main__":
    main()
