"""Which payloads the native engine takes, as far as their headers tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._kernels.jpeg.parse import HEADER_WORDS, HEIGHT, WIDTH, parse_header
from slipstream_decoders.batch import CODEC_JPEG, EncodedBatch
from slipstream_decoders.status import DecodeStatus


def native_header_statuses(batch: EncodedBatch) -> NDArray[np.int32]:
    """Read the header of each payload as the native engine does; no pixel is decoded.

    Parameters
    ----------
    batch : EncodedBatch

    Returns
    -------
    ndarray of int32, shape (B,)
        ``DecodeStatus``: ``OK`` where the native engine will try; ``UNSUPPORTED`` for progressive
        JPEGs, other colour spaces and other codecs.
    """
    header = np.zeros(HEADER_WORDS, np.int64)
    statuses = np.full(len(batch), DecodeStatus.UNSUPPORTED, np.int32)
    for row in np.flatnonzero(batch.codecs == CODEC_JPEG).tolist():
        statuses[row] = parse_header(int(batch.addresses[row]), int(batch.sizes[row]), header)
        is_same_size = (header[HEIGHT], header[WIDTH]) == (batch.heights[row], batch.widths[row])
        if statuses[row] == DecodeStatus.OK and not is_same_size:
            statuses[row] = DecodeStatus.SIZE_MISMATCH
    return statuses
