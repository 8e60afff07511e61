"""Facts about images and engines that subcommands print."""

from __future__ import annotations

from typing import Any

import numpy as np

from slipstream_cache import Codec, Condition, SampleCache
from slipstream_decoders import find_turbojpeg
from slipstream_loader.seek_points import find_seek_points

_SAMPLES_AT_ONCE = 65_536


def engines() -> str:
    """The JPEG engines at hand, best first."""
    library = find_turbojpeg()
    found = f"turbojpeg ({library.path})" if library else "no TurboJPEG library"
    return f"native, {found}, pillow"


def image_facts(cache: SampleCache, field: str) -> dict[str, Any]:
    """Codecs, conditions, sizes and engines of an image field."""
    codecs, conditions = np.zeros(256, np.int64), np.zeros(256, np.int64)
    num_bytes = pixels = num_native = 0
    points = find_seek_points(cache, field)
    for begin in range(0, len(cache), _SAMPLES_AT_ONCE):
        ids = np.arange(begin, min(begin + _SAMPLES_AT_ONCE, len(cache)))
        payloads = cache.payloads(field, ids)
        codecs += np.bincount(payloads.codecs, minlength=256)
        conditions += np.bincount(payloads.conditions, minlength=256)
        num_bytes += int(payloads.sizes.sum())
        if points is not None:
            num_native += int((points.blobs(ids).sizes > 0).sum())
        pixels += int((payloads.heights.astype(np.int64) * payloads.widths).sum())
    others = "turbojpeg, pillow" if find_turbojpeg() else "pillow"
    if points is None:  # which JPEGs the native engine refuses is known when it has seen them
        takers = {f"native, {others}": int(codecs[Codec.JPEG])}
    else:
        takers = {"native": num_native, others: int(codecs[Codec.JPEG]) - num_native}
    takers["stored pixels"] = int(codecs[Codec.YUV420] + codecs[Codec.RGB])
    takers["none"] = int(codecs[Codec.UNKNOWN])
    return {
        "mean pixels": round(pixels / max(1, len(cache))),
        "bits per pixel": round(8 * num_bytes / max(1, pixels), 2),
        "codecs": {codec.name.lower(): int(codecs[codec]) for codec in Codec if codecs[codec]},
        "conditions": {c.name.lower(): int(conditions[c]) for c in Condition if conditions[c]},
        "seek points": "no; slipstream index --seek" if points is None else points.num_bytes,
        "engines": {name: number for name, number in takers.items() if number},
    }
