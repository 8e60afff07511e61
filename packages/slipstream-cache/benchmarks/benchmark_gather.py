"""Reading shuffled batches of image payloads against a plain memcpy of the same bytes.

The baseline copies payloads whose addresses were computed beforehand into rotating buffers. The
methods take turns batch by batch, each batch is read by one method in a pass, and after as many
passes as there are methods each has read every batch once: one epoch, which gives one ratio. Each
method has buffers of its own, and as many results of ``load_batch`` are held.

    python benchmarks/benchmark_gather.py --samples 20000 --mean-bytes 110000 --batch-size 256
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from slipstream_cache import FieldSpec, Payloads, SampleCache, build, gather

_HEADER = bytes.fromhex("ffd8ffc0001108000800080301110002110103110100ffda000c03010002000300003f00")
_BUFFERS = 5


class RandomPayloads:
    """JPEG headers with random bytes behind them, of lognormal size."""

    uri, kind = "random", "generated"
    field_types = {"image": FieldSpec("image"), "label": FieldSpec("dense", "<i8")}  # noqa: RUF012

    def __init__(self, num_samples: int, mean_bytes: int) -> None:
        rng = np.random.default_rng(0)
        sizes = rng.lognormal(np.log(mean_bytes) - 0.125, 0.5, num_samples)
        self._sizes = np.clip(sizes, 64, 20 * mean_bytes).astype(int)
        self._noise = rng.integers(0, 255, 21 * mean_bytes, np.uint8).tobytes()

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        body = self._noise[index % 997 : index % 997 + self._sizes[index]]
        return {"image": _HEADER + body + b"\xff\xd9", "label": index}

    def fingerprint(self) -> str:
        return "random"

    def describe(self, index: int) -> str:
        return str(index)


def main() -> None:
    """Write one JSON object with the rates and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--mean-bytes", type=int, default=110_000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--cache-dir", type=Path, help="where to build; default: temporary")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = (options.cache_dir or Path(temporary)) / "slipcache-gather"
        cache = build(RandomPayloads(options.samples, options.mean_bytes), directory)
        result = measure(cache, options.batch_size, options.epochs)
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


def measure(cache: SampleCache, batch_size: int, epochs: int) -> dict[str, Any]:
    """Compare ``load_batch`` and ``gather`` with memcpy over shuffled epochs."""
    rng = np.random.default_rng(1)
    everything = cache.payloads("image", np.arange(len(cache)))
    largest = int(np.sort(everything.sizes)[-batch_size:].sum())
    buffers = {
        name: [np.ones(largest, np.uint8) for _ in range(_BUFFERS)] for name in ("memcpy", "gather")
    }
    held: deque[Any] = deque(maxlen=_BUFFERS)
    seconds: dict[str, list[float]] = {"memcpy": [], "gather": [], "load_batch": []}
    names = list(seconds)
    for epoch in range(epochs + 1):
        order = rng.permutation(len(cache))[: len(cache) // batch_size * batch_size]
        spent = dict.fromkeys(names, 0.0)
        for turn, (number, ids) in product(range(3), enumerate(order.reshape(-1, batch_size))):
            name = names[(turn + number) % 3]
            ready = cache.payloads("image", ids)
            offsets = np.cumsum(ready.sizes) - ready.sizes
            start = time.perf_counter()
            if name == "memcpy":
                gather(ready, buffers[name][number % _BUFFERS], offsets)
            elif name == "gather":
                _locate_and_gather(cache, ids, buffers[name][number % _BUFFERS])
            else:
                held.append(cache.load_batch(ids, ["image"]))
            spent[name] += time.perf_counter() - start
        if epoch:
            for name, value in spent.items():
                seconds[name].append(value)
    num_samples = len(order)
    num_bytes = int(everything.sizes[order].sum())
    return {
        "bytes_per_sample": num_bytes / num_samples,
        "batch_size": batch_size,
        "epochs": epochs,
        **{
            name: {
                "samples_per_second": num_samples / statistics.median(values),
                "gigabytes_per_second": num_bytes / statistics.median(values) / 1e9,
                "ratio_to_memcpy": _spread(
                    [base / value for base, value in zip(seconds["memcpy"], values, strict=True)]
                ),
            }
            for name, values in seconds.items()
        },
    }


def _locate_and_gather(cache: SampleCache, ids: np.ndarray[Any, Any], out: Any) -> Payloads:
    payloads = cache.payloads("image", ids)
    gather(payloads, out, np.cumsum(payloads.sizes) - payloads.sizes)
    return payloads


def _spread(ratios: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
    }


if __name__ == "__main__":
    main()
