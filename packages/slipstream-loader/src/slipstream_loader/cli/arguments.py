"""Arguments that several subcommands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from slipstream_decoders import StageLike

SourceArgument = Annotated[
    str,
    typer.Argument(
        help="A folder of images (one folder a class, or flat), a tar archive of one, shards of "
        "WebDataset, a file of FFCV, a LitData or MDS data set, a list of images (.csv, .jsonl), "
        "parquet or Arrow files, a slipcache; or s3://, https://, hf://datasets/..."
    ),
]
CacheDirOption = Annotated[
    Path | None,
    typer.Option(help="Where caches are kept. Default: $SLIPSTREAM_CACHE_DIR or ~/.slipstream."),
]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="Decoding threads. Default: the CPUs of this process.")
]
BatchSizeOption = Annotated[int, typer.Option(min=1, help="Samples in a batch.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def written_file(path: Path | None) -> Path | None:
    """A file to write that was named on the command line: looked at before the work begins.

    Raises
    ------
    BadParameter
        If it is a folder, or cannot be made where it would be.
    """
    if path is None:
        return None
    if path.is_dir():
        raise typer.BadParameter(f"{path} is a folder, expected a file to write")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise typer.BadParameter(f"{path} cannot be written: its folder is missing or read-only")
    return path


def written_picture(path: Path) -> Path:
    """As ``written_file``, with the ending of a format that pictures are written in."""
    from PIL import Image  # late: only few subcommands need it

    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise typer.BadParameter(f"{path}: no pictures are written as {path.suffix!r}, use .png")
    written_file(path)
    return path


def usable_device(name: str) -> str:
    """A device that was named on the command line.

    Raises
    ------
    BadParameter
        If torch does not know it or sees none.
    """
    import torch  # late: it takes seconds

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise typer.BadParameter(f"{name!r} is no device: {error}") from error
    if device.type not in ("cpu", "cuda"):
        raise typer.BadParameter(f"crops are made on cpu or cuda, not on {name!r}")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise typer.BadParameter("torch sees no CUDA device")
    return name


def image_pipeline(name: str) -> list[StageLike]:
    """The stages of a pipeline that was named on the command line.

    Raises
    ------
    BadParameter
        If there is none of that name, or it is not for one field.
    """
    from slipstream_loader.named_pipelines import named_pipeline  # late: it imports torch

    try:
        return named_pipeline(name)
    except (LookupError, TypeError) as error:
        raise typer.BadParameter(str(error)) from error
