"""Epochs over data that does not fit in memory, against the disk's own rate.

    uv run python benchmarks/benchmark_larger_than_memory.py [--samples 40000] [--limit-mb 1500]

A child process is put in a memory control group of its own, beneath the one it is in (Linux, root),
and reads a cache several times larger than the group may hold: through the loader, whose payloads
come in quasi-random and in random order, and by ``pread`` of the same ranges in the same order from
many threads. The ways take turns, each with the pages of the files dropped before.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstream_cache import FieldSpec, SampleCache, build
from slipstream_loader import SlipstreamLoader

BATCH_SIZE = 64
READ_THREADS = 16


class RandomImages:
    """Payloads of random bytes behind a JPEG header, as large as photos are."""

    uri, kind = "random", "synthetic"

    def __init__(self, count: int, mean_bytes: int) -> None:
        self.field_types = {"image": FieldSpec("image")}
        rng = np.random.default_rng(0)
        self._sizes = rng.integers(mean_bytes // 2, mean_bytes * 3 // 2, count)
        self._bytes = rng.integers(0, 255, 1 << 20, np.uint8).tobytes()
        header = b"\xff\xd8\xff\xc0\x00\x0b\x08\x01\x00\x01\x00\x01\x01\x11\x00"
        self._header = header + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, sample_id: int) -> dict[str, Any]:
        start = (sample_id * 7919) % (1 << 19)
        body = self._bytes[start : start + int(self._sizes[sample_id])]
        return {"image": self._header + body + b"\xff\xd9"}

    def describe(self, sample_id: int) -> str:
        return str(sample_id)

    def fingerprint(self) -> str:
        return f"random-{len(self)}-{int(self._sizes.sum())}"


@contextmanager
def memory_group(limit: int) -> Iterator[Path]:
    """A control group (v1 or v2) beneath this process's own, with a limit in bytes."""
    lines = Path("/proc/self/cgroup").read_text(encoding="ascii").split()
    places = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in lines}
    if "memory" in places:
        own, name = Path("/sys/fs/cgroup/memory" + places["memory"]), "memory.limit_in_bytes"
    else:
        own, name = Path("/sys/fs/cgroup" + places[""]), "memory.max"
    group = own / f"larger-than-memory-{os.getpid()}"
    group.mkdir()
    try:
        (group / name).write_text(str(limit), encoding="ascii")
        yield group
    finally:
        group.rmdir()


def drop_pages(directory: Path) -> None:
    """Forget the files' pages; they must not be mapped."""
    for path in directory.rglob("*.*"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_ranges(places: list[tuple[Path, int, int]]) -> None:
    """``pread`` all ranges, many at a time."""
    files = {path: os.open(path, os.O_RDONLY) for path in {path for path, _, _ in places}}
    for file in files.values():
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
    with ThreadPoolExecutor(READ_THREADS) as pool:
        list(pool.map(lambda at: len(os.pread(files[at[0]], at[2], at[1])), places, chunksize=4))
    for file in files.values():
        os.close(file)


def ranges_of(cache_dir: Path, ids: NDArray[np.int64]) -> list[tuple[Path, int, int]]:
    """File, offset and size of each sample's payload."""
    parts = SampleCache.open(cache_dir).manifest.parts
    starts = np.array([part.first_sample for part in parts])
    rows = [np.load(cache_dir / part.name / "image.samples.npy") for part in parts]
    owners = np.searchsorted(starts, ids, side="right") - 1
    return [
        (
            cache_dir / parts[owner].name / "image.bin",
            int(rows[owner]["offset"][i]),
            int(rows[owner]["size"][i]),
        )
        for owner, i in zip(owners.tolist(), (ids - starts[owners]).tolist(), strict=True)
    ]


def read_batches(
    cache_dir: Path, order: str, seed: int, num_batches: int
) -> tuple[float, NDArray[np.int64]]:
    """Seconds of an epoch's first raw batches, and their samples in order."""
    loader = SlipstreamLoader(cache_dir, BATCH_SIZE, order=order, seed=seed, distributed=False)
    started = time.perf_counter()
    ids = [batch["_indices"].numpy().copy() for batch in islice(loader, num_batches)]
    seconds = time.perf_counter() - started
    loader.shutdown()
    return seconds, np.concatenate(ids)


def measure(cache_dir: Path, rounds: int, num_batches: int) -> dict[str, Any]:
    """Bytes per second of each way, in turns, and the loader's ratio to the disk."""
    rates: dict[str, list[float]] = {}
    read_batches(cache_dir, "random", 0, 1)  # loads the kernels
    for number in range(rounds):
        for order in ("quasi_random", "random"):
            drop_pages(cache_dir)
            seconds, ids = read_batches(cache_dir, order, number, num_batches)
            places = ranges_of(cache_dir, ids)
            num_bytes = sum(size for _, _, size in places)
            rates.setdefault(f"loader, {order}", []).append(num_bytes / seconds)
            drop_pages(cache_dir)
            started = time.perf_counter()
            read_ranges(places)
            seconds = time.perf_counter() - started
            rates.setdefault(f"disk, {order}", []).append(num_bytes / seconds)
    figures: dict[str, Any] = {
        "megabytes_per_second": {
            name: {
                "median": round(statistics.median(of) / 1e6),
                "all": [round(r / 1e6) for r in of],
            }
            for name, of in rates.items()
        }
    }
    for order in ("quasi_random", "random"):
        pairs = zip(rates[f"loader, {order}"], rates[f"disk, {order}"], strict=True)
        ratios = sorted(ours / disk for ours, disk in pairs)
        figures[f"loader / disk, {order}"] = [round(ratio, 2) for ratio in ratios]
    return figures


def main() -> None:
    """Build the cache, and measure in a limited child."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=40_000)
    parser.add_argument("--mean-bytes", type=int, default=110_000)
    parser.add_argument("--limit-mb", type=int, default=1500, help="torch needs about 1000 of it")
    parser.add_argument("--batches", type=int, default=300, help="read in a pass")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cache-dir", type=Path, help="where to build; default: temporary")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        sys.stdout.write(
            json.dumps(measure(options.child, options.rounds, options.batches), indent=1) + "\n"
        )
        return
    with tempfile.TemporaryDirectory(dir=options.cache_dir) as temporary:
        cache_dir = Path(temporary) / "slipcache-large"
        build(RandomImages(options.samples, options.mean_bytes), cache_dir)
        with memory_group(options.limit_mb << 20) as group:
            command = [sys.executable, __file__, "--child", str(cache_dir)]
            subprocess.run(
                [*command, "--rounds", str(options.rounds), "--batches", str(options.batches)],
                check=True,
                preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())),
            )


if __name__ == "__main__":
    main()
