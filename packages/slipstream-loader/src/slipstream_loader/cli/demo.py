"""``slipstream demo``: the main job from end to end, on a generated data set or on one's own."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from slipstream_loader.cli.arguments import image_pipeline, written_picture
from slipstream_loader.cli.facts import engines, image_facts
from slipstream_loader.cli.tables import count, measurements_table, print_line
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.sample_images import write_sample_folder


def demo(
    source: Annotated[
        Path | None, typer.Option(help="A folder of your own images. Default: generated ones.")
    ] = None,
    out: Annotated[
        Path,
        typer.Option(help="The contact sheet to write (.png, .jpg).", callback=written_picture),
    ] = Path("slipstream-demo.png"),
) -> None:
    """Make a data set, build its cache, measure three pipelines and write a contact sheet."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="slipstream-demo-") as directory:
        folder = source
        if folder is None:
            folder = Path(directory) / "images"
            with console.status("making images"):
                write_sample_folder(folder, num_classes=8, images_per_class=40, seed=0)
        _run(console, folder, Path(directory) / "caches", out)


def _run(console: Console, folder: Path, cache_dir: Path, out: Path) -> None:
    from slipstream_loader.benchmark import image_loaders, measure  # late: they import torch
    from slipstream_loader.dataset import SlipstreamDataset
    from slipstream_loader.sample_sheet import spread_ids, write_sheet

    dataset = SlipstreamDataset(folder, cache_dir=cache_dir)
    pipelines = {name: image_pipeline(name) for name in ("raw", "center_crop", "rrc")}
    loaders = image_loaders(dataset, pipelines, batch_size=64)
    cache = prepare_cache(dataset)
    facts = image_facts(cache, cache.image_fields[0])
    print_line(
        f"{count(len(cache), 'image')}, {facts['mean pixels']:,} pixels and "
        f"{facts['bits per pixel']} bits per pixel on average; engines: {engines()}"
    )
    with console.status("measuring") as status:
        results = list(measure(loaders, 3, lambda name: status.update(f"measuring {name}")))
    console.print(measurements_table(results))
    shown = spread_ids(len(cache))
    write_sheet(cache, shown, pipelines["rrc"], out)
    print_line(f"random resized crops of {count(len(shown), 'image')}: {out}")
