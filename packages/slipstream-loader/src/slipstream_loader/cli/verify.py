"""``slipstream verify``: is a cache whole, and is it still its source; and its repair."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import slipstream_cache
from slipstream_cache import Report, SampleReader, Source, repair
from slipstream_loader.cli.tables import count, print_line, size
from slipstream_loader.errors import SourceError
from slipstream_loader.sources import open_source
from slipstream_loader.transcode import transcode

_MAX_SHOWN = 50


def verify(
    cache: Annotated[Path, typer.Argument(help="Directory of a slipcache.")],
    full: Annotated[
        bool, typer.Option("--full", help="Read everything: hashes, checksums, rows.")
    ] = False,
    source: Annotated[
        str | None, typer.Option(help="Also compare every sample with this source.")
    ] = None,
    repair_from: Annotated[
        str | None,
        typer.Option("--repair", help="Read everything, and make damaged parts again from here."),
    ] = None,
) -> None:
    """Check that a cache is whole; exit code 1 if it is not."""
    console = Console()
    given = None if source is None else _open(source)
    whole = None if repair_from is None else _open(repair_from)
    level: Literal["quick", "full"]
    level = "full" if full or whole is not None else "quick"
    with checking_bar(console, "checking") as advance:
        report = slipstream_cache.verify(cache, level=level, source=given, progress=advance)
    _show(report)
    if whole is not None and not report.ok:
        with checking_bar(console, "repairing") as advance:
            done = repair(report, whole, transcode=transcode, progress=advance)
        for path in done:
            print_line(f"repaired or removed {path}")
        with checking_bar(console, "checking again") as advance:
            report = slipstream_cache.verify(cache, level=level, source=given, progress=advance)
        _show(report)
    if not report.ok:
        raise typer.Exit(1)


def _open(source: str) -> Source:
    opened = open_source(source)
    if isinstance(opened, SampleReader):
        raise SourceError(f"{source} is a cache; give the source that it was built from")
    return opened


def _show(report: Report) -> None:
    for problem in report.problems[:_MAX_SHOWN]:
        print_line(str(problem), style="red")
    if len(report.problems) > _MAX_SHOWN:
        print_line(f"... and {len(report.problems) - _MAX_SHOWN} more")
    for note in report.notes:
        print_line(f"note: {note}")
    compared = f", {count(report.num_compared, 'sample')} compared" if report.num_compared else ""
    verdict = "nothing is wrong" if report.ok else count(len(report.problems), "problem")
    print_line(f"{verdict}: {count(report.num_files, 'file')}, {size(report.num_bytes)}{compared}")


@contextmanager
def checking_bar(console: Console, text: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with the time left, where somebody watches."""
    columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
