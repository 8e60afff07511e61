"""``slipstream index``: makes or renews value indexes of a cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from slipstream_cache import write_index
from slipstream_loader.cli.report import count


def index(
    cache: Annotated[Path, typer.Argument(help="Directory of a slipcache.")],
    field: Annotated[
        list[str], typer.Option(help="Field of numbers or of text; may be given several times.")
    ],
) -> None:
    """Index which samples have each value of a field."""
    for name, found in write_index(cache, field).items():
        Console().print(f"{name}: {count(len(found), 'distinct value')}", highlight=False)
