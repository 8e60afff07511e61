"""The native engine: our own baseline JPEG decoder, which needs no library.

It decodes the part of an image that a crop touches. With seek points beside the payloads it begins
near the crop; without them at the start of the scan.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._kernels.crops import most_sides, work_bytes_for
from slipstream_decoders._kernels.jpeg.cover import most_rectangles
from slipstream_decoders._kernels.jpeg.crop import Scratch as ScratchMemory
from slipstream_decoders._kernels.jpeg.crop import crop_run, most_plane_bytes
from slipstream_decoders._kernels.jpeg.parse import (
    ACROSS,
    COMPONENT_WORDS,
    COMPONENTS,
    DOWN,
    HEADER_WORDS,
    HEIGHT,
    MCU_ROWS,
    MCUS_ACROSS,
    NUM_COMPONENTS,
    WIDTH,
    parse_header,
)
from slipstream_decoders._kernels.jpeg.planes import (
    Memory,
    Planes,
    Window,
    data_bytes_for,
    decode_planes,
    prepare_workspace,
)
from slipstream_decoders._kernels.jpeg.rgb import (
    CropScratch,
    Part,
    PartScratch,
    decode_part,
    exact_crop_run,
    part_bytes_for,
)
from slipstream_decoders._kernels.jpeg.workspace import WORKSPACE_BYTES
from slipstream_decoders.batch import EncodedBatch
from slipstream_decoders.engines.base import CropJob, Scratch
from slipstream_decoders.engines.idle import IdlePool
from slipstream_decoders.status import DecodeStatus


class NativeDecoder:
    """A decoder's memory: used by one thread at a time."""

    scratch_type: type[Scratch] = Scratch

    def __init__(self) -> None:
        self.header = np.zeros(HEADER_WORDS, np.int64)
        self.scratch = self.scratch_type()
        self._workspace = np.zeros(WORKSPACE_BYTES, np.uint8)
        prepare_workspace(self._workspace.ctypes.data)

    def memory(self, largest_payload: int) -> Memory:
        """Memory for payloads of at most so many bytes."""
        data = self.scratch.get("data", int(data_bytes_for(largest_payload)))
        return Memory(self._workspace.ctypes.data, data.ctypes.data, data.nbytes)

    def planes(
        self,
        batch: EncodedBatch,
        row: int,
        window: tuple[int, int, int, int] | None = None,
    ) -> tuple[DecodeStatus, list[NDArray[np.uint8]]]:
        """Decode one image, or a window of it, to its planes.

        Parameters
        ----------
        batch : EncodedBatch
        row : int
        window : (int, int, int, int), optional
            First and last + 1 MCU: x_begin, y_begin, x_end, y_end. Default: all.

        Returns
        -------
        (DecodeStatus, list of ndarray of uint8)
            One or three planes of whole MCUs, new memory; none unless the status is OK.
        """
        header = self.header
        payload, size = int(batch.addresses[row]), int(batch.sizes[row])
        status = DecodeStatus(parse_header(payload, size, header))
        if status != DecodeStatus.OK:
            return status, []
        if header[HEIGHT] != batch.heights[row] or header[WIDTH] != batch.widths[row]:
            return DecodeStatus.SIZE_MISMATCH, []
        mcus = Window(*(window or (0, 0, int(header[MCUS_ACROSS]), int(header[MCU_ROWS]))))
        shapes = [
            (
                8 * int(header[words + DOWN]) * (mcus.y_end - mcus.y_begin),
                8 * int(header[words + ACROSS]) * (mcus.x_end - mcus.x_begin),
            )
            for words in range(
                COMPONENTS,
                COMPONENTS + COMPONENT_WORDS * int(header[NUM_COMPONENTS]),
                COMPONENT_WORDS,
            )
        ]
        planes = [np.empty(shape, np.uint8) for shape in shapes]
        luma, blue, red = ([plane.ctypes.data for plane in planes] + [0, 0])[:3]
        points, points_sizes = _seek_columns(batch)
        status = DecodeStatus(
            decode_planes(
                payload,
                size,
                header,
                mcus,
                Planes(luma, blue, red, planes[0].shape[1], planes[-1].shape[1]),
                int(points[row]),
                int(points_sizes[row]),
                self.memory(size),
            )
        )
        return status, planes if status == DecodeStatus.OK else []


class NativeEngine:
    """Takes baseline JPEGs in YCbCr or grayscale."""

    name = "native"

    def __init__(self) -> None:
        self._idle = IdlePool(NativeDecoder)

    def crop(self, job: CropJob, rows: NDArray[np.int64]) -> None:
        """See ``Engine``."""
        decoder = self._idle.take()
        if job.quality == "exact":
            _crop_exact(decoder, job, rows)
        else:
            _crop_fast(decoder, job, rows)
        decoder.scratch.shrink()
        self._idle.put(decoder)

    def whole(self, batch: EncodedBatch, row: int, out: NDArray[np.uint8]) -> tuple[int, str]:
        """See ``Engine``."""
        decoder = self._idle.take()
        points, points_sizes = _seek_columns(batch)
        height, width = out.shape[:2]
        size = int(batch.sizes[row])
        part = Part(
            int(batch.addresses[row]),
            size,
            int(points[row]),
            int(points_sizes[row]),
            height,
            width,
            0,
            0,
            height,
            width,
        )
        memory = _part_scratch(decoder, size, height, width)
        status = decode_part(part, decoder.header, out.ctypes.data, out.strides[0], memory)
        decoder.scratch.shrink()
        self._idle.put(decoder)
        return int(status), ""


def _crop_fast(decoder: NativeDecoder, job: CropJob, rows: NDArray[np.int64]) -> None:
    batch, num_views = job.batch, len(job.crops.outputs)
    pixels = decoder.scratch.get("pixels", int(most_plane_bytes(job.crops, rows)))
    work = decoder.scratch.get("work", int(work_bytes_for(job.crops, rows)))
    points, points_sizes = _seek_columns(batch)
    crop_run(
        rows,
        batch.addresses,
        batch.sizes,
        points,
        points_sizes,
        batch.heights,
        batch.widths,
        job.crops,
        decoder.header,
        ScratchMemory(
            decoder.memory(int(batch.sizes[rows].max())),
            pixels.ctypes.data,
            pixels.nbytes,
            work.ctypes.data,
            work.nbytes,
            np.empty((num_views, 4), np.int64),
            np.empty((most_rectangles(num_views), 4), np.int64),
        ),
        job.statuses,
    )


def _crop_exact(decoder: NativeDecoder, job: CropJob, rows: NDArray[np.int64]) -> None:
    batch = job.batch
    most_height, most_width = most_sides(job.crops, rows)
    memory = _part_scratch(decoder, int(batch.sizes[rows].max()), most_height, most_width)
    pixels = decoder.scratch.get("pixels", 3 * most_height * most_width)
    work = decoder.scratch.get("work", int(work_bytes_for(job.crops, rows)))
    points, points_sizes = _seek_columns(batch)
    exact_crop_run(
        rows,
        batch.addresses,
        batch.sizes,
        points,
        points_sizes,
        batch.heights,
        batch.widths,
        job.crops,
        decoder.header,
        CropScratch(memory, pixels.ctypes.data, pixels.nbytes, work.ctypes.data, work.nbytes),
        job.statuses,
    )


def _part_scratch(decoder: NativeDecoder, size: int, height: int, width: int) -> PartScratch:
    """Memory for parts of at most this size, of payloads of at most ``size`` bytes."""
    planes = decoder.scratch.get("planes", int(part_bytes_for(height, width)))
    return PartScratch(decoder.memory(size), planes.ctypes.data, planes.nbytes)


def _seek_columns(batch: EncodedBatch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Addresses and sizes of seek points; zeros in a batch without."""
    if batch.seek_addresses is None or batch.seek_sizes is None:
        nothing = np.zeros(len(batch), np.int64)
        return nothing, nothing
    return batch.seek_addresses, batch.seek_sizes
