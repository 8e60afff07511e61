"""Building a cache from each kind of source against what bounds it, with the peak of memory.

The same images are written as a folder, as tar archives, as parquet, as a ``datasets.Dataset`` and
as a generator. A build (opening, hashing, listing, storing, syncing) and its bound take turns; each
build runs in a process of its own, which reports its anonymous memory's growth after the imports.
Bounds: reading and writing all bytes (``cp`` and sync) for what is not compressed; for archives,
decompressing to nowhere in one thread; for tables, pyarrow's own reading to nowhere.

    python benchmarks/benchmark_sources.py --source photos --repeat 20 --rounds 3
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import json
import lzma
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

KINDS = ("folder", "tar", "tar.gz", "tar.bz2", "tar.xz", "parquet", "dataset", "generator")
_MODES = {"tar": "w", "tar.gz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}
_BLOCK = 1 << 20


def images(source: Path, times: int) -> Iterator[tuple[str, bytes]]:
    """Every image so many times under other names: (class/file, bytes)."""
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        data = path.read_bytes()
        for number in range(times):
            yield f"{path.parent.name}/{number:04d}_{path.name}", data


def write(kind: str, source: Path, times: int, root: Path) -> Path:
    """Write the images in one form; returns its place."""
    target = root / (f"photos.{kind}" if kind != "folder" else "photos")
    if kind in ("folder", "generator"):
        target = root / "photos"
        for name, content in () if target.exists() else images(source, times):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)
    elif kind in _MODES:
        level = {"compresslevel": 1} if kind in ("tar.gz", "tar.bz2") else {}
        level = {"preset": 0} if kind == "tar.xz" else level
        with tarfile.open(target, _MODES[kind], **level) as tar:  # type: ignore[call-overload]
            tar.add(root / "photos", "photos")
    else:
        import datasets

        rows = [
            {"image": {"bytes": data, "path": name}, "label": len(name)}
            for name, data in images(source, times)
        ]
        features = {"image": datasets.Image(), "label": datasets.Value("int64")}
        data = datasets.Dataset.from_list(rows, features=datasets.Features(features))
        if kind == "parquet":
            data.to_parquet(target)
        else:
            data.save_to_disk(str(target))
    return target


def opened(kind: str, place: Path) -> Any:
    """The source of a kind."""
    if kind == "dataset":
        import datasets

        return datasets.load_from_disk(str(place))
    if kind == "generator":
        files = sorted(path for path in place.rglob("*") if path.is_file())
        return ({"image": path.read_bytes(), "path": path.name} for path in files)
    return place


def build_here(kind: str, place: Path, cache_root: Path) -> None:
    """Build a cache in this process; print seconds, bytes and the peak of memory."""
    from slipstream_loader import SlipstreamDataset, prepare_cache

    source = opened(kind, place)
    before, peak, done = anonymous_bytes(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began, began_cpu = time.perf_counter(), time.process_time()
    name = "images" if kind == "generator" else None
    dataset = SlipstreamDataset(source, cache_dir=cache_root, name=name)
    cache = prepare_cache(dataset, verbose=False)
    subprocess.run(["sync", "-f", str(cache_root)], check=True)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
    done.set()
    watcher.join()
    found = {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "samples": len(cache),
        "bytes": cache.manifest.num_bytes,
    }
    print(json.dumps({**found, "peak_bytes": peak[0] - before}))


def anonymous_bytes() -> int:
    """Memory of this process that is not of files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise OSError("no RssAnon in /proc/self/status")


def build_apart(kind: str, place: Path, cache_root: Path) -> dict[str, float]:
    """Build in a fresh process, into an empty place."""
    shutil.rmtree(cache_root, ignore_errors=True)
    cache_root.mkdir()
    os.sync()
    arguments = ["--build", kind, str(place), str(cache_root)]
    command = [sys.executable, __file__, *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


def bound(kind: str, place: Path, scratch: Path) -> float:
    """Seconds of what a build cannot do without."""
    openers: dict[str, Callable[..., Any]] = {
        "tar.gz": gzip.open,
        "tar.bz2": bz2.open,
        "tar.xz": lzma.open,
    }
    shutil.rmtree(scratch, ignore_errors=True)
    os.sync()
    began = time.perf_counter()
    if kind in openers:
        with openers[kind](place) as file:
            while file.read(_BLOCK):
                pass
    elif kind == "parquet":
        import pyarrow.parquet as pq

        for _ in pq.ParquetFile(place).iter_batches(64):
            pass
    else:
        subprocess.run(["cp", "-r", str(place), str(scratch)], check=True)
        subprocess.run(["sync", "-f", str(scratch)], check=True)
    return time.perf_counter() - began


def main() -> None:
    """Write one JSON object: each kind's rates, ratio and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, help="a folder of JPEG files in class folders")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--directory", type=Path, help="where to work; default: a temporary one")
    parser.add_argument("--build", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.build:
        kind, place, cache_root = arguments.build
        build_here(kind, Path(place), Path(cache_root))
        return
    results = []
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        root = Path(directory)
        write("folder", arguments.source, arguments.repeat, root)
        for kind in arguments.kinds:
            place = write(kind, arguments.source, arguments.repeat, root)
            builds, bounds = [], []
            for _ in range(arguments.rounds):
                bounds.append(bound(kind, place, root / "scratch"))
                builds.append(build_apart(kind, place, root / "caches"))
            seconds = [build["seconds"] for build in builds]
            size = builds[0]["bytes"]
            results.append(
                {
                    "source": kind,
                    "megabytes": round(size / 1e6),
                    "images_per_second": round(builds[0]["samples"] / statistics.median(seconds)),
                    "megabytes_per_second": round(size / 1e6 / statistics.median(seconds)),
                    "seconds": [round(value, 2) for value in seconds],
                    "cpu_seconds": [round(build["cpu_seconds"], 2) for build in builds],
                    "bound_seconds": [round(value, 2) for value in bounds],
                    "of_bound": round(statistics.median(bounds) / statistics.median(seconds), 2),
                    "peak_megabytes": round(max(b["peak_bytes"] for b in builds) / 1e6),
                }
            )
            sys.stderr.write(json.dumps(results[-1]) + "\n")
    sys.stdout.write(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
