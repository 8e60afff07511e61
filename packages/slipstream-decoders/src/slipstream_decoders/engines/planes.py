"""Parts of images as planes, for whoever resizes them elsewhere: on a GPU, say.

The native engine decodes them and copies those of planar payloads. It does not take other JPEGs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._kernels.crops import Crops
from slipstream_decoders._kernels.jpeg.cover import most_rectangles
from slipstream_decoders._kernels.jpeg.crop import Scratch as ScratchMemory
from slipstream_decoders._kernels.patches import measure_run, write_run
from slipstream_decoders.batch import EncodedBatch
from slipstream_decoders.buffers import Buffers
from slipstream_decoders.engines.idle import IdlePool
from slipstream_decoders.engines.native import NativeDecoder
from slipstream_decoders.status import DecodeStatus
from slipstream_decoders.threads import KernelThreads

_ALIGNMENT = 64


@dataclass(frozen=True)
class PlanarPatches:
    """Planes of parts of images, one image after another."""

    rows: NDArray[np.int64]
    """Shape (N,): the rows of the batch that could be decoded."""
    data: NDArray[np.uint8]
    layout: NDArray[np.int64]
    """Shape (N, 7): where Y, its rows, Cb, Cr, their rows are in ``data``; ratios. See
    ``stages.device.patches.Patches``."""
    regions: NDArray[np.int64]
    """Shape (N, 4): x, y, width, height in the image."""


class PlanesEngine:
    """Takes baseline JPEGs in YCbCr or grayscale, and planar YUV420. Thread-safe."""

    name = "planes"

    def __init__(self) -> None:
        self._idle = IdlePool(NativeDecoder)

    def patches(
        self,
        batch: EncodedBatch,
        crops: Crops,
        rows: NDArray[np.int64],
        threads: KernelThreads,
        buffers: Buffers,
    ) -> PlanarPatches:
        """What the crops of some rows touch.

        Parameters
        ----------
        batch : EncodedBatch
        crops : Crops
            On the images as stored; where the outputs are does not matter.
        rows : ndarray of int64
        threads : KernelThreads
        buffers : Buffers
            Lend the memory of the result.

        Returns
        -------
        PlanarPatches
            Without the rows that this engine does not take, or that are damaged.
        """
        images = _images_of(batch)
        statuses = np.full(len(batch), DecodeStatus.UNSUPPORTED, np.int32)
        layouts = np.zeros((len(batch), 7), np.int64)
        regions = np.zeros((len(batch), 4), np.int64)
        sizes = np.zeros(len(batch), np.int64)
        num_views = len(crops.outputs)

        def measure(begin: int, end: int) -> None:
            decoder = self._idle.take()
            memory = _scratch(decoder, 0, num_views)
            chosen = rows[begin:end]
            measure_run(
                chosen,
                images,
                batch.codecs,
                crops,
                decoder.header,
                memory,
                layouts,
                regions,
                sizes,
                statuses,
            )
            self._idle.put(decoder)

        if rows.size:
            threads.run(measure, rows.size)
        taken = rows[statuses[rows] == DecodeStatus.OK]
        padded = -(-sizes[taken] // _ALIGNMENT) * _ALIGNMENT
        starts = np.cumsum(padded) - padded
        data = buffers.lend((int(padded.sum()),), np.uint8)
        targets = np.zeros(len(batch), np.int64)
        targets[taken] = data.ctypes.data + starts

        def write(begin: int, end: int) -> None:
            decoder = self._idle.take()
            chosen = taken[begin:end]
            memory = _scratch(decoder, int(batch.sizes[chosen].max()), num_views)
            write_run(
                chosen,
                images,
                batch.codecs,
                crops,
                decoder.header,
                memory,
                regions,
                targets,
                statuses,
            )
            decoder.scratch.shrink()
            self._idle.put(decoder)

        if taken.size:
            threads.run(write, taken.size)
        sound = statuses[taken] == DecodeStatus.OK
        layout = layouts[taken]
        layout[:, [0, 2, 3]] += starts[:, None]
        return PlanarPatches(taken[sound], data, layout[sound], regions[taken][sound])


def _images_of(batch: EncodedBatch) -> NDArray[np.int64]:
    """What kernels know of each image, shape (B, 6)."""
    nothing = np.zeros(len(batch), np.int64)
    points, points_sizes = batch.seek_addresses, batch.seek_sizes
    if points is None or points_sizes is None:
        points, points_sizes = nothing, nothing
    columns = batch.addresses, batch.sizes, points, points_sizes, batch.heights, batch.widths
    return np.stack(columns, axis=1).astype(np.int64)


def _scratch(decoder: NativeDecoder, largest: int, num_views: int) -> ScratchMemory:
    return ScratchMemory(
        decoder.memory(largest),
        0,
        0,
        0,
        0,
        np.empty((num_views, 4), np.int64),
        np.empty((most_rectangles(num_views), 4), np.int64),
    )
