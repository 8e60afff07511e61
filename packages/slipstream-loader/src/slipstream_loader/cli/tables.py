"""Numbers and tables as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from slipstream_cache import FieldSpec

if TYPE_CHECKING:
    from slipstream_loader.benchmark import Measurement


def print_line(
    line: str | Text, *, style: str | None = None, console: Console | None = None
) -> None:
    """Print a line as it is, on stdout or a console: not wrapped, and nothing in it is markup."""
    (console or Console()).print(
        line, style=style, markup=False, emoji=False, highlight=False, soft_wrap=True
    )


def count(number: int, noun: str) -> str:
    """``1 sample``, ``1,000 samples``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(num_bytes: float) -> str:
    """Bytes in decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"


def kind_of(spec: FieldSpec) -> str:
    """What a field holds: ``int64``, ``float32 [3, 4]``, ``str``, ``image``."""
    if spec.kind == "dense":
        dtype = np.dtype(spec.dtype).name
        return f"{dtype} {list(spec.shape)}" if spec.shape else dtype
    return spec.content or spec.kind


def measurements_table(measurements: Sequence[Measurement]) -> Table:
    """Rates of several pipelines, and where the time of each goes."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("pipeline")
    for heading in ("images/s\nbest", "images/s\nmedian", "CPU ms\nan image"):
        table.add_column(heading, justify="right")
    table.add_column("where the time goes", overflow="fold")
    for measurement in measurements:
        figures = measurement.as_json()
        rates = figures["images_per_second"]
        table.add_row(
            measurement.pipeline,
            f"{rates['best']:,.0f}",
            f"{rates['median']:,.0f}",
            f"{1000 * figures['cpu_seconds_per_image']:.2f}",
            time_shares(measurement),
        )
    return table


def time_shares(measurement: Measurement) -> str:
    """The stages that take at least 1 % of the making of batches, largest first.

    The field's name is left out: one image field is measured.
    """
    booked = measurement.stats.stage_seconds
    seconds = {name.split(": ", 1)[-1]: part for name, part in booked.items()}
    total = sum(seconds.values()) or 1.0
    ordered = sorted(seconds.items(), key=lambda item: -item[1])
    shares = [f"{name} {100 * part / total:.0f} %" for name, part in ordered if part >= total / 100]
    return ", ".join(shares)
