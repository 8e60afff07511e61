"""Random crop boxes with and without rejection: how far the laws differ, and what a draw costs.

    uv run python benchmarks/benchmark_boxes.py [--draws 1000000] [--rounds 9] [--json PATH]

For each image shape and law: how often torchvision's law takes its fallback; the total variation
distance between the two laws, which is the difference in frequency of the fallback's box, since
the laws agree given that a try fits; the largest Kolmogorov-Smirnov distance of a marginal (x, y,
width, height, area, aspect); nanoseconds a draw on one thread, medians of rounds taken in turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders import (
    direct_random_resized_boxes,
    estimate_rejection_fallback_rate,
    random_resized_boxes,
)
from slipstream_loader.machine import machine_info

RATIO = (3 / 4, 4 / 3)
SHAPES = [(375, 500), (333, 500), (360, 640), (250, 500), (300, 900), (100, 600), (20, 1000)]
SCALES = [(0.08, 1.0), (0.2, 1.0), (0.5, 1.0)]
Pair: TypeAlias = tuple[float, float]
BOXES = {"rejection": random_resized_boxes, "direct": direct_random_resized_boxes}


def draws(law: str, shape: tuple[int, int], scale: Pair, number: int) -> Callable[[], Any]:
    """A function that draws ``number`` boxes of one image shape."""
    heights = np.full(number, shape[0], np.int32)
    widths = np.full(number, shape[1], np.int32)
    ids, occurrences = np.arange(number), np.zeros(number, np.int64)
    return lambda: BOXES[law](heights, widths, scale, RATIO, 1, ids, occurrences).bounds


def largest_ks(one: NDArray[np.int32], other: NDArray[np.int32]) -> float:
    """The largest Kolmogorov-Smirnov distance of a marginal."""
    largest = 0.0
    for measure in (
        *(lambda boxes, axis=axis: boxes[:, axis] for axis in range(4)),
        lambda boxes: boxes[:, 2] * boxes[:, 3],
        lambda boxes: boxes[:, 2] / boxes[:, 3],
    ):
        first, second = np.sort(measure(one)), np.sort(measure(other))
        grid = np.union1d(first, second)
        gap = np.searchsorted(first, grid, "right") - np.searchsorted(second, grid, "right")
        largest = max(largest, float(np.abs(gap).max()) / len(one))
    return largest


def fallback_box(shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """torchvision's fallback: the largest centred crop of an allowed aspect."""
    height, width = shape
    w, h = min(width, round(height * RATIO[1])), min(height, round(width / RATIO[0]))
    return (width - w) // 2, (height - h) // 2, w, h


def compare(shape: tuple[int, int], scale: Pair, number: int, rounds: int) -> dict[str, Any]:
    """Distances and costs of one shape and law."""
    boxes = {law: draws(law, shape, scale, number)() for law in BOXES}
    is_fallback = {law: (drawn == fallback_box(shape)).all(axis=1) for law, drawn in boxes.items()}
    timed = {law: draws(law, shape, scale, 100_000) for law in BOXES}
    nanoseconds: dict[str, list[float]] = {law: [] for law in BOXES}
    for _ in range(rounds):
        for law, draw in timed.items():
            started = time.perf_counter()
            draw()
            nanoseconds[law].append((time.perf_counter() - started) / 100_000 * 1e9)
    rate = estimate_rejection_fallback_rate([shape[1]], [shape[0]], scale, RATIO, number)
    return {
        "height": shape[0],
        "width": shape[1],
        "scale": scale,
        "fallback_rate": rate["fallback_rate"],
        "total_variation": float(is_fallback["rejection"].mean() - is_fallback["direct"].mean()),
        "largest_ks": largest_ks(boxes["rejection"], boxes["direct"]),
        "nanoseconds": {law: statistics.median(times) for law, times in nanoseconds.items()},
        "nanoseconds_range": {law: (min(t), max(t)) for law, t in nanoseconds.items()},
    }


def main() -> None:
    """Parse the arguments, measure, print and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = []
    print("height x width  scale       fallback  total var.  largest KS  ns rejection  ns direct")
    for scale in SCALES:
        for shape in SHAPES:
            result = compare(shape, scale, arguments.draws, arguments.rounds)
            results.append(result)
            cost = result["nanoseconds"]
            print(
                f"{shape[0]:5} x {shape[1]:<7} {scale[0]:.2f} .. 1   "
                f"{100 * result['fallback_rate']:7.3f} % {result['total_variation']:11.4f} "
                f"{result['largest_ks']:11.4f} {cost['rejection']:13.0f} {cost['direct']:10.0f}"
            )
    if arguments.json:
        figures = {"results": results, "draws": arguments.draws, "machine": machine_info()}
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
