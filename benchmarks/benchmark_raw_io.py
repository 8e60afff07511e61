"""Raw bytes: a copy of the payloads, ``load_batch`` and the loader, sequential and shuffled.

    uv run python benchmarks/benchmark_raw_io.py PHOTOS [--repeat 8] [--batch-size 256]
        [--rounds 9] [--cache-dir DIR] [--json PATH]

The copy is what memory allows: NumPy copies of one payload after another, whose addresses are known
beforehand, into buffers that take turns. All contestants run in turns, warm.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rounds import Contestant, describe, print_row, ratio_row, take_turns, timed_epoch

from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader.machine import machine_info, memcpy_bytes_per_second

ORDERS = ("random", "sequential")
NUM_TARGETS = 5
"""Buffers that the copy fills in turn, about as many as a loader has."""


class RawReaders:
    """The ways to read all payloads of one cache."""

    def __init__(self, photos: Path, repeat: int, batch_size: int, caches: Path) -> None:
        paths = sorted(p for p in photos.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg"})
        samples = [{"image": path.read_bytes()} for path in paths] * repeat
        self._dataset = SlipstreamDataset(samples, cache_dir=caches)
        self._options: dict[str, Any] = {"batch_size": batch_size, "drop_last": False, "seed": 0}
        self.batch_size = batch_size
        self.cache = SlipstreamLoader(self._dataset, **self._options).cache
        payloads = self.cache.payloads("image", range(len(self.cache)))
        self.num_bytes = int(payloads.sizes.sum())
        self._views = [
            np.frombuffer((ctypes.c_uint8 * size).from_address(address), np.uint8)
            for address, size in zip(
                payloads.addresses.tolist(), payloads.sizes.tolist(), strict=True
            )
        ]
        largest = batch_size * int(payloads.sizes.max())
        self._targets = [np.empty(largest, np.uint8) for _ in range(NUM_TARGETS)]

    def _batches(self, order: str) -> Iterator[NDArray[np.int64]]:
        ids = np.arange(len(self.cache))
        if order == "random":
            np.random.default_rng().shuffle(ids)
        yield from np.split(ids, range(self.batch_size, ids.size, self.batch_size))

    def memcpy(self, order: str) -> Iterator[Any]:
        """One copy after another."""
        for number, ids in enumerate(self._batches(order)):
            target, end = self._targets[number % len(self._targets)], 0
            for sample_id in ids.tolist():
                view = self._views[sample_id]
                target[end : end + view.size] = view
                end += view.size
            yield target

    def load_batch(self, order: str) -> Iterator[Any]:
        """The cache by itself."""
        for ids in self._batches(order):
            yield self.cache.load_batch(ids, ["image"])

    def contestants(self) -> dict[str, Contestant]:
        """All of them, in both orders."""
        found: dict[str, Contestant] = {}
        for order in ORDERS:
            loader = SlipstreamLoader(self._dataset, shuffle=order == "random", **self._options)
            ways = {
                "memcpy": partial(self.memcpy, order),
                "load_batch": partial(self.load_batch, order),
                "loader": lambda loader=loader: loader,
            }
            for name, way in ways.items():
                found[f"{name}, {order}"] = partial(timed_epoch, way, len(self.cache))
        return found


def main() -> None:
    """Parse the arguments, measure, print and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--repeat", type=int, default=8, help="times each is in the data set")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cache-dir", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.cache_dir) as folder:
        readers = RawReaders(options.photos, options.repeat, options.batch_size, Path(folder))
        turns = take_turns(readers.contestants(), options.rounds)
    pairs = (("load_batch", "memcpy", 0.8), ("loader", "load_batch", 0.9))
    rows = [
        ratio_row(f"{one} / {other}, {order}", goal, turns, f"{one}, {order}", f"{other}, {order}")
        for order in ORDERS
        for one, other, goal in pairs
    ]
    results = {name: describe(found) for name, found in turns.items()}
    mean_bytes = readers.num_bytes / len(readers.cache)
    for name, found in results.items():
        rate = found["images_per_second"]["median"]
        print(f"{name:24} {rate:9,.0f} images/s  {rate * mean_bytes / 1e6:8,.0f} MB/s")
    for row in rows:
        print_row(row)
    if options.json:
        figures = {
            "samples": len(readers.cache),
            "mean_bytes": round(mean_bytes),
            "batch_size": options.batch_size,
            "rounds": options.rounds,
            "memcpy_bytes_per_second": memcpy_bytes_per_second(),
            "machine": machine_info(),
            "contestants": results,
            "rows": rows,
        }
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
