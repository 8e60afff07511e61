"""Interleaved runs of one demonstration, and what their ratios say."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqrtspace_streams import demos
from sqrtspace_streams.demos.runs import Measured, Run, measure


def interleaved(
    name: str,
    path: Path,
    orders: Sequence[str],
    rounds: int,
    *,
    before: Callable[[], None] | None = None,
) -> dict[str, list[Measured]]:
    """Run the orders in turns, every other round backwards; each run is a fresh process."""
    demo = demos.load(name)
    found: dict[str, list[Measured]] = {order: [] for order in orders}
    for number in range(rounds):
        for order in orders if number % 2 == 0 else orders[::-1]:
            run = Run(name, order, str(path), demo.window, demo.hop)
            found[order].append(measure(run, before=before))
    return found


def figures(runs: Sequence[Measured]) -> dict[str, Any]:
    """Medians, and the spread of the times."""
    usages, plan = [run.usage for run in runs], runs[0].plan
    times = sorted(usage.cpu_seconds for usage in usages)
    faults = [(u.minor_faults or 0, u.major_faults or 0) for u in usages]
    predicted = plan and (plan.classic_bytes if plan.mode == "classic" else plan.sqrt_bytes)
    return {
        "windows": runs[0].num_windows,
        "mode": plan and plan.mode,
        "peak_mb": round(statistics.median(u.peak_bytes for u in usages) / 1e6, 1),
        "floor_mb": round(statistics.median(u.floor_bytes for u in usages) / 1e6, 1),
        "predicted_mb": predicted and round((usages[0].floor_bytes + predicted) / 1e6, 1),
        "minor_faults": statistics.median(minor for minor, _ in faults),
        "major_faults": statistics.median(major for _, major in faults),
        "cpu_s": round(statistics.median(times), 4),
        "cpu_s_spread": [round(times[0], 4), round(times[-1], 4)],
        "digest": runs[0].digest[:12],
    }


def ratio(
    runs: Sequence[Measured], base: Sequence[Measured], of: Callable[[Measured], float]
) -> dict[str, float]:
    """Median and spread of the ratios of pairs."""
    pairs = sorted(of(a) / of(b) for a, b in zip(runs, base, strict=True))
    middle = statistics.median(pairs)
    return {"median": round(middle, 3), "least": round(pairs[0], 3), "most": round(pairs[-1], 3)}
