"""Building the cache of an image folder against ``cp -r`` of the same folder, both synced.

The source is read once beforehand, so that both begin with it in memory. They take turns, and who
begins alternates from round to round; before each turn the old target is removed and the disk is
idle (``sync``). A turn ends when all bytes are on the disk: ``sync -f`` follows the copy and the
build alike, although a build has synced its files itself by then.

    python benchmarks/benchmark_build.py --source photos --repeat 40 --rounds 8
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from slipstream_loader import SlipstreamDataset
from slipstream_loader.prepare import prepare_cache


def repeat_folder(source: Path, target: Path, times: int) -> int:
    """Copy every file so many times under other names; returns the bytes."""
    total = 0
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        data = path.read_bytes()
        folder = target / path.parent.relative_to(source)
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(times):
            total += (folder / f"{number:04d}_{path.name}").write_bytes(data)
    return total


def timed(work: Callable[[], object], target: Path) -> float:
    """Seconds of some work, until what it wrote to ``target`` is on the disk."""
    shutil.rmtree(target, ignore_errors=True)
    os.sync()
    began = time.perf_counter()
    work()
    subprocess.run(["sync", "-f", str(target)], check=True)
    return time.perf_counter() - began


def main() -> None:
    """Write one JSON object with all times and the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--repeat", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--directory", type=Path, help="where to work; default: a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as folder:
        photos, copy, caches = (Path(folder) / name for name in ("photos", "copy", "caches"))
        num_bytes = repeat_folder(arguments.source, photos, arguments.repeat)
        dataset = SlipstreamDataset(photos, cache_dir=caches)
        num_parts = 0

        def build() -> None:
            nonlocal num_parts
            cache = prepare_cache(dataset, num_workers=arguments.threads, verbose=False)
            num_parts = len(cache.manifest.parts)

        command = ["cp", "-r", str(photos), str(copy)]
        turns = {
            "build": lambda: timed(build, caches),
            "cp": lambda: timed(lambda: subprocess.run(command, check=True), copy),
        }
        seconds: dict[str, list[float]] = {name: [] for name in turns}
        for number in range(arguments.rounds + 1):
            for name in sorted(turns, reverse=number % 2 == 1):
                took = turns[name]()
                if number > 0:  # the first round warms up
                    seconds[name].append(round(took, 3))
    ratios = [cp / own for cp, own in zip(seconds["cp"], seconds["build"], strict=True)]
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    result = {
        "files": len(dataset),
        "bytes": num_bytes,
        "parts": num_parts,
        "seconds": seconds,
        "median_megabytes_per_second": {
            name: round(num_bytes / median / 1e6) for name, median in medians.items()
        },
        "build_rate_over_cp_rate": round(medians["cp"] / medians["build"], 3),
        "ratios_of_rounds": [round(ratio, 3) for ratio in ratios],
    }
    json.dump(result, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
