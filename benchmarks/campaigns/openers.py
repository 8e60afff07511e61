"""Many processes ask for one cache at the same moment.

First there is none: all call for it, one builds, and the others must wait for that and find the
whole of it, each sample having been read about once. Then there is one: all open it, read
everything and decode an epoch. Every process must see the same bytes and pixels.

    python benchmarks/campaigns/openers.py --processes 200
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from outcome import end

from slipstream_cache import SampleCache, verify
from slipstream_cache.testing import CountingSource
from slipstream_decoders import DecodeRandomResizedCrop
from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.sample_images import write_sample_folder

_FORK = multiprocessing.get_context("fork")
_TIMEOUT_S = 600.0


def prepared(source: CountingSource, folder: Path) -> str:
    """Ask for the cache, and read it."""
    cache = prepare_cache(SlipstreamDataset(source, cache_dir=folder), verbose=False)
    return digest_of(cache)


def opened(source: CountingSource, folder: Path) -> str:
    """Open the cache that is there, and decode an epoch."""
    (directory,) = (path.parent for path in folder.glob("*/manifest.json"))
    assert SampleCache.open(directory).num_samples == len(source)
    cache = SampleCache.open(directory)
    assert verify(cache).ok
    stages = {"image": [DecodeRandomResizedCrop(32)]}
    loader = SlipstreamLoader(
        directory, batch_size=8, seed=0, num_threads=1, pipelines=stages, verbose=False
    )
    digest = hashlib.sha256(digest_of(cache).encode())
    for batch in loader:
        digest.update(batch["image"].contiguous().numpy().tobytes())
    return digest.hexdigest()


def digest_of(cache: SampleCache) -> str:
    """A hash of all samples."""
    digest = hashlib.sha256()
    for name, value in sorted(cache.load_batch(np.arange(len(cache))).items()):
        digest.update(name.encode())
        parts = value.values() if isinstance(value, dict) else [value]
        for part in parts:
            digest.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return digest.hexdigest()


def member(work: Any, source: CountingSource, folder: Path, start: Any, results: Any) -> None:
    """One process: wait for the start, work, tell what was seen and how long it took."""
    start.wait()
    began = time.perf_counter()
    try:
        seen = work(source, folder)
    except BaseException as error:
        results.put((f"{type(error).__name__}: {error}", 0.0))
        raise
    results.put((seen, time.perf_counter() - began))


def run_all(work: Any, source: CountingSource, folder: Path, num_processes: int) -> dict[str, Any]:
    """Let all processes do some work at once."""
    start, results = _FORK.Event(), _FORK.Queue()
    arguments = (work, source, folder, start, results)
    processes = [_FORK.Process(target=member, args=arguments) for _ in range(num_processes)]
    for process in processes:
        process.start()
    start.set()
    end = time.monotonic() + _TIMEOUT_S
    found = [results.get(timeout=max(1.0, end - time.monotonic())) for _ in processes]
    for process in processes:
        process.join(max(1.0, end - time.monotonic()))
    seconds = [taken for _, taken in found]
    return {
        "exit_codes": sorted({process.exitcode for process in processes}, key=str),
        "results": sorted({seen for seen, _ in found}),
        "seconds": {"median": statistics.median(seconds), "longest": max(seconds)},
    }


def main() -> None:
    """Write one JSON object; exit code 1 if the processes did not see the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=200)
    parser.add_argument("--samples", type=int, default=400)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        write_sample_folder(
            photos, num_classes=4, images_per_class=-(-options.samples // 4), seed=0
        )
        files = sorted(photos.rglob("*.jpg"))[: options.samples]
        source = CountingSource(
            [
                {"image": path.read_bytes(), "label": i, "path": path.name}
                for i, path in enumerate(files)
            ]
        )
        caches = Path(folder) / "caches"
        prepared(source, Path(folder) / "others")  # the processes find all modules and kernels
        opened(source, Path(folder) / "others")
        source.reads.value = 0
        gc.collect()
        gc.freeze()  # collections in the processes leave the shared pages shared
        result: dict[str, Any] = {"processes": options.processes}
        result["none there"] = run_all(prepared, source, caches, options.processes)
        result["reads of each sample"] = source.reads.value / len(files)
        result["one there"] = run_all(opened, source, caches, options.processes)
    phases = [result["none there"], result["one there"]]
    is_right = all(len(p["results"]) == 1 and p["exit_codes"] == [0] for p in phases)
    end({**result, "is_right": is_right}, found=not is_right)


if __name__ == "__main__":
    main()
