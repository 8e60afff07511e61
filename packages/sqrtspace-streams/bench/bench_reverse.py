"""A kernel over many windows, from the last to the first, in few bundles: steps are counted.

    python bench/bench_reverse.py --windows 1000000 --bundles 2000
    python bench/bench_reverse.py --windows 1000000 --bundles 180

A bundle is a state of the kernel or a row of it; both have the same bytes here. Every row is
compared with the one that a run with everything in memory has. Exit code 1 where steps differ from
the closed form, bundles are more than allowed, or a row is not the same.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from typing import Any

import numpy as np
from tqdm import tqdm

from sqrtspace_streams import Kernel, SqrtSpacePipeline
from sqrtspace_streams.schedules import mixed_steps

_ROW = 10  # int64 in a row, which then has the bytes of a state


class RunningSum(Kernel):
    """The sum of the samples so far, and of their squares; exact."""

    chunk_invariant = True

    def init_state(self, shape: Any, dtype: Any) -> Any:  # noqa: ARG002
        """Two numbers; 80 bytes as states are counted."""
        return [0, 0]

    def step(self, x_block: Any, state: Any) -> Any:
        """Any number of windows of one sample."""
        rows = np.zeros((len(x_block), _ROW), np.int64)
        x = x_block[:, 0]
        rows[:, 0], rows[:, 1] = state[0] + np.cumsum(x), state[1] + np.cumsum(x * x)
        return rows, rows[-1, :2].tolist()


def main() -> int:
    """Exit code 1 if anything is not as promised."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=1_000_000)
    parser.add_argument("--bundles", type=int, default=2_000)
    arguments = parser.parse_args()
    count, bundles = arguments.windows, arguments.bundles
    samples = np.random.default_rng(0).integers(0, 1000, count)
    sums = np.cumsum(samples)
    squares = np.cumsum(samples * samples)
    pipe = SqrtSpacePipeline(window=1, hop=1, dtype="int64")
    pipe.kernel("sum")(RunningSum)
    pipe.bind(samples)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, end, wrong = time.process_time(), count, 0
    with tqdm(total=count, disable=None) as bar:
        for first, rows in pipe.blocks_reversed("sum", budget_bytes=8 * _ROW * bundles):
            wrong += int((rows[:, 0] != sums[first:end]).sum())
            wrong += int((rows[:, 1] != squares[first:end]).sum())
            bar.update(end - first)
            end = first
    seconds = time.process_time() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    report, steps = pipe.last_reversal, pipe.last_counts.rows["sum"]
    assert report is not None
    theory = mixed_steps(count, bundles)
    print(
        f"{count} windows, {report.peak_bundles} bundles of {bundles} allowed: {steps} steps, "
        f"{steps / count:.6f} a window; closed form {theory}, and 1 to measure a row; "
        f"{wrong} wrong numbers, windows left {end}; {grown:.1f} MiB more memory, {seconds:.1f} s"
    )
    is_right = steps == theory + 1 and report.peak_bundles <= bundles and not wrong and not end
    return int(not is_right)


if __name__ == "__main__":
    sys.exit(main())
