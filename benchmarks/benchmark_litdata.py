"""LitData data sets: building their caches, and warm raw epochs against litdata's own loader.

litdata's own writer makes the data set out of a folder of photos: plain dicts (Arrow rows), or
items (``--layout items``). Then, in turns:

- the cache is built, and the chunks are copied by ``cp``, both synced, with the chunks in memory:
  a copy is what bounds a build;
- shuffled epochs of raw batches: ours from the cache, and litdata's ``StreamingDataLoader`` with no
  worker and with one for each processor, persistent; beside them, copying as many bytes in memory.
  The first epochs of each are not counted: ours asks for its files until it sees them in memory.

What litdata takes for a sample depends on the layout: items are copied several times, rows once,
which no loader that copies can undercut by much. So read the ratio with the layout, the size of the
samples, and the copy beside it; on a busy machine read the CPU time.

The peak memory is that of a process that builds the cache and nothing else, less what it takes when
everything is imported.

    python benchmarks/benchmark_litdata.py --source photos --repeat 20 --rounds 5
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from slipstream_cache.processors import usable_processors
from slipstream_loader import SlipstreamDataset, SlipstreamLoader, prepare_cache

_WARM_EPOCHS = 5

_MEASURE_PEAK = """
import sys
from pathlib import Path
from slipstream_loader import SlipstreamDataset, prepare_cache
import slipstream_loader.transcode, pyarrow.ipc, zstandard

def kilobytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

Path("/proc/self/clear_refs").write_text("5")  # forget the peak until now
before = kilobytes("VmRSS")
prepare_cache(SlipstreamDataset(sys.argv[1], cache_dir=sys.argv[2]), verbose=False)
print(kilobytes("VmHWM") - before)
"""


def photo(path: Path, pixels: int | None) -> bytes:
    """A file, or one of the same photo whose longer side has so many pixels."""
    if pixels is None:
        return path.read_bytes()
    image = Image.open(path).convert("RGB")
    image.thumbnail((pixels, pixels))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def write_data_set(photos: list[bytes], folder: Path, repeat: int, layout: str) -> int:
    """Write photos with their numbers as labels; returns the number of samples."""
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(cache_dir=str(folder), chunk_bytes="64MB")
    number = 0
    for _ in range(repeat):
        for data in photos:
            label: Any = number if layout == "rows" else np.int64(number)
            writer.add_item(number, {"image": data, "label": label})
            number += 1
    writer.done()
    writer.merge()
    return number


def as_lists(samples: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Collate a raw batch: images have different sizes, and views of a chunk are no one's own."""

    def owned(value: Any) -> Any:
        return bytes(value) if isinstance(value, memoryview) else value

    return {name: [owned(sample[name]) for sample in samples] for name in samples[0]}


class Copies:
    """Batches of copied bytes in random order, as many as a data set has, on one thread."""

    def __init__(self, num_bytes: int, num_samples: int, batch_size: int) -> None:
        self._size = num_bytes // num_samples
        self._source = np.ones((num_samples, self._size), np.uint8)
        self._buffers = [np.ones((batch_size, self._size), np.uint8) for _ in range(4)]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        order = np.random.default_rng(0).permutation(len(self._source))
        batch_size = len(self._buffers[0])
        for number, start in enumerate(range(0, len(order), batch_size)):
            ids = order[start : start + batch_size]
            buffer = self._buffers[number % len(self._buffers)]
            for row, sample_id in enumerate(ids.tolist()):
                buffer[row] = self._source[sample_id]
            yield {"label": ids}


def synced_seconds(work: Callable[[], object], target: Path) -> float:
    """Seconds of some work, until what it wrote to ``target`` is on the disk."""
    shutil.rmtree(target, ignore_errors=True)
    os.sync()
    began = time.perf_counter()
    work()
    subprocess.run(["sync", "-f", str(target)], check=True)
    return time.perf_counter() - began


def epoch(batches: Iterable[Any], num_samples: int, cpu: list[float]) -> float:
    """Samples a second of one epoch; the CPU microseconds a sample of this process go to a list."""
    began, cpu_began = time.perf_counter(), time.process_time()
    seen = sum(len(batch["label"]) for batch in batches)
    assert seen == num_samples, f"{seen} samples of {num_samples}"
    cpu.append((time.process_time() - cpu_began) / num_samples * 1e6)
    return num_samples / (time.perf_counter() - began)


def litdata_loader(folder: Path, batch_size: int, num_workers: int) -> Any:
    """litdata's loader of shuffled raw batches."""
    import litdata

    dataset = litdata.StreamingDataset(str(folder), shuffle=True)
    return litdata.StreamingDataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        collate_fn=as_lists,
    )


def in_turns(
    turns: dict[str, Callable[[], float]], rounds: int, num_warm: int = 1
) -> dict[str, list[float]]:
    """Run all turns so many times, the other way round every second time, after warming up."""
    results: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(-num_warm, rounds):
        for name in sorted(turns, reverse=number % 2 == 1):
            value = turns[name]()
            if number >= 0:
                results[name].append(round(value, 3))
    return results


def spread(ones: list[float], others: list[float]) -> dict[str, float]:
    """The rounds' ratios of one to the other: median, smallest, largest."""
    ratios = sorted(one / other for one, other in zip(ones, others, strict=True))
    named = {"median": statistics.median(ratios), "low": ratios[0], "high": ratios[-1]}
    return {name: round(value, 3) for name, value in named.items()}


def build_seconds(data: Path, work: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of builds, and of copies of the same chunks, both synced, in turns."""
    caches, copy = work / "caches", work / "copy"
    command = ["cp", "-r", str(data), str(copy)]

    def build() -> None:
        prepare_cache(SlipstreamDataset(data, cache_dir=caches), verbose=False)

    return in_turns(
        {
            "build": lambda: synced_seconds(build, caches),
            "cp": lambda: synced_seconds(lambda: subprocess.run(command, check=True), copy),
        },
        rounds,
    )


def peak_megabytes(data: Path, work: Path) -> int:
    """Peak memory of a process that builds the cache, less what its imports take."""
    peak = subprocess.run(
        [sys.executable, "-c", _MEASURE_PEAK, str(data), str(work / "peak")],
        check=True,
        capture_output=True,
        text=True,
    )
    return round(int(peak.stdout) / 1024)


def epochs(
    data: Path, work: Path, num_samples: int, num_bytes: int, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Rates and CPU times of warm raw epochs, in turns."""
    workers = usable_processors()
    loaders: dict[str, Any] = {
        "slipstream": SlipstreamLoader(
            SlipstreamDataset(data, cache_dir=work / "caches"),
            batch_size=arguments.batch_size,
            drop_last=False,
            verbose=False,
        ),
        "litdata, 0 workers": litdata_loader(data, arguments.batch_size, 0),
        f"litdata, {workers} workers": litdata_loader(data, arguments.batch_size, workers),
        "memcpy": Copies(num_bytes, num_samples, arguments.batch_size),
    }
    cpu: dict[str, list[float]] = {name: [] for name in loaders}
    turns: dict[str, Callable[[], float]] = {
        name: partial(epoch, loader, num_samples, cpu[name]) for name, loader in loaders.items()
    }
    rates = in_turns(turns, arguments.rounds, _WARM_EPOCHS)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    best_other = max(
        (name for name in medians if name.startswith("litdata")), key=medians.__getitem__
    )
    counted = {name: values[_WARM_EPOCHS:] for name, values in cpu.items()}
    return {
        "processors": workers,
        "samples_per_second": rates,
        "median_samples_per_second": {name: round(value) for name, value in medians.items()},
        "best_samples_per_second": {name: round(max(values)) for name, values in rates.items()},
        "slipstream_over_best_litdata": spread(rates["slipstream"], rates[best_other]),
        "slipstream_over_memcpy": spread(rates["slipstream"], rates["memcpy"]),
        "median_cpu_microseconds_per_sample": {
            name: round(statistics.median(values), 1)
            for name, values in counted.items()
            if f"{workers} workers" not in name  # those of other processes are unseen
        },
        "cpu_of_litdata_over_slipstream": spread(
            counted["litdata, 0 workers"], counted["slipstream"]
        ),
        "cpu_of_memcpy_over_slipstream": spread(counted["memcpy"], counted["slipstream"]),
    }


def main() -> None:
    """Write one JSON object with all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--pixels", type=int, help="longer side of the photos; default: as is")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--layout", choices=["rows", "items"], default="rows")
    parser.add_argument("--directory", type=Path, help="where to work; default: a temporary one")
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.source.rglob("*") if path.is_file())
    photos = [photo(path, arguments.pixels) for path in paths]
    with tempfile.TemporaryDirectory(dir=arguments.directory) as folder:
        work, data = Path(folder), Path(folder) / "data"
        num_samples = write_data_set(photos, data, arguments.repeat, arguments.layout)
        num_bytes = sum(path.stat().st_size for path in data.iterdir())
        peak = peak_megabytes(data, work)
        seconds = build_seconds(data, work, arguments.rounds)
        found = epochs(data, work, num_samples, num_bytes, arguments)
    result = {
        "samples": num_samples,
        "bytes_per_sample": num_bytes // num_samples,
        "layout": arguments.layout,
        "build_seconds": seconds,
        "median_megabytes_per_second": {
            name: round(num_bytes / statistics.median(times) / 1e6)
            for name, times in seconds.items()
        },
        "build_rate_over_cp_rate": spread(seconds["cp"], seconds["build"]),
        "peak_megabytes_of_a_build": peak,
        **found,
    }
    json.dump(result, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
