"""``slipstream show``: a contact sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slipstream_loader.cli.arguments import (
    CacheDirOption,
    SourceArgument,
    image_pipeline,
    written_picture,
)
from slipstream_loader.cli.tables import print_line
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.stored_source import StoredSource


def show(
    source: SourceArgument,
    out: Annotated[
        Path, typer.Option(help="The picture to write (.png, .jpg).", callback=written_picture)
    ],
    ids: Annotated[
        str | None, typer.Option(help="Sample ids, such as 0,5,17. Default: 40 spread evenly.")
    ] = None,
    pipeline: Annotated[
        str | None, typer.Option(help="Show what this pipeline makes. Default: whole images.")
    ] = None,
    cache_dir: CacheDirOption = None,
) -> None:
    """Write a contact sheet of samples, as they are or as a pipeline makes them."""
    from slipstream_loader.sample_sheet import spread_ids, write_sheet  # late: it imports torch

    stages = image_pipeline(pipeline) if pipeline else None
    cache = prepare_cache(StoredSource.open(source, cache_dir))
    sample_ids = spread_ids(len(cache)) if ids is None else _parsed_ids(ids)
    write_sheet(cache, sample_ids, stages, out)
    print_line(str(out))


def _parsed_ids(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"--ids takes numbers with commas, got {text!r}") from error
