"""What grows with the data: opening a cache, ordering an epoch, for 10^3 to 10^7 samples.

    uv run python benchmarks/benchmark_growth.py [--largest 7] [--rounds 5] [--json PATH]

Caches are manifests alone, since opening looks at nothing else; each is opened in a process of its
own, after a small one. Orders are made in this process, each for another epoch.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from slipstream_loader.machine import machine_info
from slipstream_loader.order import permutation

sys.path.append(str(Path(__file__).parents[1] / "packages" / "slipstream-cache" / "benchmarks"))
from benchmark_open import open_once, write_manifest


def measure(exponent: int, small: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """The figures of one number of samples."""
    num_samples = 10**exponent
    cache = write_manifest(folder / str(exponent), num_samples, 9_000)
    opened = [open_once(small, cache) for _ in range(rounds)]
    orders = []
    for epoch in range(rounds):
        started = time.perf_counter()
        permutation("random", num_samples, seed=0, epoch=epoch)
        orders.append(time.perf_counter() - started)
    return {
        "samples": num_samples,
        "open_ms": [1e3 * seconds for seconds, _ in opened],
        "open_megabytes": statistics.median(grown for _, grown in opened) / 1e6,
        "order_ms": [1e3 * seconds for seconds in orders],
    }


def main() -> None:
    """Parse the arguments, measure, print and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=7, help="as a power of ten")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    permutation("random", 1000, seed=0, epoch=0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        small = write_manifest(folder / "small", 1000, 1000)
        sizes = range(3, options.largest + 1)
        rows = [measure(exponent, small, folder, options.rounds) for exponent in sizes]
    for row in rows:
        opened, ordered = (statistics.median(row[name]) for name in ("open_ms", "order_ms"))
        print(
            f"{row['samples']:>12,} samples: open {opened:8.2f} ms, {row['open_megabytes']:.1f} MB"
            f"; order of an epoch {ordered:9.2f} ms"
        )
    if options.json:
        figures = {"rounds": options.rounds, "machine": machine_info(), "rows": rows}
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
