"""``slipstream bench``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from slipstream_loader.cli.arguments import (
    BatchSizeOption,
    CacheDirOption,
    SourceArgument,
    ThreadsOption,
    image_pipeline,
)
from slipstream_loader.cli.report import measurements_table
from slipstream_loader.machine import machine_info, memcpy_bytes_per_second
from slipstream_loader.yuv420 import ImageFormat


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
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file.")
    ] = None,
) -> None:
    """Measure images per second of one or more pipelines, in turns, warm."""
    from slipstream_loader.benchmark import image_loaders, measure  # late: they import torch
    from slipstream_loader.dataset import SlipstreamDataset

    console = Console()
    dataset = SlipstreamDataset(source, cache_dir=cache_dir)
    pipelines = {name: image_pipeline(name) for name in pipeline or ["raw", "center_crop", "rrc"]}
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
