"""Runs that are killed, and what it costs to be ready for that.

    python bench/bench_resume.py kill --kills 200
    python bench/bench_resume.py overhead --rounds 7

``kill`` starts a run again and again and ends it with kill -9 at a random moment, until it has
come to its end; then it begins a new one. All have to end with the bytes of a run that nobody
disturbed. ``overhead`` compares `evaluate_resumable` with writing the same rows to a file.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from sqrtspace_streams import Kernel, SqrtSpacePipeline
from sqrtspace_streams.resume import Journal, evaluate_resumable

_WINDOWS = 300


class Leaky(Kernel):
    """A decaying sum of windows."""

    def init_state(self, shape: Any, dtype: Any) -> dict[str, Any]:  # noqa: ARG002
        """Nothing."""
        return {"y": np.zeros(shape)}

    def step(self, x_block: Any, state: dict[str, Any]) -> Any:
        """One window."""
        y = 0.9 * state["y"] + x_block[0]
        return y[None], {"y": y}


def small_pipeline() -> SqrtSpacePipeline:
    """A kernel between stages, one of which reads later windows."""
    pipe = SqrtSpacePipeline(window=16, hop=8, max_workers=1, tile=16)
    pipe.stage("spectrum")(lambda x: np.abs(np.fft.rfft(x)))
    pipe.kernel("past", ["spectrum"])(Leaky)
    pipe.stage("near", ["past"], context=(2, 1))(lambda x: x[:-3] + x[1:-2] - x[3:])
    pipe.bind(np.random.default_rng(0).standard_normal(8 * _WINDOWS + 8).astype("float32"))
    return pipe


def run_slowly(directory: str) -> None:
    """The process that is killed."""
    pipe = small_pipeline()
    print("begin", flush=True)
    evaluate_resumable(
        pipe, "near", directory, every=4, progress=lambda done, _: print(done, flush=True)
    )
    print("end", flush=True)


def kill(kills: int) -> int:
    """How many runs ended with other bytes; prints what happened."""
    expected = hashlib.sha256(small_pipeline().evaluate("near").tobytes()).hexdigest()
    killed = runs = wrong = lost = 0
    with tempfile.TemporaryDirectory() as parent, tqdm(total=kills, disable=None) as bar:
        while killed < kills:
            directory, runs = Path(parent) / str(runs), runs + 1
            while not _finished(directory, random.uniform(0, 0.3) if killed < kills else None):
                killed += 1
                bar.update()
            rows = np.load(directory / "rows.npy")
            wrong += hashlib.sha256(rows.tobytes()).hexdigest() != expected
            state: Any = Journal(directory).load()
            lost += state["position"] != _WINDOWS
    print(f"{killed} kills in {runs} runs of {_WINDOWS} windows: {wrong} with other bytes")
    return wrong + lost


def _finished(directory: Path, seconds: float | None) -> bool:
    """Go on for some time, or undisturbed; whether the run came to its end."""
    command = [sys.executable, __file__, "child", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        if child.stdout.readline() != "begin\n":
            raise SystemExit("a run did not begin: see above")
        if seconds is not None:
            time.sleep(seconds)
            os.kill(child.pid, signal.SIGKILL)
        return child.stdout.read().endswith("end\n")


def overhead(rounds: int, num_windows: int) -> None:
    """Processor time and time of pairs, and the time for which commits waited."""
    from sqrtspace_streams import demos  # which the killed processes do not wait for

    demo = demos.load("audio")
    ratios, cpu_ratios, shares = [], [], []
    fsync = os.fsync
    with tempfile.TemporaryDirectory() as parent:
        path = Path(parent) / "recording.npy"
        samples = 4096 + 1024 * (num_windows - 1)
        np.save(path, np.random.default_rng(0).standard_normal(samples).astype("float32"))
        for number in range(rounds):
            times: dict[str, tuple[float, float]] = {}
            inside = [0.0]

            def timed(work: Any, inside: list[float] = inside) -> Any:
                def call(*arguments: Any) -> Any:
                    began = time.monotonic()
                    result = work(*arguments)
                    inside[0] += time.monotonic() - began
                    return result

                return call

            for way in ("plain", "resumable") if number % 2 else ("resumable", "plain"):
                pipe = demo.pipeline(window=4096, hop=1024, mode="sqrt")
                pipe.bind(str(path))
                began, cpu = time.monotonic(), time.process_time()
                if way == "plain":
                    _write(pipe, demo.params(4096), Path(parent) / "plain.npy", num_windows)
                else:
                    os.fsync = timed(fsync)
                    directory = Path(parent) / str(number)
                    evaluate_resumable(pipe, "classify", directory, params=demo.params(4096))
                    os.fsync = fsync
                times[way] = (time.monotonic() - began, time.process_time() - cpu)
            ratios.append(times["resumable"][0] / times["plain"][0])
            cpu_ratios.append(times["resumable"][1] / times["plain"][1])
            shares.append(inside[0] / times["resumable"][0])
    for name, values in (
        ("time over plain", ratios),
        ("processor time over plain", cpu_ratios),
        ("share of the time spent waiting for the disk", shares),
    ):
        print(
            f"{name}: median {statistics.median(values):.4f}, "
            f"{min(values):.4f} to {max(values):.4f}, {rounds} pairs of {num_windows} windows"
        )


def _write(pipe: SqrtSpacePipeline, params: Any, path: Path, num_windows: int) -> None:
    """The rows in a file, without commits, brought to the disk at the end."""
    out = None
    for first, rows in pipe.blocks("classify", params=params):
        if out is None:
            shape = (num_windows, *rows.shape[1:])
            out = np.lib.format.open_memmap(path, "w+", rows.dtype, shape)
        out[first : first + len(rows)] = rows
    assert out is not None
    out.flush()


def main() -> int:
    """Exit code 1 if any run ended with other bytes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["kill", "overhead", "child"])
    parser.add_argument("directory", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--windows", type=int, default=40_000)
    arguments = parser.parse_args()
    if arguments.what == "child":
        run_slowly(arguments.directory)
        return 0
    if arguments.what == "kill":
        return bool(kill(arguments.kills))
    overhead(arguments.rounds, arguments.windows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
