"""``slipstream bench``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from slipstream_loader.cli.arguments import (
    BatchSizeOption,
    CacheDirOption,
    SourceArgument,
    ThreadsOption,
    image_pipeline,
    usable_device,
    written_file,
)
from slipstream_loader.cli.tables import measurements_table
from slipstream_loader.machine import machine_info, memcpy_bytes_per_second
from slipstream_loader.yuv420 import ImageFormat

if TYPE_CHECKING:
    from slipstream_loader.named_pipelines import Stages


def bench(
    source: SourceArgument,
    cache_dir: CacheDirOption = None,
    pipeline: Annotated[
        list[str] | None,
        typer.Option(
            help="Pipeline to measure; repeat for several. Default: raw, center_crop, rrc."
        ),
    ] = None,
    image_format: Annotated[
        ImageFormat, typer.Option(help="Images as stored, or their planes (made if need be).")
    ] = "jpeg",
    threads: ThreadsOption = None,
    batch_size: BatchSizeOption = 256,
    epochs: Annotated[int, typer.Option(min=1, help="Measured epochs of each pipeline.")] = 5,
    order: Annotated[
        Literal["random", "sequential"], typer.Option(help="Order of the samples.")
    ] = "random",
    device: Annotated[
        str | None,
        typer.Option(help="Decode on this device, by each engine in turn; such as cuda."),
    ] = None,
    json_path: Annotated[
        Path | None,
        typer.Option("--json", help="Write the figures to this file.", callback=written_file),
    ] = None,
) -> None:
    """Measure images per second of one or more pipelines, in turns, warm."""
    from slipstream_loader.benchmark import (
        device_pipelines,
        image_loaders,
        measure,
    )  # late: they import torch
    from slipstream_loader.dataset import SlipstreamDataset

    console = Console()
    dataset = SlipstreamDataset(source, cache_dir=cache_dir)
    names = pipeline or ["raw", "center_crop", "rrc"]
    pipelines: Mapping[str, Stages] = {name: image_pipeline(name) for name in names}
    if device is not None:
        pipelines = device_pipelines(pipelines, usable_device(device))
    loaders = image_loaders(
        dataset,
        pipelines,
        batch_size=batch_size,
        num_threads=threads,
        order=order,
        image_format=image_format,
    )
    with console.status("measuring") as status:
        results = list(measure(loaders, epochs, lambda name: status.update(f"measuring {name}")))
    console.print(measurements_table(results))
    if json_path is not None:
        figures = {
            "machine": machine_info(),
            "source": dataset.source.uri if hasattr(dataset.source, "uri") else str(source),
            "num_samples": len(dataset),
            "results": [result.as_json() for result in results],
            "memcpy_bytes_per_second": memcpy_bytes_per_second(),
        }
        json_path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
