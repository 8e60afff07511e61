"""Facts about images and engines that subcommands print."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstream_cache import Codec, Condition, SampleCache
from slipstream_decoders import DecodeStatus, find_turbojpeg, native_header_statuses
from slipstream_loader.baseline import find_baseline
from slipstream_loader.cli.tables import size
from slipstream_loader.damage import find_damage
from slipstream_loader.sample_runs import runs_of
from slipstream_loader.seek_points import EncodedImages, find_seek_points
from slipstream_loader.yuv420 import find_yuv420

_HEADERS_LOOKED_AT = 10_000


def engines() -> str:
    """The JPEG engines at hand, best first."""
    library = find_turbojpeg()
    found = f"turbojpeg ({library.path})" if library else "no TurboJPEG library"
    return f"native, {found}, pillow"


def gpu_engines() -> str:
    """What decodes on a GPU, without starting CUDA."""
    from slipstream_decoders.stages.device.nvimgcodec import is_nvimgcodec_installed  # late: torch

    return "planes, " + ("nvimgcodec" if is_nvimgcodec_installed() else "no nvimgcodec (extra gpu)")


def image_facts(cache: SampleCache, field: str) -> dict[str, Any]:
    """Codecs, conditions, sizes, seek points and engines of an image field."""
    codecs, conditions = np.zeros(256, np.int64), np.zeros(256, np.int64)
    num_bytes = pixels = 0
    for ids in runs_of(len(cache)):
        payloads = cache.payloads(field, ids)
        codecs += np.bincount(payloads.codecs, minlength=256)
        conditions += np.bincount(payloads.conditions, minlength=256)
        num_bytes += int(payloads.sizes.sum())
        pixels += int((payloads.heights.astype(np.int64) * payloads.widths).sum())
    damage = find_damage(cache)
    return {
        "mean pixels": round(pixels / max(1, len(cache))),
        "bits per pixel": round(8 * num_bytes / max(1, pixels), 2),
        "codecs": {codec.name.lower(): int(codecs[codec]) for codec in Codec if codecs[codec]},
        "conditions": {c.name.lower(): int(conditions[c]) for c in Condition if conditions[c]},
        "cannot be decoded": "not judged yet" if damage is None else len(damage[field]),
        "yuv420 planes": _planes_fact(cache, field),
        **_engine_facts(cache, field, codecs),
    }


def _planes_fact(cache: SampleCache, field: str) -> str:
    planes = find_yuv420(cache, field)
    if planes is None:
        return "none; slipstream build --derive yuv420"
    return "as stored" if planes.derived is None else size(planes.num_bytes)


def _engine_facts(cache: SampleCache, field: str, codecs: NDArray[np.int64]) -> dict[str, Any]:
    """What was derived to decode faster, and how many samples each engine will be offered."""
    facts: dict[str, Any] = {}
    baseline, points = find_baseline(cache, field), find_seek_points(cache, field)
    if baseline is not None:
        made = sum(int((baseline.payloads(ids).sizes > 0).sum()) for ids in runs_of(len(cache)))
        facts["converted to baseline"] = made
    num_jpeg, name = int(codecs[Codec.JPEG]), "engines"
    if points is not None:
        sizes = [points.blobs(ids).sizes for ids in runs_of(len(cache))]
        num_native = sum(int((run > 0).sum()) for run in sizes)
        num_bytes = size(sum(int(run.sum()) for run in sizes))
        facts["seek points"] = f"{num_native:,} of {num_jpeg:,} JPEGs, {num_bytes}"
    else:  # headers tell which JPEGs the native engine takes, unless their data is damaged
        facts["seek points"] = "none; slipstream index --seek"
        looked_at = min(len(cache), _HEADERS_LOOKED_AT)
        if looked_at < len(cache):
            name = f"engines, of {looked_at:,} looked at"
        ids = np.linspace(0, len(cache) - 1, looked_at).astype(np.int64)
        batch = EncodedImages(cache, field).batch(ids)
        codecs = np.bincount(batch.codecs, minlength=256)
        num_jpeg = int(codecs[Codec.JPEG])
        num_native = int((native_header_statuses(batch) == DecodeStatus.OK).sum())
    takers = {
        "native": num_native,
        "turbojpeg" if find_turbojpeg() else "pillow": num_jpeg - num_native,
        "stored pixels": int(codecs[Codec.YUV420] + codecs[Codec.RGB]),
        "none": int(codecs[Codec.UNKNOWN]),
    }
    return {**facts, name: {engine: number for engine, number in takers.items() if number}}
