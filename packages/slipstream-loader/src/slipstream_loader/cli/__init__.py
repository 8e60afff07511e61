"""The ``slipstream`` command: one file a subcommand.

An error of the library or of the system, or a package that is missing, ends with exit code 1 and
one clear line on stderr.
"""

from __future__ import annotations

import io
import logging
import sys
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from slipstream_cache import CacheError
from slipstream_decoders import DecodeError
from slipstream_loader.cli.bench import bench
from slipstream_loader.cli.build import build
from slipstream_loader.cli.demo import demo
from slipstream_loader.cli.export import export
from slipstream_loader.cli.index import index
from slipstream_loader.cli.info import info
from slipstream_loader.cli.report import report
from slipstream_loader.cli.show import show
from slipstream_loader.cli.stats import stats
from slipstream_loader.cli.sync import sync
from slipstream_loader.cli.tables import print_line
from slipstream_loader.cli.verify import verify
from slipstream_loader.errors import LoaderError

app = typer.Typer(
    name="slipstream",
    help="Data loading for vision training, as fast as the hardware allows.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (demo, build, info, verify, index, export, show, report, stats, bench):
    app.command()(command)
app.add_typer(sync, name="sync")


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print_line(f"slipstream {version('visionlab-slipstream-loader')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """What holds for all subcommands."""


def main() -> None:
    """Entry point of the ``slipstream`` script."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    console = Console(stderr=True)
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=console, show_time=False, show_path=False)],
    )
    try:
        app()
    except (CacheError, DecodeError, LoaderError, ImportError, OSError, ValueError) as error:
        print_line(f"error: {error}", style="red", console=console)
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("interrupted")
        sys.exit(130)
