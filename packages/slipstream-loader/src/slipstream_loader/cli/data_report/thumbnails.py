"""Some samples as small pictures for a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from slipstream_cache import SampleCache
from slipstream_decoders import BatchContext, decode_images
from slipstream_loader.encoded import encoded
from slipstream_loader.sample_sheet import captions, spread_ids

_NUM_SAMPLES: Final = 48
_SIDE: Final = 144
_SAMPLES_AT_ONCE: Final = 8


@dataclass(frozen=True)
class Thumbnail:
    """A sample on the page."""

    caption: str
    data_uri: str | None
    """A JPEG, as a ``data:`` address; None if the image cannot be decoded."""
    problem: str = ""
    """Why it cannot."""


def thumbnails(cache: SampleCache, field: str) -> Iterator[Thumbnail]:
    """Samples that are spread evenly, whole and small."""
    sample_ids = spread_ids(len(cache), _NUM_SAMPLES)
    names = captions(cache, sample_ids)
    for begin in range(0, len(sample_ids), _SAMPLES_AT_ONCE):
        ids = np.array(sample_ids[begin : begin + _SAMPLES_AT_ONCE], np.int64)
        failures: dict[int, str] = {}
        context = BatchContext(ids, seed=0, failures=failures)
        images = decode_images(encoded(cache.payloads(field, ids)), context)
        for row, (image, name) in enumerate(zip(images, names[begin:], strict=False)):
            if row in failures:
                yield Thumbnail(name, None, failures[row])
            else:
                yield Thumbnail(name, _data_uri(Image.fromarray(image)))


def _data_uri(image: Image.Image) -> str:
    image.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
