"""Contestants run in turns, so that a drift of the machine meets all alike.

A rate is a median over rounds. A ratio is the median of the rounds' own ratios, with the smallest
and the largest beside it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Turn:
    """One epoch of one contestant."""

    images: int
    seconds: float
    cpu_seconds: float | None = None
    """Of the whole process; None where another process does the work."""


Contestant = Callable[[], Turn]
Turns = dict[str, list[Turn]]


def timed_epoch(batches: Callable[[], Iterable[Any]], num_images: int) -> Turn:
    """Go through the batches of an epoch, holding one at a time, as peers do."""
    started, cpu_started = time.perf_counter(), time.process_time()
    for _batch in batches():
        pass
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    return Turn(num_images, seconds, cpu_seconds)


def take_turns(
    contestants: Mapping[str, Contestant], rounds: int, warm: Path | None = None
) -> Turns:
    """Run every contestant once a round; a round before the first warms caches and kernels.

    With ``warm``, all files below it are read before each turn: what a contestant reads is in
    memory, however long the others took.
    """
    turns: Turns = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, contestant in contestants.items():
            if warm is not None:
                read_files(warm)
            turn = contestant()
            if number:
                turns[name].append(turn)
    return turns


def read_files(folder: Path) -> None:
    """Read every file below a folder, and keep nothing."""
    block = bytearray(1 << 20)
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.readinto(block):
                    pass


def rates(turns: list[Turn]) -> list[float]:
    """Images per second of each turn."""
    return [turn.images / turn.seconds for turn in turns]


def cpu_seconds_per_image(turns: list[Turn]) -> list[float]:
    """CPU seconds an image of each turn."""
    return [turn.cpu_seconds / turn.images for turn in turns if turn.cpu_seconds is not None]


def describe(turns: list[Turn]) -> dict[str, Any]:
    """Rates of one contestant, ready for JSON."""
    found = rates(turns)
    cpu = cpu_seconds_per_image(turns)
    return {
        "images_per_second": {
            "median": statistics.median(found),
            "best": max(found),
            "epochs": found,
        },
        "cpu_seconds_per_image": statistics.median(cpu) if cpu else None,
    }


def ratio(ones: list[float], others: list[float]) -> dict[str, float]:
    """The rounds' ratios of one to the other: median, smallest, largest."""
    values = sorted(one / other for one, other in zip(ones, others, strict=True))
    return {"median": statistics.median(values), "low": values[0], "high": values[-1]}


def ratio_row(
    name: str, target: float | None, turns: Turns, one: str, other: str
) -> dict[str, Any]:
    """A line of a table: the rate of one contestant over another's, beside its target.

    ``cpu_ratio`` is the other's CPU seconds an image over this one's: steadier on a busy machine.
    """
    first, second = rates(turns[one]), rates(turns[other])
    cpu = [cpu_seconds_per_image(turns[contestant]) for contestant in (other, one)]
    return {
        "row": name,
        "target": target,
        "ratio": ratio(first, second),
        **({"cpu_ratio": ratio(*cpu)} if all(cpu) else {}),
        one: statistics.median(first),
        other: statistics.median(second),
    }


def print_row(row: Mapping[str, Any]) -> None:
    """One line: the ratio with its spread, its target, both numbers."""
    found = row["ratio"]
    target = "" if row["target"] is None else f" (target {row['target']})"
    numbers = [
        f"{name} {value:,.6g}"
        for name, value in row.items()
        if name not in ("row", "target", "ratio", "cpu_ratio")
    ]
    if "cpu_ratio" in row:
        numbers.insert(0, f"by CPU time {row['cpu_ratio']['median']:.2f} x")
    spread = f"{found['low']:.2f} .. {found['high']:.2f}"
    print(f"{row['row']}: {found['median']:.2f} x [{spread}]{target}; {', '.join(numbers)}")
