"""The samples of a cache one after another, with what is known of their images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from slipstream_cache import Codec, Condition, FieldSpec, SampleCache, SampleReader
from slipstream_cache.field_types import select_fields
from slipstream_loader.errors import ExportError
from slipstream_loader.progress import progress_bar
from slipstream_loader.sample_runs import runs_of
from slipstream_loader.sources.pil_files import file_of
from slipstream_loader.transcode import decode_stored

_SAMPLES_AT_ONCE: Final = 32
"""Their images are copied."""
_MAX_NAMED: Final = 8


@dataclass(frozen=True)
class ExportedImage:
    """An image as the cache holds it."""

    payload: bytes
    codec: Codec
    height: int
    width: int

    @property
    def is_jpeg(self) -> bool:
        """Whether the payload is a JPEG file."""
        return self.codec is Codec.JPEG

    def pixels(self) -> bytes:
        """RGB of shape (height, width, 3)."""
        if self.codec is Codec.RGB:
            return self.payload
        return decode_stored(self.payload, self.codec, self.height, self.width).tobytes()

    def file(self) -> tuple[bytes, str]:
        """An image file, and the ending of its name: the stored JPEG, or else a PNG."""
        if self.is_jpeg:
            return self.payload, "jpg"
        return file_of(decode_stored(self.payload, self.codec, self.height, self.width)), "png"


class ExportedSamples:
    """What is exported: the samples of a cache or view, and some of its fields.

    Parameters
    ----------
    cache : SampleReader or path
    fields : sequence of str, optional
        Default: all.
    verbose : bool
        Whether progress is shown (on a terminal or in a notebook only).

    Raises
    ------
    FieldNotFoundError
        There is no such field.
    ExportError
        An image is unreadable, so that no format can hold it; names the samples.
    """

    def __init__(
        self,
        cache: SampleReader | str | os.PathLike[str],
        fields: Sequence[str] | None,
        *,
        verbose: bool,
    ) -> None:
        self.cache = cache if isinstance(cache, SampleReader) else SampleCache.open(Path(cache))
        chosen = select_fields(self.cache.fields, None if fields is None else tuple(fields))
        self.fields: Mapping[str, FieldSpec] = chosen
        self._verbose = verbose
        for name in self.image_fields:
            bad = np.flatnonzero(self.cache.conditions(name) == Condition.UNREADABLE)
            if bad.size:
                more = "..." if bad.size > _MAX_NAMED else ""
                named = ", ".join(map(str, bad[:_MAX_NAMED])) + more
                raise ExportError(
                    f"field {name!r}: {bad.size} images are unreadable (samples {named}); leave "
                    "them out with subset(cache, ids)"
                )

    @property
    def image_fields(self) -> list[str]:
        """Names of the image fields."""
        return [name for name, spec in self.fields.items() if spec.kind == "image"]

    def __len__(self) -> int:
        return len(self.cache)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the samples: field -> value, images as ``ExportedImage``."""
        names = list(self.fields)
        with progress_bar(len(self), "exporting", verbose=self._verbose) as bar:
            for ids in runs_of(len(self), _SAMPLES_AT_ONCE):
                values = self.cache.load_batch(ids, names)
                for row in range(len(ids)):
                    yield {name: _value(values[name], row) for name in names}
                    bar.update()


def _value(values: Any, row: int) -> Any:
    """One of the values that ``load_batch`` gives for a field."""
    if not isinstance(values, dict):
        return values[row]
    begin, size = int(values["offsets"][row]), int(values["sizes"][row])
    return ExportedImage(
        values["data"][begin : begin + size].tobytes(),
        Codec(int(values["codecs"][row])),
        int(values["heights"][row]),
        int(values["widths"][row]),
    )
