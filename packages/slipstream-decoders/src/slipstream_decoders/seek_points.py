"""Seek points: where the native engine can start in the middle of a JPEG.

They are bytes beside an unchanged payload, a few percent of its size: every few MCUs, a bit
offset and the DC predictors (format: ``_kernels/jpeg/seek.py``). Making them decodes the whole scan
once, so it also tells which payloads are damaged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._kernels.jpeg.parse import HEIGHT, MCU_WIDTH, WIDTH, parse_header
from slipstream_decoders._kernels.jpeg.planes import build_points
from slipstream_decoders._kernels.jpeg.seek import points_size
from slipstream_decoders.batch import CODEC_JPEG, EncodedBatch
from slipstream_decoders.engines.native import NativeDecoder
from slipstream_decoders.status import DecodeStatus
from slipstream_decoders.threads import kernel_threads

PIXELS_PER_POINT = 64
"""From one point of a row to the next: a measured choice.

Photos at quality 90, 4:2:0, random crops to planes against whole images by libjpeg-turbo: 16 pixels
3.82 x (points take 12.7 % of the payload), 32: 3.70 x (6.4 %), 64: 3.61 x (3.3 %), 128: 3.47 x
(1.7 %), 256: 3.20 x (0.9 %).
"""


@dataclass(frozen=True)
class SeekPoints:
    """Seek points of a batch; ``EncodedBatch.with_seek_points`` takes the arrays."""

    data: NDArray[np.uint8]
    """One after another."""
    offsets: NDArray[np.int64]
    """Shape (B,), bytes."""
    sizes: NDArray[np.int64]
    """Shape (B,), bytes; 0 where ``statuses`` is not OK."""
    statuses: NDArray[np.int32]
    """Shape (B,): ``DecodeStatus``. ``UNSUPPORTED``: not a JPEG that the native engine takes;
    ``CORRUPT``: a code is wrong, or the image ends too early."""


def build_seek_points(batch: EncodedBatch, *, num_threads: int | None = None) -> SeekPoints:
    """Make the seek points of a batch.

    Parameters
    ----------
    batch : EncodedBatch
    num_threads : int, optional
        Default: as many as the process may use. 1: the calling thread, so that several threads
        can each make those of a batch.

    Returns
    -------
    SeekPoints
        New memory. The bytes depend on the payloads alone.
    """
    pieces: list[NDArray[np.uint8]] = [np.empty(0, np.uint8)] * len(batch)
    statuses = np.zeros(len(batch), np.int32)

    def build(begin: int, end: int) -> None:
        decoder = NativeDecoder()
        for row in range(begin, end):
            statuses[row], pieces[row] = _build(batch, row, decoder)

    if num_threads == 1:
        build(0, len(batch))
    else:
        kernel_threads(num_threads).run(build, len(batch))
    sizes = np.array([piece.size for piece in pieces], np.int64)
    data = np.concatenate(pieces) if pieces else np.empty(0, np.uint8)
    return SeekPoints(data, np.cumsum(sizes) - sizes, sizes, statuses)


def _build(
    batch: EncodedBatch, row: int, decoder: NativeDecoder
) -> tuple[DecodeStatus, NDArray[np.uint8]]:
    nothing = np.empty(0, np.uint8)
    if batch.codecs[row] != CODEC_JPEG:
        return DecodeStatus.UNSUPPORTED, nothing
    payload, size, header = int(batch.addresses[row]), int(batch.sizes[row]), decoder.header
    status = DecodeStatus(parse_header(payload, size, header))
    if status != DecodeStatus.OK:
        return status, nothing
    if header[HEIGHT] != batch.heights[row] or header[WIDTH] != batch.widths[row]:
        return DecodeStatus.SIZE_MISMATCH, nothing
    step = max(1, PIXELS_PER_POINT // int(header[MCU_WIDTH]))
    points = np.empty(int(points_size(header, step)), np.uint8)
    address, num_bytes = points.ctypes.data, points.nbytes
    memory = decoder.memory(size)
    status = DecodeStatus(build_points(payload, size, header, step, address, num_bytes, memory))
    return status, points if status == DecodeStatus.OK else nothing
