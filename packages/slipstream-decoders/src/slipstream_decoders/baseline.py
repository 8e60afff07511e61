"""JPEGs that the native engine does not take, losslessly converted so that it does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._turbojpeg.library import load_turbojpeg
from slipstream_decoders._turbojpeg.transform import BaselineTransform
from slipstream_decoders.batch import CODEC_JPEG, EncodedBatch
from slipstream_decoders.native_headers import native_header_statuses
from slipstream_decoders.status import DecodeStatus


@dataclass(frozen=True)
class BaselineJpegs:
    """Converted JPEGs of a batch, one after another."""

    data: NDArray[np.uint8]
    """Shape (bytes,)."""
    sizes: NDArray[np.int64]
    """Shape (B,), bytes; 0 where the payload itself is to be used."""


def convert_to_baseline(batch: EncodedBatch) -> BaselineJpegs:
    """Convert progressive and other JPEGs of a batch that the native engine does not take.

    Parameters
    ----------
    batch : EncodedBatch

    Returns
    -------
    BaselineJpegs
        New memory. Coefficients, and so pixels, are those of the payloads; metadata is left out.
        Nothing is made of a payload that the native engine takes as it is, of one that is damaged,
        and of one that it would not take after the conversion either.

    Raises
    ------
    BackendUnavailableError
        There is no TurboJPEG library.
    """
    transform = BaselineTransform(load_turbojpeg())
    refused = native_header_statuses(batch) == DecodeStatus.UNSUPPORTED
    pieces = [b""] * len(batch)
    for row in np.flatnonzero(refused & (batch.codecs == CODEC_JPEG)).tolist():
        made = transform.convert(int(batch.addresses[row]), int(batch.sizes[row]))
        if made is not None and _is_taken(made, int(batch.heights[row]), int(batch.widths[row])):
            pieces[row] = made
    return BaselineJpegs(
        np.frombuffer(b"".join(pieces), np.uint8), np.array([len(p) for p in pieces], np.int64)
    )


def _is_taken(payload: bytes, height: int, width: int) -> bool:
    columns = {"data": np.frombuffer(payload, np.uint8), "sizes": [len(payload)]}
    batch = EncodedBatch.from_mapping({**columns, "heights": [height], "widths": [width]})
    return bool(native_header_statuses(batch)[0] == DecodeStatus.OK)
