"""From the start of a process to its first batch, and how much of that is ``import torch``.

    uv run python benchmarks/benchmark_start.py PHOTOS [--rounds 5] [--json PATH]

A new process each round, with kernels compiled, byte code kept (unless PYTHONDONTWRITEBYTECODE is
set) and a cache with seek points at hand. Wall and CPU seconds; the design allows 3 s beyond torch.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from slipstream_decoders import DecodeRandomResizedCrop
from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader.machine import machine_info

PROGRAM = """
import json, sys, time
marks = [(time.perf_counter(), time.process_time())]
def mark():
    marks.append((time.perf_counter(), time.process_time()))
import torch
mark()
from slipstream_decoders import DecodeRandomResizedCrop, Normalize
from slipstream_loader import SlipstreamLoader
mark()
pipelines = {"image": [DecodeRandomResizedCrop(224), Normalize()]}
loader = SlipstreamLoader(sys.argv[1], batch_size=32, seed=0, pipelines=pipelines)
mark()
next(iter(loader))
mark()
print(json.dumps(marks))
loader.shutdown()
"""
STEPS = ("import torch", "import slipstream", "make the loader", "first batch")


def main() -> None:
    """Parse the arguments, measure, print and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cache-dir", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    seconds: dict[str, dict[str, list[float]]] = {
        clock: {step: [] for step in (*STEPS, "beyond torch")} for clock in ("wall", "cpu")
    }
    with tempfile.TemporaryDirectory(dir=options.cache_dir) as folder:
        dataset = SlipstreamDataset(options.photos, cache_dir=folder)
        SlipstreamLoader(dataset, 32, pipelines={"image": [DecodeRandomResizedCrop(224)]})
        for number in range(options.rounds + 1):
            command = [sys.executable, "-c", PROGRAM, str(dataset.cache_path)]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            marks = json.loads(run.stdout)
            if number == 0:  # compiles what is not compiled yet
                continue
            for clock, column in (("wall", 0), ("cpu", 1)):
                for step, before, after in zip(STEPS, marks, marks[1:], strict=False):
                    seconds[clock][step].append(after[column] - before[column])
                seconds[clock]["beyond torch"].append(marks[-1][column] - marks[1][column])
    for step in (*STEPS, "beyond torch"):
        wall, cpu = (seconds[clock][step] for clock in ("wall", "cpu"))
        print(
            f"{step:18} {statistics.median(wall):6.2f} s [{min(wall):.2f} .. {max(wall):.2f}]"
            f"  {statistics.median(cpu):6.2f} CPU s [{min(cpu):.2f} .. {max(cpu):.2f}]"
        )
    if options.json:
        figures = {"seconds": seconds, "target_beyond_torch": 3.0, "machine": machine_info()}
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
