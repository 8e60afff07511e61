"""What a matrix says, as a table and as a plot."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sqrtspace_streams.bench.data_sets import SHARES
from sqrtspace_streams.bench.matrix import Cell
from sqrtspace_streams.demos.runs import PLAIN

if TYPE_CHECKING:
    from rich.table import Table

_ORDERS = {PLAIN: "plain NumPy", "classic": "classic", "auto": "auto"}


def differing(cells: Sequence[Cell]) -> list[Cell]:
    """Runs of the engine whose rows are not those of the others with the same data and window."""
    digests: dict[tuple[str, int], str | None] = {}
    found = []
    for cell in cells:
        if cell.how != PLAIN and cell.digest:
            key = cell.data_set, cell.window
            if digests.setdefault(key, cell.digest) != cell.digest:
                found.append(cell)
    return found


def summary_table(cells: Sequence[Cell]) -> Table:
    """Medians over the combinations, for each data set, window and order."""
    from rich.table import Table

    table = Table(title=f"{cells[0].demo}, limit {cells[0].limit_mb:.0f} MB, medians")
    for column in ("data set", "window", "order", "runs", "peak MB", "minor faults", "CPU s"):
        table.add_column(column, justify="left" if column in ("data set", "order") else "right")
    for kind in SHARES:
        for window in sorted({cell.window for cell in cells}):
            for how, order in _ORDERS.items():
                group = [c for c in cells if (c.data_set, c.window, c.how) == (kind, window, how)]
                done = [c for c in group if c.outcome == "ok"]
                figures = [
                    _median([c.peak_mb for c in done], ".0f"),
                    _median([c.minor_faults for c in done], ".0f"),
                    _median([c.cpu_s for c in done], ".3f"),
                ]
                if not done:
                    figures = ["out of memory", "", ""]
                table.add_row(kind, str(window), order, str(len(group)), *figures)
    return table


def _median(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return format(statistics.median(known), form) if known else "n/a"


def plot(cells: Sequence[Cell], path: Path) -> None:
    """Peak memory and time of every run, by data set, as a picture; needs Matplotlib.

    Raises
    ------
    ImportError
        Without Matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "a plot needs Matplotlib: pip install 'sqrtspace-streams[plots]'"
        ) from error
    figure = Figure(figsize=(9, 4), layout="constrained")
    memory, times = figure.subplots(1, 2)
    limit = cells[0].limit_mb
    for axes, label in ((memory, "peak memory, MB"), (times, "processor time, s")):
        axes.set_yscale("log")
        axes.set_ylabel(label)
        axes.set_xticks(range(len(SHARES)), list(SHARES))
    for offset, (how, order) in enumerate(_ORDERS.items()):
        done = [c for c in cells if c.how == how and c.outcome == "ok"]
        x = [list(SHARES).index(c.data_set) + (offset - 1) * 0.2 for c in done]
        memory.plot(x, [c.peak_mb or 0 for c in done], "o", alpha=0.5, label=order)
        times.plot(x, [c.cpu_s or 0 for c in done], "o", alpha=0.5, label=order)
    memory.axhline(limit, color="gray", linestyle="--", label="limit")
    memory.legend()
    figure.suptitle(f"{cells[0].demo}: {len(cells)} runs; missing ones ran out of memory")
    figure.savefig(path)
