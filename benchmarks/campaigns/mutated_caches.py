"""Damages one file of a cache at a time, and reads all of it: a clear error or the right data.

Each run flips bits, cuts off, appends, overwrites, removes or exchanges something in a file, the
manifests, the derived fields, the index and the statistics included. Then a process opens the
cache, loads every field, decodes every image through a loader, and asks ``verify`` to read
everything. It must end, by itself and in time; what it raises must be an error of the library that
names what it is about; and data that is not the data that was stored is only right if ``verify``
says that something is wrong.

    python benchmarks/campaigns/mutated_caches.py --runs 10000 --workers 2
"""

from __future__ import annotations

import argparse
import io
import logging
import multiprocessing
import random
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from outcome import end
from PIL import Image

from slipstream_cache import CacheError, SampleCache, read_stats, verify, write_index, write_stats
from slipstream_decoders import DecodeError, DecodeRandomResizedCrop
from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader.errors import LoaderError
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.seek_points import write_seek_points

_SPAWN = multiprocessing.get_context("spawn")
_TIMEOUT_S = 100.0
_START_S = 400.0
"""With kernels to compile, on a busy machine."""
_NUM_SAMPLES = 8


def make_cache(folder: Path) -> Path:
    """A cache with a field of each kind, seek points, an index and statistics."""
    rng = np.random.default_rng(0)
    samples = []
    for number in range(_NUM_SAMPLES):
        file = io.BytesIO()
        picture = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8)).resize((64, 48))
        picture.save(file, "JPEG", progressive=number == 3)
        samples.append(
            {
                "image": file.getvalue(),
                "label": number % 3,
                "vector": rng.random(3).astype(np.float32),
                "path": f"{number}/ü.jpg",
                "boxes": [[number, 1.5], None],
            }
        )
    cache = prepare_cache(SlipstreamDataset(samples, cache_dir=folder))
    write_seek_points(cache, "image", verbose=False)
    write_index(cache, "label")
    write_stats(cache, "numbers", ["label"], {"mean": 1.0})
    return cache.cache_dir


def readings(directory: Path) -> dict[str, Callable[[], Any]]:
    """Everything that can be read of a cache, as something that can be compared."""
    everyone = np.arange(_NUM_SAMPLES)

    def field(name: str) -> Any:
        value = SampleCache.open(directory).load_batch(everyone, [name])[name]
        if isinstance(value, dict):
            return {key: part.tolist() for key, part in value.items()}
        return value.tolist() if isinstance(value, np.ndarray) else value

    def pixels() -> Any:
        loader = SlipstreamLoader(
            directory,
            batch_size=4,
            shuffle=False,
            seed=1,
            num_threads=1,
            pipelines={"image": [DecodeRandomResizedCrop(24)]},
            verbose=False,
        )
        return [batch["image"].tolist() for batch in loader]

    names = ("image", "label", "vector", "path", "boxes")
    index = lambda: SampleCache.open(directory).value_index("label")  # noqa: E731
    return {
        **{name: lambda name=name: field(name) for name in names},  # type: ignore[misc]
        "pixels": pixels,
        "index": lambda: [index().sample_ids(label).tolist() for label in range(3)],
        "stats": lambda: read_stats(SampleCache.open(directory), "numbers"),
    }


def mutate(directory: Path, rng: random.Random) -> str:
    """Damage something; says what."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    path = rng.choice(files)
    name, data = str(path.relative_to(directory)), bytearray(path.read_bytes())
    kind = rng.choice(["flip", "flip", "flip", "cut", "append", "overwrite", "remove", "exchange"])
    if kind == "remove":
        path.unlink()
        return f"{name}: removed"
    if kind == "exchange":
        other = rng.choice(files)
        path.write_bytes(other.read_bytes())
        return f"{name}: has the bytes of {other.relative_to(directory)}"
    if kind == "append":
        path.write_bytes(bytes(data) + rng.randbytes(rng.randrange(1, 64)))
        return f"{name}: longer"
    if not data:
        return f"{name}: empty, as it was"
    if kind == "cut":
        end = rng.randrange(len(data))
        path.write_bytes(bytes(data[:end]))
        return f"{name}: cut at {end}"
    begin = rng.randrange(len(data))
    if kind == "overwrite":
        end = min(len(data), begin + rng.randrange(1, 32))
        data[begin:end] = rng.choice([bytes(end - begin), rng.randbytes(end - begin)])
    else:
        end = begin + 1
        data[begin] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(data))
    return f"{name}: other bytes in [{begin}, {end})"


def is_clear(error: Exception, directory: Path) -> bool:
    """Whether an error is one of the library's and names what it is about."""
    named = str(directory) in str(error) or re.search(r"\bsamples?\b|\bfield\b", str(error))
    return isinstance(error, (CacheError, DecodeError, LoaderError)) and bool(named)


def examine(pristine: Path, expected: dict[str, Any], folder: Path, seed: int) -> dict[str, Any]:
    """One run; ``failure`` tells what should not be."""
    directory = folder / pristine.name
    shutil.copytree(pristine, directory)
    done, outcome, different = mutate(directory, random.Random(seed)), "right data", []
    try:
        for name, read in readings(directory).items():
            try:
                found = read()
                if found is not None and found != expected[name]:  # None: statistics are gone
                    different.append(name)
            except Exception as error:  # noqa: BLE001 - all that is no clear error is a finding
                if not is_clear(error, directory):
                    return {"mutation": done, "failure": f"{name}: {traceback.format_exc()}"}
                outcome = type(error).__name__
        report = verify(directory, level="full")
        if different and report.ok and not report.notes:
            return {"mutation": done, "failure": f"other data, and verify is content: {different}"}
        if different:
            outcome = "other data, which verify tells"
        elif outcome == "right data" and not report.ok:
            outcome = "right data, damage which verify tells"
        return {"mutation": done, "outcome": outcome}
    finally:
        shutil.rmtree(directory)


def work(pristine: Path, connection: Any) -> None:
    """Examine the seeds that come, until there are no more."""
    logging.disable(logging.WARNING)
    expected = {name: read() for name, read in readings(pristine).items()}
    with tempfile.TemporaryDirectory() as folder:
        connection.send(None)
        while (seed := connection.recv()) is not None:
            connection.send(examine(pristine, expected, Path(folder), seed))


class Worker:
    """A process that examines; another takes its place if it dies."""

    def __init__(self, pristine: Path) -> None:
        self.seed: int | None = None
        self.since = time.monotonic()
        self.connection, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=work, args=(pristine, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, seed: int | None) -> None:
        """Let it examine a seed; None lets it end."""
        self.seed, self.since = seed, time.monotonic()
        self.connection.send(seed)

    def result(self) -> dict[str, Any] | None:
        """What it found; None if it works or has just started."""
        if self.connection.poll(0.05):
            try:
                return self.connection.recv() or {}
            except (EOFError, OSError):
                self.process.join(5)
                return {"failure": f"the process died: exit code {self.process.exitcode}"}
        waited = time.monotonic() - self.since
        if waited > (_START_S if self.seed is None else _TIMEOUT_S):
            self.process.kill()
            self.process.join(5)
            return {"failure": f"nothing after {waited:.0f} s"}
        return None


def campaign(pristine: Path, seeds: range, num_workers: int) -> dict[str, Any]:
    """Examine all seeds."""
    todo, outcomes, failures = iter(seeds), Counter[str](), []
    workers = [Worker(pristine) for _ in range(min(num_workers, len(seeds)))]
    while workers:
        for place, worker in enumerate(list(workers)):
            found = worker.result()
            if found is None:
                continue
            if "failure" in found:
                failures.append({"seed": worker.seed, **found})
                print(failures[-1], file=sys.stderr, flush=True)
            elif found:
                outcomes[found["outcome"]] += 1
            if not worker.process.is_alive():
                workers[place] = worker = Worker(pristine)
                continue
            seed = next(todo, None)
            worker.give(seed)
            if seed is None:
                worker.process.join(_TIMEOUT_S)
                workers.remove(worker)
                break
    return {"runs": len(seeds), "outcomes": dict(outcomes.most_common()), "failures": failures}


def main() -> None:
    """Write one JSON object with what happened; exit code 1 if something was not right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pristine = make_cache(Path(folder))
        seeds = range(options.seed, options.seed + options.runs)
        result = campaign(pristine, seeds, options.workers)
    end(result, found=result["failures"])


if __name__ == "__main__":
    main()
