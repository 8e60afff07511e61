"""Cold random reads of images, with and without prefetching, against the disk's own rate.

The pages of the cache are dropped before every pass: all of them where this process may (root), or
those of its files. The disk's rate is that of ``pread`` of the same ranges in the same order by so
many threads. The methods take turns, so that a slower moment of the disk meets all of them.

    python benchmarks/benchmark_cold_reads.py --samples 30000 --mean-bytes 110000 --threads 16
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_gather import RandomPayloads

from slipstream_cache import SampleCache, build

_DROP = Path("/proc/sys/vm/drop_caches")


def main() -> None:
    """Write one JSON object with the rates and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=30_000)
    parser.add_argument("--read", type=int, default=2_560, help="samples read in a pass")
    parser.add_argument("--mean-bytes", type=int, default=110_000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--batches-ahead", type=int, default=4)
    parser.add_argument("--threads", type=int, default=16, help="of the disk's own rate")
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--cache-dir", type=Path, help="where to build; default: temporary")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = (options.cache_dir or Path(temporary)) / "slipcache-cold"
        cache = build(RandomPayloads(options.samples, options.mean_bytes), directory)
        order = np.random.default_rng(1).permutation(len(cache))
        order = order[: options.read // options.batch_size * options.batch_size]
        result = measure(cache, order.reshape(-1, options.batch_size), options)
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


def measure(cache: SampleCache, batches: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Read the batches in several ways in turn, each time from the disk."""
    directory, ranges = cache.cache_dir, find_ranges(cache, batches.reshape(-1))
    num_bytes = sum(size for _, _, size in ranges)
    methods: dict[str, Callable[[], None]] = {
        "disk": partial(read_ranges, ranges, options.threads),
        "faults": partial(read_batches, directory, batches, 0),
        "prefetch": partial(read_batches, directory, batches, options.batches_ahead),
    }
    files = sorted(directory.rglob("*.*"))
    del cache  # mapped pages cannot be dropped
    rates: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(options.passes):
        for name, method in methods.items():
            drop_pages(files)
            started = time.perf_counter()
            method()
            rates[name].append(num_bytes / 1e6 / (time.perf_counter() - started))
    ratios = [got / own for got, own in zip(rates["prefetch"], rates["disk"], strict=True)]
    return {
        "bytes_per_sample": num_bytes / len(ranges),
        "threads": options.threads,
        "batches_ahead": options.batches_ahead,
        "megabytes_per_second": {
            name: {"median": round(statistics.median(found)), "passes": [round(f) for f in found]}
            for name, found in rates.items()
        },
        "prefetch_to_disk": {
            "median": round(statistics.median(ratios), 3),
            "lowest": round(min(ratios), 3),
            "highest": round(max(ratios), 3),
        },
    }


def find_ranges(cache: SampleCache, ids: Any) -> list[tuple[Path, int, int]]:
    """File, offset and size of each image."""
    starts = [part.first_sample for part in cache.manifest.parts]
    folders = [cache.cache_dir / part.name for part in cache.manifest.parts]
    rows = [np.load(folder / "image.samples.npy") for folder in folders]
    found = []
    for sample_id in ids.tolist():
        part = int(np.searchsorted(starts, sample_id, side="right")) - 1
        row = rows[part][sample_id - starts[part]]
        found.append((folders[part] / "image.bin", int(row["offset"]), int(row["size"])))
    return found


def read_ranges(ranges: list[tuple[Path, int, int]], num_threads: int) -> None:
    """``pread`` all ranges from several threads."""
    files = {path: os.open(path, os.O_RDONLY) for path in {path for path, _, _ in ranges}}
    for file in files.values():
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)

    def read(place: tuple[Path, int, int]) -> int:
        return len(os.pread(files[place[0]], place[2], place[1]))

    with ThreadPoolExecutor(num_threads) as pool:
        list(pool.map(read, ranges, chunksize=4))
    for file in files.values():
        os.close(file)


def read_batches(directory: Path, batches: Any, ahead: int) -> None:
    """Load all batches, asking for so many of the next ones first; 0 asks for none."""
    cache = SampleCache.open(directory)
    asked = 0
    for number, ids in enumerate(batches):
        while ahead and asked < min(number + ahead + 1, len(batches)):
            cache.prefetch("image", batches[asked])
            asked += 1
        cache.load_batch(ids, ["image"])


def drop_pages(files: list[Path]) -> None:
    """Forget what was read; files that are mapped stay in memory."""
    os.sync()
    if os.access(_DROP, os.W_OK):
        _DROP.write_text("3")
        return
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
