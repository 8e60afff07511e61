"""Which engine is the fastest on this machine: measured on a batch, once a process.

Pixels of the engines agree within a tolerance, not to the bit, so a choice is kept for the rest of
the process, and ranks of one training take rank 0's (``engine_choices``, ``adopt_engines``). Name
an engine to have the same pixels on every machine.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from subprocess import SubprocessError

import numpy as np
import torch

from slipstream_decoders.batch import CODEC_JPEG
from slipstream_decoders.engines.choose import CropEngineName
from slipstream_decoders.stages.device.crop import DeviceJob, crop_by
from slipstream_decoders.stages.device.nvimgcodec import is_nvimgcodec_installed

_logger = logging.getLogger(__name__)

_FEWEST_IMAGES = 32
"""A smaller batch says little about speed."""
_ROUNDS = 3
_TOLERANCE = 1.0
"""Mean difference from the CPU's pixels, levels of 0 to 255."""

_lock = threading.Lock()
_chosen: dict[str, CropEngineName] = {}


def engine_choices() -> dict[str, CropEngineName]:
    """What was chosen so far: kind of images -> engine."""
    with _lock:
        return dict(_chosen)


def adopt_engines(choices: Mapping[str, CropEngineName]) -> None:
    """Take over choices of another process."""
    with _lock:
        _chosen.update(choices)


def forget_engines() -> None:
    """Measure again."""
    with _lock:
        _chosen.clear()


def available_engines(job: DeviceJob) -> list[CropEngineName]:
    """The engines among which there is a choice."""
    engines: list[CropEngineName] = ["planes"]
    if (job.batch.codecs == CODEC_JPEG).any() and is_nvimgcodec_installed():
        engines.append("nvimgcodec")
    return [*engines, "cpu"]


def chosen_engine(job: DeviceJob) -> CropEngineName:
    """The fastest engine for the kind of images of a batch, which is measured if need be."""
    kind = "jpeg" if (job.batch.codecs == CODEC_JPEG).any() else "pixels"
    with _lock:
        if kind not in _chosen:
            if len(job.batch) < _FEWEST_IMAGES:
                return "planes"
            _chosen[kind] = _fastest(job)
        return _chosen[kind]


def _fastest(job: DeviceJob) -> CropEngineName:
    """The fastest engine whose pixels are right."""
    expected = crop_by("cpu", job)
    seconds: dict[CropEngineName, float] = {}
    for engine in available_engines(job):
        try:
            difference = _difference(job, expected, crop_by(engine, job))
            if difference > _TOLERANCE:
                _logger.warning(
                    "engine %s on %s is left out: its pixels differ by %.2f levels from the CPU's",
                    engine,
                    job.device,
                    difference,
                )
                continue
            seconds[engine] = min(_timed(engine, job) for _ in range(_ROUNDS))
        except (ImportError, OSError, RuntimeError, SubprocessError) as error:
            _logger.warning("engine %s does not run on %s: %s", engine, job.device, error)
    fastest = min(seconds, key=lambda engine: seconds[engine])
    rates = {engine: round(len(job.batch) / took) for engine, took in seconds.items()}
    _logger.info("engine %s is used on %s; images/s: %s", fastest, job.device, rates)
    return fastest


def _timed(engine: CropEngineName, job: DeviceJob) -> float:
    _wait(job.device)
    started = time.perf_counter()
    crop_by(engine, job)
    _wait(job.device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def _difference(job: DeviceJob, expected: list[torch.Tensor], found: list[torch.Tensor]) -> float:
    """The largest mean difference of a view, in levels of 0 to 255."""
    differences = []
    for view, one, other in zip(job.views, expected, found, strict=True):
        level = min(abs(scale) for scale in view.form.scale)
        difference = (one.float() - other.float()).abs().mean() / level
        differences.append(float(difference))
    return float(np.max(differences))
