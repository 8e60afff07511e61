"""Every combination of window, checkpoints, LRU cache and workers, over the three data sets."""

from __future__ import annotations

import csv
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sqrtspace_streams import demos
from sqrtspace_streams.bench.data_sets import SHARES, write_data_sets
from sqrtspace_streams.bench.limits import Limit, memory_limit
from sqrtspace_streams.demos.runs import PLAIN, Measured, Run, measure
from sqrtspace_streams.metrics import ChildError


@dataclass(frozen=True)
class Matrix:
    """The values that are combined."""

    windows: Sequence[int]
    """Smallest first; the first, second and third stand for 2k, 4k and 8k samples of audio."""
    checkpoints: Sequence[int] = (8, 16, 32)
    lru_mb: Sequence[int] = (32, 64, 128)
    workers: Sequence[int] = (1, 4, 8)

    @classmethod
    def of(cls, name: str, *, quick: bool) -> Matrix:
        """That of a demonstration: 81 combinations, or one."""
        window = demos.load(name).window
        if quick:
            return cls((window,), (16,), (64,), (1,))
        return cls((window // 2, window, window * 2))


@dataclass(frozen=True)
class Cell:
    """One run; a line of the CSV file. Megabytes are of 10**6 bytes."""

    demo: str
    data_set: str
    window: int
    hop: int
    how: str
    """``numpy``, ``classic`` or ``auto``."""
    k: int | None
    lru_mb: int | None
    workers: int | None
    """Threads, at most."""
    limit_mb: float
    limit_kind: str
    outcome: str
    """``ok`` or ``out of memory``."""
    windows: int | None = None
    mode: str | None = None
    """What the plan chose."""
    tile: int | None = None
    peak_mb: float | None = None
    floor_mb: float | None = None
    """Resident before the run."""
    predicted_mb: float | None = None
    """Peak that the plan predicted."""
    minor_faults: int | None = None
    major_faults: int | None = None
    read_mb: float | None = None
    llc_misses: int | None = None
    cpu_s: float | None = None
    wall_s: float | None = None
    digest: str | None = None
    """Of the rows."""


def bench(
    name: str, folder: Path, *, matrix: Matrix, limit: int, seed: int = 0, rounds: int = 1
) -> list[Cell]:
    """Run the matrix, each run in a fresh process under the limit; write ``results.csv``.

    Parameters
    ----------
    name : str
        Of a demonstration.
    folder : path
        Where the CSV file goes; data is generated to a temporary folder.
    matrix : Matrix
    limit : int
        Bytes of memory.
    seed : int
        Of the data.
    rounds : int
        Times that everything is run, one after another.

    Returns
    -------
    list of Cell
        In the order of the file.
    """
    demo, cells = demos.load(name), []
    folder.mkdir(parents=True, exist_ok=True)
    combinations = len(matrix.checkpoints) * len(matrix.lru_mb) * len(matrix.workers)
    total = rounds * len(matrix.windows) * len(SHARES) * (2 + combinations)
    with (
        memory_limit(limit) as group,
        (folder / "results.csv").open("w", newline="", encoding="utf-8") as file,
        tqdm(total=total, unit="run", disable=None) as bar,
    ):
        writer = csv.DictWriter(file, [column.name for column in fields(Cell)])
        writer.writeheader()
        for window in matrix.windows:
            hop = demo.hop * window // demo.window
            with tempfile.TemporaryDirectory(prefix="sqrtspace-") as temporary:
                bar.set_description(f"window {window}: data")
                paths = write_data_sets(
                    name, Path(temporary), limit, window=window, hop=hop, seed=seed
                )
                runs = [*_runs(name, paths, matrix, window, hop)] * rounds
                for kind, run in runs:
                    bar.set_description(f"window {window}, {kind}, {run.how}")
                    cell = run_cell(kind, run, limit, group)
                    writer.writerow(asdict(cell))
                    file.flush()
                    cells.append(cell)
                    bar.update()
    return cells


def _runs(
    name: str, paths: dict[str, Path], matrix: Matrix, window: int, hop: int
) -> Iterator[tuple[str, Run]]:
    for kind, path in paths.items():
        for how in (PLAIN, "classic"):
            yield kind, Run(name, how, str(path), window, hop)
        for k, lru_mb, workers in itertools.product(
            matrix.checkpoints, matrix.lru_mb, matrix.workers
        ):
            config = {
                "checkpoint_every": k,
                "lru_bytes": lru_mb << 20,
                "max_workers": workers,
            }
            yield kind, Run(name, "auto", str(path), window, hop, config)


def run_cell(kind: str, run: Run, limit: int, group: Limit) -> Cell:
    """Run under the limit; not to have enough memory is a result, too."""
    lru_bytes = run.config.get("lru_bytes")
    fixed: dict[str, Any] = {
        "demo": run.demo,
        "data_set": kind,
        "window": run.window,
        "hop": run.hop,
        "how": run.how,
        "k": run.config.get("checkpoint_every"),
        "lru_mb": None if lru_bytes is None else lru_bytes >> 20,
        "workers": run.config.get("max_workers"),
        "limit_mb": round(limit / 1e6, 1),
        "limit_kind": group.kind,
    }
    try:
        measured = measure(run, before=group.enter)
    except ChildError as error:
        if not error.ran_out_of_memory:
            raise
        return Cell(**fixed, outcome="out of memory")
    return Cell(**fixed, outcome="ok", **_figures(measured))


def _figures(measured: Measured) -> dict[str, Any]:
    usage, plan = measured.usage, measured.plan
    predicted = plan and (plan.classic_bytes if plan.mode == "classic" else plan.sqrt_bytes)
    return {
        "windows": measured.num_windows,
        "mode": plan and plan.mode,
        "tile": plan and plan.tile,
        "peak_mb": round(usage.peak_bytes / 1e6, 2),
        "floor_mb": round(usage.floor_bytes / 1e6, 2),
        "predicted_mb": predicted and round((usage.floor_bytes + predicted) / 1e6, 2),
        "minor_faults": usage.minor_faults,
        "major_faults": usage.major_faults,
        "read_mb": None if usage.read_bytes is None else round(usage.read_bytes / 1e6, 2),
        "llc_misses": usage.llc_misses,
        "cpu_s": round(usage.cpu_seconds, 4),
        "wall_s": round(usage.seconds, 4),
        "digest": measured.digest[:16],
    }
