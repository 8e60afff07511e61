"""``slipstream index``: makes or renews value indexes and seek points of a cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slipstream_cache import SampleCache, write_index
from slipstream_loader.baseline import write_baseline
from slipstream_loader.cli.tables import count, print_line, size
from slipstream_loader.seek_points import write_seek_points


def index(
    cache: Annotated[Path, typer.Argument(help="Directory of a slipcache.")],
    field: Annotated[
        list[str] | None,
        typer.Option(help="Field of numbers or of text; may be given several times."),
    ] = None,
    seek: Annotated[
        bool, typer.Option("--seek", help="Make seek points: crops of JPEGs decode faster.")
    ] = False,
    baseline: Annotated[
        bool,
        typer.Option(
            "--baseline",
            help="Convert progressive JPEGs, without loss, to baseline ones that are decoded in "
            "their place, and make seek points. Needs libjpeg-turbo.",
        ),
    ] = False,
) -> None:
    """Index which samples have each value of a field, or where decoding can start in JPEGs."""
    if not field and not seek and not baseline:
        raise typer.BadParameter("say what to index: --field NAME, --seek or --baseline")
    for name, found in write_index(cache, field or []).items():
        print_line(f"{name}: {count(len(found), 'distinct value')}")
    if not seek and not baseline:
        return
    opened = SampleCache.open(cache)
    for name in opened.image_fields:
        if baseline:
            converted = count(write_baseline(opened, name), "image")
            print_line(f"{name}: {converted} converted to baseline")
        points = write_seek_points(opened, name)
        print_line(f"{name}: seek points, {size(points.num_bytes)}")
