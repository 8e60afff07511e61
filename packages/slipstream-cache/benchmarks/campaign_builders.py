"""Lets several builders without a common lock build one cache, as on several hosts.

In each run some of the builders are killed at random moments, while a reader opens the cache again
and again: it must see no cache or the whole cache. The directory must equal that of one undisturbed
builder. They share the work, since each leaves to the others what they seem to be writing:
``reads_of_each_sample`` tells how much was done twice.

    python benchmarks/campaign_builders.py --runs 50 --builders 4
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from campaign_kill import check_readable, make_source, start, undisturbed

from slipstream_cache import build, builder, layout
from slipstream_cache.testing import CountingSource, MemorySource, read_tree

_TIMEOUT_S = 120.0


def build_alone(source: MemorySource, directory: Path, delay_s: float) -> None:
    """Build after a moment, as a host would that shares no lock with the others."""
    builder.build_lock = lambda _: contextlib.nullcontext()  # type: ignore[assignment]
    time.sleep(delay_s)
    cache = build(source, directory, num_workers=2)
    assert cache[len(cache) - 1] == source.samples[-1]


def run_once(
    source: CountingSource, directory: Path, num_builders: int, seconds: float, rng: random.Random
) -> int:
    """Build a cache with all builders; returns how many of them were killed."""
    delays = [rng.uniform(0, seconds / 2) for _ in range(num_builders)]
    builders = [start(build_alone, source, directory, delay) for delay in delays]
    victims = rng.sample(builders, rng.randrange(num_builders))
    deaths = sorted(
        ((time.monotonic() + rng.uniform(0, 2 * seconds), victim) for victim in victims),
        key=lambda death: death[0],
    )
    limit = time.monotonic() + _TIMEOUT_S
    while any(process.is_alive() for process in builders):
        while deaths and time.monotonic() > deaths[0][0]:
            deaths.pop(0)[1].kill()
        check_readable(directory, source)
        assert time.monotonic() < limit, "the builders do not come to an end"
    for process in builders:
        process.join()
        ends = (0, -signal.SIGKILL) if process in victims else (0,)
        assert process.exitcode in ends, f"a builder failed in {directory}"
    return sum(process.exitcode != 0 for process in builders)


def main() -> None:
    """Write one JSON object with what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--builders", type=int, default=4)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    layout.MAX_PART_SAMPLES = 25  # type: ignore[misc]
    given, rng = make_source(arguments.samples), random.Random(arguments.seed)
    source = CountingSource(given.samples, delay_s=0.001)
    killed = 0
    with tempfile.TemporaryDirectory() as folder:
        expected, seconds = undisturbed(Path(folder), source)
        source.reads.value = 0
        for run in range(arguments.runs):
            directory = Path(folder) / f"run-{run}"
            killed += run_once(source, directory, arguments.builders, seconds, rng)
            build(given, directory)  # cleans up after those who were killed at the very end
            assert read_tree(directory) == expected, f"run {run}: other bytes"
    reads = source.reads.value / (arguments.runs * arguments.samples)
    result = {
        "runs": arguments.runs,
        "builders": arguments.builders,
        "builders_killed": killed,
        "reads_of_each_sample": round(reads, 2),
        "equal": True,
    }
    json.dump(result, sys.stdout)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
