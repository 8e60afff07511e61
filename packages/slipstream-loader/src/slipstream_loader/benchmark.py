"""Measure a loader: images per second, CPU seconds an image, where the time goes.

Pipelines are measured in turns, one epoch each, so that a drift of the machine meets all alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from slipstream_decoders import default_num_threads, named_stages, placed_stage, stage_engine
from slipstream_decoders.engines.choose import CropEngineName
from slipstream_decoders.stages.device.nvimgcodec import is_nvimgcodec_installed
from slipstream_loader.dataset import SlipstreamDataset
from slipstream_loader.errors import EmptyDatasetError, SourceError
from slipstream_loader.loader import SlipstreamLoader
from slipstream_loader.named_pipelines import Stages
from slipstream_loader.telemetry import LoaderStats
from slipstream_loader.transfer import device_of
from slipstream_loader.yuv420 import ImageFormat


@dataclass
class Measurement:
    """The epochs of one pipeline."""

    pipeline: str
    loader: SlipstreamLoader
    rates: list[float] = field(default_factory=list)
    """Images per second of each epoch."""
    cpu_seconds_per_image: list[float] = field(default_factory=list)
    """CPU seconds of the whole process per image, of each epoch."""
    stats: LoaderStats = field(default_factory=LoaderStats)

    def run_epoch(self) -> None:
        """Iterate one epoch and note its figures."""
        images, started, cpu_started = 0, time.perf_counter(), time.process_time()
        for batch in self.loader:
            images += len(batch["_indices"])
        self.rates.append(images / (time.perf_counter() - started))
        self.cpu_seconds_per_image.append((time.process_time() - cpu_started) / images)

    def as_json(self) -> dict[str, Any]:
        """One entry of ``results`` of ``slipstream bench``."""
        loader = self.loader
        engine = _engine_of(loader)
        return {
            "pipeline": self.pipeline,
            "image_format": loader.image_format,
            "engine": engine,
            "device": str(device_of(loader.pipelines) or "cpu"),
            "threads": loader.num_threads,
            "batch_size": loader.batch_size,
            "order": loader.order,
            "images_per_second": {
                "best": max(self.rates),
                "median": statistics.median(self.rates),
                "epochs": self.rates,
            },
            "cpu_seconds_per_image": statistics.median(self.cpu_seconds_per_image),
            "stage_seconds": self.stats.stage_seconds,
            "wait_seconds": self.stats.wait_seconds,
        }


def _engine_of(loader: SlipstreamLoader) -> str | None:
    """The engine that decodes, as the stage says; ``stored`` for planes cropped on the CPU."""
    stages = [stage for named in loader.pipelines.values() for _, stage in named_stages(named)]
    if not stages:
        return None
    engine = stage_engine(stages[0]) or "auto"
    return "stored" if engine == "auto" and loader.image_format == "yuv420" else engine


def device_pipelines(pipelines: Mapping[str, Stages], device: str) -> dict[str, Stages]:
    """Each pipeline with its crops on a device, once for each engine that there is.

    Parameters
    ----------
    pipelines : mapping
        Name -> stages. Those that decode nothing stay as they are.
    device : str

    Returns
    -------
    dict
        ``name, engine`` -> stages.
    """
    engines: list[CropEngineName] = ["planes", "cpu"]
    if is_nvimgcodec_installed():
        engines.insert(1, "nvimgcodec")
    placed: dict[str, Stages] = {}
    for name, stages in pipelines.items():
        if not stages or stage_engine(stages[0]) is None:
            placed[name] = stages
            continue
        for engine in engines:
            placed[f"{name}, {engine}"] = [placed_stage(each, device, engine) for each in stages]
    return placed


def measure(
    loaders: Mapping[str, SlipstreamLoader], epochs: int, progress: Callable[[str], None]
) -> Iterator[Measurement]:
    """Measure several pipelines in turns.

    Parameters
    ----------
    loaders : mapping
        Pipeline name -> its loader.
    epochs : int
        Measured epochs of each; one more before them warms caches and kernels.
    progress : callable
        Told the name of the pipeline before each epoch.

    Yields
    ------
    Measurement
        In the order of ``loaders``, after all epochs.
    """
    measurements = [Measurement(name, loader) for name, loader in loaders.items()]
    for epoch in range(epochs + 1):
        for measurement in measurements:
            progress(measurement.pipeline)
            measurement.run_epoch()
            if epoch == 0:
                measurement.rates.clear()
                measurement.cpu_seconds_per_image.clear()
                measurement.loader.reset_stats()
    for measurement in measurements:
        measurement.stats = measurement.loader.stats()
        yield measurement


def image_loaders(
    dataset: SlipstreamDataset,
    pipelines: Mapping[str, Stages],
    *,
    batch_size: int,
    num_threads: int | None = None,
    order: Literal["random", "sequential"] = "random",
    image_format: ImageFormat = "jpeg",
) -> dict[str, SlipstreamLoader]:
    """A loader for each named pipeline, which reads the first image field only.

    Raises
    ------
    SourceError
        If the data set has no images, or no samples.
    """
    if not len(dataset):
        raise EmptyDatasetError("there are no samples to measure with")
    if not dataset.image_fields:
        raise SourceError(f"no field holds images; the fields are {list(dataset.field_types)}")
    image, *_ = dataset.image_fields
    others = [name for name in dataset.field_types if name != image]
    return {
        name: SlipstreamLoader(
            dataset,
            batch_size=min(batch_size, len(dataset)),
            pipelines={image: stages} if stages else None,
            order=order,
            image_format=image_format,
            seed=0,
            drop_last=False,
            exclude_fields=others,
            num_threads=num_threads or default_num_threads(),
        )
        for name, stages in pipelines.items()
    }
