"""Kills builds with SIGKILL at random moments, resumes them, and compares the bytes.

In each run a builder is killed, at a random moment of its life or after a random number of parts,
perhaps one or two more that resume its work, then one is left to finish. The directory must equal
that of a build that nothing disturbed, and after each kill there must be no cache or the whole
cache.

    python benchmarks/campaign_kill.py --runs 200
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slipstream_cache import CacheNotFoundError, SampleCache, build, layout
from slipstream_cache.testing import MemorySource, make_jpeg, read_tree

_FORK = multiprocessing.get_context("fork")
_TIMEOUT_S = 60.0


def make_source(num_samples: int) -> MemorySource:
    """Images of many sizes, numbers and texts, all different."""
    rng = random.Random(0)
    bodies = [bytes([i % 255]) * rng.randrange(2000) for i in range(num_samples)]
    return MemorySource(
        [
            {"image": make_jpeg(i + 1, 9, body=body), "label": i, "path": f"{i}/ü" * (i % 5)}
            for i, body in enumerate(bodies)
        ]
    )


def start(target: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function in a forked process."""
    process = _FORK.Process(target=target, args=arguments)
    process.start()
    return process


def check_readable(directory: Path, source: MemorySource) -> bool:
    """Tell whether there is a cache; one that is not whole is an error."""
    try:
        cache = SampleCache.open(directory)
    except CacheNotFoundError:
        return False
    for i in (0, len(source) // 2, len(source) - 1):
        assert cache[i] == source.samples[i], f"sample {i} of {directory} is not the source's"
    return True


def undisturbed(directory: Path, source: MemorySource) -> tuple[dict[str, bytes], float]:
    """Return the files of an undisturbed build, and the seconds that it takes in a process."""
    build(source, directory / "first")
    began = time.perf_counter()
    process = start(build, source, directory / "second")
    process.join(_TIMEOUT_S)
    seconds = time.perf_counter() - began
    expected = read_tree(directory / "first")
    assert read_tree(directory / "second") == expected, "two builds differ"
    return expected, seconds


def num_sealed(directory: Path) -> int:
    """How many parts of a build are sealed."""
    return len(list(directory.glob("part-?????/part.json")))


def kill_once(
    directory: Path, source: MemorySource, seconds: float, num_parts: int, rng: random.Random
) -> bool:
    """Kill a builder at some moment; returns False if it was done by then."""
    process = start(build, source, directory)
    if rng.random() < 0.3:
        process.join(rng.uniform(0, seconds))
    else:
        wanted = rng.randint(num_sealed(directory), num_parts)
        while process.is_alive() and num_sealed(directory) < wanted:
            time.sleep(0.001)
        process.join(rng.uniform(0, seconds / num_parts))
    process.kill()
    process.join(_TIMEOUT_S)
    assert process.exitcode in (0, -signal.SIGKILL), f"the builder failed: {process.exitcode}"
    check_readable(directory, source)
    return bool(process.exitcode)


def main() -> None:
    """Write one JSON object with what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--part-samples", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    layout.MAX_PART_SAMPLES = arguments.part_samples  # type: ignore[misc]
    source, rng = make_source(arguments.samples), random.Random(arguments.seed)
    num_parts = -(-arguments.samples // arguments.part_samples)
    sealed_parts: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        expected, seconds = undisturbed(Path(folder), source)
        for run in range(arguments.runs):
            directory = Path(folder) / f"run-{run}"
            while not kill_once(directory, source, seconds, num_parts, rng):
                shutil.rmtree(directory)  # it was faster: kill another one
            sealed_parts.append(num_sealed(directory))
            for _ in range(rng.randrange(3)):
                kill_once(directory, source, seconds, num_parts, rng)
            build(source, directory)
            assert check_readable(directory, source)
            assert read_tree(directory) == expected, f"run {run}: other bytes"
    result = {
        "runs": arguments.runs,
        "seconds_of_a_build": round(seconds, 3),
        "runs_by_parts_sealed_at_the_kill": {
            count: sealed_parts.count(count) for count in sorted(set(sealed_parts))
        },
        "equal": True,
    }
    json.dump(result, sys.stdout)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
