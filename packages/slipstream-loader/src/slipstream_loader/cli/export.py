"""``slipstream export``: a cache in the format of another library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from slipstream_cache import SampleCache
from slipstream_loader.cli.report import count


def export(
    cache: Annotated[Path, typer.Argument(help="Directory of a slipcache.")],
    beton: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a file for FFCV, such as train.beton."),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(help="Field to write; may be given several times. Default: all."),
    ] = None,
) -> None:
    """Write the samples of a cache in the format of another library."""
    from slipstream_loader.exports import export_beton

    if beton is None:
        raise typer.BadParameter("say what to write: --beton FILE")
    opened = SampleCache.open(cache)
    written = export_beton(opened, beton, fields=field)
    console = Console()
    console.print(f"{count(len(opened), 'sample')}: {written}", highlight=False, soft_wrap=True)
