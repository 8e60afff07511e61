"""``slipstream export``: a cache in the format of another library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slipstream_cache import SampleCache
from slipstream_loader.cli.tables import count, print_line


def export(
    cache: Annotated[Path, typer.Argument(help="Directory of a slipcache.")],
    beton: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a file for FFCV: train.beton.")
    ] = None,
    webdataset: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write shards for WebDataset.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write image files, one folder for each class."),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(help="Field to write; may be given several times. Default: all."),
    ] = None,
) -> None:
    """Write the samples of a cache in the format of another library."""
    from slipstream_loader.exports import export_beton, export_folder, export_webdataset

    if sum(target is not None for target in (beton, webdataset, folder)) != 1:
        raise typer.BadParameter("say what to write: one of --beton, --webdataset, --folder")
    opened = SampleCache.open(cache)
    if beton is not None:
        written = str(export_beton(opened, beton, fields=field))
    elif webdataset is not None:
        shards = export_webdataset(opened, webdataset, fields=field)
        written = f"{count(len(shards), 'shard')} in {webdataset}"
    else:
        assert folder is not None
        written = str(export_folder(opened, folder, fields=field).parent)
    print_line(f"{count(len(opened), 'sample')}: {written}")
