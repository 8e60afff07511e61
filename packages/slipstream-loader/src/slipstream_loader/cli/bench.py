"""``slipstream bench``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from slipstream_decoders import default_num_threads
from slipstream_loader.benchmark import measure
from slipstream_loader.cli.arguments import (
    BatchSizeOption,
    CacheDirOption,
    SourceArgument,
    ThreadsOption,
    image_pipeline,
)
from slipstream_loader.cli.report import measurements_table
from slipstream_loader.dataset import SlipstreamDataset
from slipstream_loader.errors import SourceError
from slipstream_loader.loader import SlipstreamLoader
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
    console = Console()
    dataset = SlipstreamDataset(source, cache_dir=cache_dir)
    loaders = image_loaders(
        dataset,
        pipeline or ["raw", "center_crop", "rrc"],
        batch_size,
        threads,
        order,
        image_format,
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


def image_loaders(
    dataset: SlipstreamDataset,
    pipelines: list[str],
    batch_size: int,
    threads: int | None,
    order: Literal["random", "sequential"],
    image_format: ImageFormat = "jpeg",
) -> dict[str, SlipstreamLoader]:
    """A loader for each named pipeline, which reads the first image field only.

    Raises
    ------
    SourceError
        If the data set has no images.
    """
    if not dataset.image_fields:
        raise SourceError(f"no field holds images; the fields are {list(dataset.field_types)}")
    image, *_ = dataset.image_fields
    others = [name for name in dataset.field_types if name != image]
    loaders = {}
    for name in pipelines:
        stages = image_pipeline(name)
        loaders[name] = SlipstreamLoader(
            dataset,
            batch_size=min(batch_size, len(dataset)),
            pipelines={image: stages} if stages else None,
            order=order,
            image_format=image_format,
            seed=0,
            drop_last=False,
            exclude_fields=others,
            num_threads=threads or default_num_threads(),
        )
    return loaders
