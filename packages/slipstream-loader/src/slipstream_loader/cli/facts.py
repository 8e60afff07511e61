"""Facts about images and engines that subcommands print."""

from __future__ import annotations

from typing import Any

import numpy as np

from slipstream_cache import Codec, Condition, SampleCache
from slipstream_decoders import find_turbojpeg

_SAMPLES_AT_ONCE = 65_536


def engines() -> str:
    """The JPEG engines at hand, best first."""
    library = find_turbojpeg()
    return f"turbojpeg ({library.path}), pillow" if library else "pillow (no TurboJPEG library)"


def image_facts(cache: SampleCache, field: str) -> dict[str, Any]:
    """Codecs, conditions, sizes and engines of an image field."""
    codecs, conditions = np.zeros(256, np.int64), np.zeros(256, np.int64)
    num_bytes = pixels = 0
    for begin in range(0, len(cache), _SAMPLES_AT_ONCE):
        ids = np.arange(begin, min(begin + _SAMPLES_AT_ONCE, len(cache)))
        payloads = cache.payloads(field, ids)
        codecs += np.bincount(payloads.codecs, minlength=256)
        conditions += np.bincount(payloads.conditions, minlength=256)
        num_bytes += int(payloads.sizes.sum())
        pixels += int((payloads.heights.astype(np.int64) * payloads.widths).sum())
    jpeg_engine = "turbojpeg" if find_turbojpeg() else "pillow"
    takers = {jpeg_engine: int(codecs[Codec.JPEG])}
    takers["stored pixels"] = int(codecs[Codec.YUV420] + codecs[Codec.RGB])
    takers["none"] = int(codecs[Codec.UNKNOWN])
    return {
        "mean pixels": round(pixels / max(1, len(cache))),
        "bits per pixel": round(8 * num_bytes / max(1, pixels), 2),
        "codecs": {codec.name.lower(): int(codecs[codec]) for codec in Codec if codecs[codec]},
        "conditions": {c.name.lower(): int(conditions[c]) for c in Condition if conditions[c]},
        "engines": {name: number for name, number in takers.items() if number},
    }
