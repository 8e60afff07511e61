"""What the loader costs: against the bare decoder, ``load_batch`` and a plain copy of the bytes.

    uv run python benchmarks/benchmark_loader.py PHOTOS [--repeat 8] [--batch-size 256] [--rounds 9]

All contestants run in turns on the same samples of one cache, in fresh random orders, warm. A rate
is a median over rounds; a ratio is the median of the rounds' ratios, so a drift of the machine
does not count. Every contestant's latest batch is alive while the next one is made, as in training.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders import (
    BatchContext,
    BufferPool,
    DecodeRandomResizedCrop,
    default_num_threads,
)
from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader.machine import machine_info
from slipstream_loader.seek_points import EncodedImages

KEPT_BATCHES = 1


class Contestants:
    """The ways to go through an epoch of one cache."""

    def __init__(self, photos: Path, repeat: int, batch_size: int, caches: Path) -> None:
        paths = sorted(p for p in photos.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg"})
        samples = [{"image": path.read_bytes()} for path in paths] * repeat
        dataset = SlipstreamDataset(samples, cache_dir=caches)
        self.batch_size = batch_size
        self.stage = DecodeRandomResizedCrop(224)
        options: dict[str, Any] = {"batch_size": batch_size, "drop_last": False, "seed": 0}
        self.raw = SlipstreamLoader(dataset, **options)
        self.decoded = SlipstreamLoader(dataset, pipelines={"image": [self.stage]}, **options)
        self.cache = self.raw.cache
        self._images = EncodedImages(self.cache, "image")  # with seek points, like the loader
        self._buffers = BufferPool(KEPT_BATCHES + 2)
        self._largest = int(self.cache.payloads("image", range(len(self.cache))).sizes.max())
        self._copies = [
            np.empty(batch_size * self._largest, np.uint8) for _ in range(KEPT_BATCHES + 1)
        ]

    def _batches(self) -> Iterator[NDArray[np.int64]]:
        order = np.random.default_rng().permutation(len(self.cache))
        yield from np.split(order, range(self.batch_size, order.size, self.batch_size))

    def memcpy(self) -> Iterator[Any]:
        """NumPy copies of one payload after another, addresses known beforehand."""
        payloads = self.cache.payloads("image", range(len(self.cache)))
        views = [
            np.frombuffer(_memory(address, size), np.uint8)
            for address, size in zip(
                payloads.addresses.tolist(), payloads.sizes.tolist(), strict=True
            )
        ]
        for number, ids in enumerate(self._batches()):
            target = self._copies[number % len(self._copies)]
            end = 0
            for sample_id in ids.tolist():
                view = views[sample_id]
                target[end : end + view.size] = view
                end += view.size
            yield target

    def load_batch(self) -> Iterator[Any]:
        """The cache by itself."""
        for ids in self._batches():
            yield self.cache.load_batch(ids, ["image"])

    def raw_loader(self) -> Iterator[Any]:
        """The loader without a pipeline."""
        yield from self.raw

    def bare_decoder(self) -> Iterator[Any]:
        """Decode and crop batch after batch, with all threads, in this thread."""
        for ids in self._batches():
            context = BatchContext(ids, seed=0, buffers=self._buffers)
            yield self.stage.apply(self._images.batch(ids), context)

    def decoding_loader(self) -> Iterator[Any]:
        """The loader with the same decoding stage."""
        yield from self.decoded


def _memory(address: int, size: int) -> Any:
    return (ctypes.c_uint8 * size).from_address(address)


def run(contestant: Callable[[], Iterator[Any]], num_samples: int) -> tuple[float, float]:
    """One epoch: (images per second, CPU seconds an image)."""
    kept: deque[Any] = deque(maxlen=KEPT_BATCHES)
    started, cpu_started = time.perf_counter(), time.process_time()
    kept.extend(contestant())
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    return num_samples / seconds, cpu / num_samples


def compare(contestants: Contestants, rounds: int) -> dict[str, Any]:
    """Run all in turns; rates, CPU seconds and the ratios that the design sets."""
    names = ["memcpy", "load_batch", "raw_loader", "bare_decoder", "decoding_loader"]
    num_samples = len(contestants.cache)
    rates: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        for name in names:
            rate, seconds = run(getattr(contestants, name), num_samples)
            if number:
                rates[name].append(rate)
                cpu[name].append(seconds)

    def ratio(table: dict[str, list[float]], one: str, other: str) -> dict[str, float]:
        values = sorted(a / b for a, b in zip(table[one], table[other], strict=True))
        return {"median": statistics.median(values), "low": values[0], "high": values[-1]}

    return {
        "images_per_second": {name: statistics.median(rates[name]) for name in names},
        "cpu_seconds_per_image": {name: statistics.median(cpu[name]) for name in names},
        "ratios": {
            "load_batch / memcpy, rate": ratio(rates, "load_batch", "memcpy"),
            "raw_loader / load_batch, rate": ratio(rates, "raw_loader", "load_batch"),
            "decoding_loader / bare_decoder, rate": ratio(rates, "decoding_loader", "bare_decoder"),
            "decoding_loader / bare_decoder, CPU": ratio(cpu, "decoding_loader", "bare_decoder"),
        },
    }


def main() -> None:
    """Parse the arguments, measure, print and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--repeat", type=int, default=8, help="copies of the photos in the cache")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as caches:
        contestants = Contestants(
            arguments.photos, arguments.repeat, arguments.batch_size, Path(caches)
        )
        figures = compare(contestants, arguments.rounds)
        figures |= {
            "num_samples": len(contestants.cache),
            "batch_size": arguments.batch_size,
            "threads": default_num_threads(),
            "machine": machine_info(),
        }
    for name, rate in figures["images_per_second"].items():
        milliseconds = 1000 * figures["cpu_seconds_per_image"][name]
        print(f"{name:16} {rate:9,.0f} images/s  {milliseconds:.4f} CPU ms/image")
    for name, value in figures["ratios"].items():
        print(f"{name:38} {value['median']:.3f}  ({value['low']:.3f} .. {value['high']:.3f})")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
