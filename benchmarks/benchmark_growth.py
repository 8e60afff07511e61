"""What grows with the data: opening a cache, ordering an epoch, for 10^3 to 10^7 samples.

    uv run python benchmarks/benchmark_growth.py [--largest 7] [--rounds 5] [--json PATH]

Times are CPU times of one thread. Caches are manifests alone, since opening looks at nothing else;
each is opened in a process of its own, after a small one. Orders are those of other epochs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from slipstream_loader.machine import machine_info
from slipstream_loader.order import permutation

sys.path.append(str(Path(__file__).parents[1] / "packages" / "slipstream-cache" / "benchmarks"))
from benchmark_open import write_manifest

OPEN = """
import resource, sys, time
from slipstream_cache import SampleCache
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
kept = [SampleCache.open(sys.argv[1])]
for path in sys.argv[2:]:
    before, started = resident(), time.process_time()
    kept.append(SampleCache.open(path))
    print(time.process_time() - started, resident() - before)
"""


def opened(caches: list[Path]) -> list[tuple[float, float]]:
    """CPU seconds and bytes for each cache but the first, in one new process."""
    command = [sys.executable, "-c", OPEN, *map(str, caches)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    pairs = [line.split() for line in run.stdout.splitlines()]
    return [(float(seconds), float(grown)) for seconds, grown in pairs]


def ordered(num_samples: int, epoch: int) -> float:
    """CPU seconds for the order of an epoch."""
    started = time.process_time()
    permutation("random", num_samples, seed=0, epoch=epoch)
    return time.process_time() - started


def measure(sizes: list[int], rounds: int, folder: Path) -> list[dict[str, Any]]:
    """The figures of each number of samples."""
    caches = [write_manifest(folder / "small", 1000, 1000)]
    caches += [write_manifest(folder / str(size), size, 9_000) for size in sizes]
    opens = [opened(caches) for _ in range(rounds)]
    return [
        {
            "samples": size,
            "open_ms": [1e3 * found[number][0] for found in opens],
            "open_megabytes": statistics.median(found[number][1] for found in opens) / 1e6,
            "order_ms": [1e3 * ordered(size, epoch) for epoch in range(rounds)],
        }
        for number, size in enumerate(sizes)
    ]


def main() -> None:
    """Parse the arguments, measure, print and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=7, help="as a power of ten")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    ordered(1000, 0)
    with tempfile.TemporaryDirectory() as folder:
        sizes = [10**exponent for exponent in range(3, options.largest + 1)]
        rows = measure(sizes, options.rounds, Path(folder))
    for row in rows:
        opening, order = (statistics.median(row[name]) for name in ("open_ms", "order_ms"))
        print(
            f"{row['samples']:>12,} samples: open {opening:8.2f} ms, {row['open_megabytes']:.1f} MB"
            f"; order of an epoch {order:9.2f} ms"
        )
    if options.json:
        figures = {"rounds": options.rounds, "machine": machine_info(), "rows": rows}
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
