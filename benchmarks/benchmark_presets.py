"""Rate of every preset against the bare decode of its crops, on the CPU.

The bare decode makes the same boxes of the same images into uint8 pixels, in one decode, and does
nothing else. Rounds of all alternate; medians of CPU seconds are compared, so that other work on
the machine matters little.

    uv run python benchmarks/benchmark_presets.py PHOTOS
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from slipstream_decoders import (
    BatchContext,
    BufferPool,
    DecodeMultiRandomResizedCrop,
    EncodedBatch,
    StageLike,
    run_stages,
)
from slipstream_ssl_pipelines import PRESETS, Preset


def bare(preset: Preset) -> list[StageLike]:
    """The decoding stage of a preset, alone."""
    views = preset.recipe.views
    if len(views) == 1:
        return preset["image"][:1]
    return [DecodeMultiRandomResizedCrop({name: view.crop.options for name, view in views.items()})]


def cpu_seconds(function: Callable[[], object]) -> float:
    """CPU time of one call, all threads together."""
    begin = time.process_time()
    function()
    return time.process_time() - begin


def main() -> None:
    """Print one row a preset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=list(PRESETS))
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    paths = sorted(p for p in options.photos.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    paths = paths[:: max(1, len(paths) // options.batch_size)][: options.batch_size]
    encoded = EncodedBatch.from_payloads([path.read_bytes() for path in paths])
    ids, buffers = np.arange(len(paths)), BufferPool(24)
    results = []
    print("preset             views   ms an image   bare decode   share of decode   images/s")
    for name in options.only:
        preset = PRESETS[name]()
        pipelines = preset["image"], bare(preset)
        times: tuple[list[float], list[float]] = ([], [])
        for epoch in range(options.rounds + 1):
            context = BatchContext(
                ids, seed=1, epoch=epoch, buffers=buffers, num_threads=options.threads
            )
            for stages, spent in zip(pipelines, times, strict=True):
                seconds = cpu_seconds(lambda: run_stages(stages, encoded, context))  # noqa: B023
                spent += [seconds / len(paths)] if epoch else []
        whole, decode = (statistics.median(spent) * 1000 for spent in times)
        ratios = sorted(b / a for a, b in zip(*times, strict=True))
        views = len(preset.recipe.views)
        results.append(
            {"preset": name, "views": views, "ms": whole, "decode_ms": decode, "ratios": ratios}
        )
        print(
            f"{name:18} {views:5} {whole:13.2f} {decode:13.2f} "
            f"{statistics.median(ratios):9.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}) "
            f"{1000 / whole:10.0f}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    with torch.no_grad():
        main()
