"""``slipstream show``: a contact sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console

from slipstream_cache import SampleCache
from slipstream_decoders import BatchContext, DecodeOnly, run_stages
from slipstream_loader.cli.arguments import CacheDirOption, SourceArgument, image_pipeline
from slipstream_loader.contact_sheet import contact_sheet
from slipstream_loader.dataset import SlipstreamDataset
from slipstream_loader.encoded import encoded
from slipstream_loader.errors import SourceError
from slipstream_loader.prepare import prepare_cache


def show(
    source: SourceArgument,
    out: Annotated[Path, typer.Option(help="The picture to write (PNG).")],
    ids: Annotated[
        str | None, typer.Option(help="Sample ids, such as 0,5,17. Default: 40 spread evenly.")
    ] = None,
    pipeline: Annotated[
        str | None, typer.Option(help="Show what this pipeline makes. Default: whole images.")
    ] = None,
    cache_dir: CacheDirOption = None,
) -> None:
    """Write a contact sheet of samples, as they are or as a pipeline makes them."""
    dataset = SlipstreamDataset(source, cache_dir=cache_dir)
    cache = prepare_cache(dataset)
    sample_ids = _parsed_ids(ids, len(cache))
    write_sheet(cache, sample_ids, pipeline, out)
    Console().print(str(out), soft_wrap=True, highlight=False)


def _parsed_ids(text: str | None, num_samples: int) -> list[int]:
    if text is None:
        return spread_ids(num_samples)
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"--ids takes numbers with commas, got {text!r}") from error


def spread_ids(num_samples: int, count: int = 40) -> list[int]:
    """At most ``count`` sample ids, spread evenly."""
    return [int(i) for i in np.linspace(0, num_samples - 1, min(count, num_samples))]


def write_sheet(cache: SampleCache, sample_ids: list[int], pipeline: str | None, out: Path) -> None:
    """Write the contact sheet of some samples.

    Raises
    ------
    SourceError
        If the cache has no image field.
    """
    if not cache.image_fields:
        raise SourceError(f"{cache.cache_dir} has no image field")
    field = cache.image_fields[0]
    ids = np.array(sample_ids, np.int64)
    stages = image_pipeline(pipeline) if pipeline else [DecodeOnly()]
    context = BatchContext(sample_ids=ids, seed=0)
    images = run_stages(stages, encoded(cache.payloads(field, ids)), context)
    labels = _captions(cache, sample_ids)
    sheet = contact_sheet([_displayable(image) for image in images], labels)
    sheet.save(out)


def _captions(cache: SampleCache, sample_ids: list[int]) -> list[str]:
    """Sample id, and the file's name or the label where there is one."""
    for name in ("path", "label"):
        if name in cache.fields:
            values = cache.load_batch(sample_ids, [name])[name]
            texts = [str(value).rsplit("/", 1)[-1] for value in values]
            return [f"{i} {text}" for i, text in zip(sample_ids, texts, strict=True)]
    return [str(sample_id) for sample_id in sample_ids]


def _displayable(image: Any) -> Any:
    """uint8 pixels of an image that a pipeline made; normalised ones are stretched to 0..255."""
    if isinstance(image, torch.Tensor) and image.is_floating_point():
        image = image.float()
        low, high = image.min(), image.max()
        return ((image - low) / (high - low).clamp(min=1e-6) * 255).round().to(torch.uint8)
    return image
