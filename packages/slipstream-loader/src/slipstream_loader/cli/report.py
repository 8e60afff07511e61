"""``slipstream report``: one page on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

import slipstream_cache
from slipstream_loader.cli.arguments import CacheDirOption, SourceArgument, written_file
from slipstream_loader.cli.tables import print_line
from slipstream_loader.cli.verify import checking_bar
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.stored_source import StoredSource


def report(
    source: SourceArgument,
    html: Annotated[Path, typer.Option(help="The page to write.", callback=written_file)],
    full: Annotated[
        bool, typer.Option("--full", help="Read everything, as slipstream verify --full does.")
    ] = False,
    cache_dir: CacheDirOption = None,
) -> None:
    """Write a page on a data set: samples, classes, sizes, codecs, engines, integrity.

    The page is one file without scripts, and needs nothing beside it.
    """
    from slipstream_loader.cli.data_report.page import page_of  # late: it imports torch

    level: Literal["quick", "full"] = "full" if full else "quick"
    cache, console = prepare_cache(StoredSource.open(source, cache_dir)), Console()
    with checking_bar(console, "checking") as advance:
        integrity = slipstream_cache.verify(cache, level=level, progress=advance)
    text = page_of(cache, integrity, level)
    html.write_bytes(text.encode("utf-8", "backslashreplace"))  # names need not be Unicode
    print_line(str(html))
