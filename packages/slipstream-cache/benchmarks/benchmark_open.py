"""Time and memory of opening caches of 10^3 to 10^7 samples, whose manifests alone are made.

Each size is opened in a process of its own: the time is that of ``SampleCache.open`` after a small
cache was opened, the memory what the process grew by.

    python benchmarks/benchmark_open.py --samples-per-part 9000
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from slipstream_cache import FieldSpec, StorageOptions
from slipstream_cache.field_types import field_files
from slipstream_cache.manifest import (
    FileInfo,
    ImageCounts,
    Manifest,
    PartInfo,
    SourceInfo,
    part_name,
)

FIELDS = {
    "image": FieldSpec("image"),
    "label": FieldSpec("dense", "<i8"),
    "path": FieldSpec("ragged", content="str"),
}
SCRIPT = """
import gc, resource, sys, time
from slipstream_cache import SampleCache
small = SampleCache.open(sys.argv[1])
gc.collect()
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
before = resident()
started = time.perf_counter()
cache = SampleCache.open(sys.argv[2])
seconds = time.perf_counter() - started
print(seconds, resident() - before, len(cache))
"""


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples-per-part", type=int, default=9_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print("| samples | parts | manifest, MB | open, ms (spread) | memory, MB |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        small = write_manifest(Path(temporary) / "small", 1000, 1000)
        for exponent in range(3, 8):
            directory = Path(temporary) / f"{exponent}"
            write_manifest(directory, 10**exponent, options.samples_per_part)
            runs = [open_once(small, directory) for _ in range(options.repeats)]
            times = sorted(1e3 * seconds for seconds, _ in runs)
            text = (directory / "manifest.json").read_text()
            print(
                f"| {10**exponent:,} | {len(json.loads(text)['parts']):,} "
                f"| {len(text) / 1e6:.2f} "
                f"| {statistics.median(times):.1f} ({times[0]:.1f} to {times[-1]:.1f}) "
                f"| {statistics.median(grown for _, grown in runs) / 1e6:.1f} |"
            )


def open_once(small: Path, directory: Path) -> tuple[float, float]:
    """Seconds and bytes, in a new process."""
    command = [sys.executable, "-c", SCRIPT, str(small), str(directory)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, grown, _ = run.stdout.split()
    return float(seconds), float(grown)


def write_manifest(directory: Path, num_samples: int, samples_per_part: int) -> Path:
    """A cache without files."""
    names = [file for name, spec in FIELDS.items() for file in field_files(name, spec)]
    parts = [
        PartInfo(
            name=part_name(number),
            first_sample=first,
            num_samples=min(samples_per_part, num_samples - first),
            files={name: FileInfo(10**9 + number, f"{number:016x}") for name in names},
            images={"image": ImageCounts(0, 0)},
        )
        for number, first in enumerate(range(0, num_samples, samples_per_part))
    ]
    source = SourceInfo("synthetic", "synthetic", "0" * 64)
    manifest = Manifest("0" * 16, num_samples, source, StorageOptions(), FIELDS, tuple(parts))
    directory.mkdir()
    (directory / "manifest.json").write_text(manifest.to_json())
    return directory


if __name__ == "__main__":
    main()
