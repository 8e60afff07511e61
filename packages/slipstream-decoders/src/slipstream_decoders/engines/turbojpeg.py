"""The TurboJPEG engine: libjpeg-turbo decodes, our kernels crop and resize."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._kernels.crops import work_bytes_for
from slipstream_decoders._kernels.turbojpeg import Scratch as ScratchMemory
from slipstream_decoders._kernels.turbojpeg import crop_run, decode_rgb
from slipstream_decoders._turbojpeg.library import load_turbojpeg
from slipstream_decoders.batch import EncodedBatch
from slipstream_decoders.engines.base import CropJob, Scratch
from slipstream_decoders.engines.idle import IdlePool


class _Memory:
    """Scratch memory: used by one thread at a time."""

    def __init__(self) -> None:
        self.header = np.zeros(64, np.uint8)
        self.scratch = Scratch()


class TurboJpegEngine:
    """Takes baseline and progressive JPEGs in YCbCr, grayscale or RGB."""

    name = "turbojpeg"

    def __init__(self) -> None:
        self._library = load_turbojpeg()
        self._idle = IdlePool(_Memory)

    def crop(self, job: CropJob, rows: NDArray[np.int64]) -> None:
        """See ``Engine``."""
        worker = self._idle.take()
        batch = job.batch
        heights, widths = batch.heights[rows].astype(np.int64), batch.widths[rows].astype(np.int64)
        pixels = worker.scratch.get("pixels", _max_image_bytes(heights, widths))
        work = worker.scratch.get("work", int(work_bytes_for(job.crops, rows)))
        memory = ScratchMemory(
            worker.header.ctypes.data,
            pixels.ctypes.data,
            pixels.nbytes,
            work.ctypes.data,
            work.nbytes,
        )
        while rows.size:
            done, handle = crop_run(
                self._library.addresses,
                rows,
                batch.addresses,
                batch.sizes,
                batch.heights,
                batch.widths,
                job.quality == "fast",
                job.crops,
                memory,
                job.statuses,
            )
            last, rows = int(rows[done - 1]), rows[done:]
            if handle:
                job.reasons[last] = self._library.last_message(handle)
                self._library.free_handle(handle)
        worker.scratch.shrink()
        self._idle.put(worker)

    def whole(self, batch: EncodedBatch, row: int, out: NDArray[np.uint8]) -> tuple[int, str]:
        """See ``Engine``."""
        worker, handle = self._idle.take(), self._library.new_handle()
        status = decode_rgb(
            self._library.addresses,
            handle,
            int(batch.addresses[row]),
            int(batch.sizes[row]),
            out.shape[0],
            out.shape[1],
            worker.header.ctypes.data,
            out.ctypes.data,
        )
        reason = self._library.last_message(handle) if status else ""
        self._library.free_handle(handle)
        self._idle.put(worker)
        return int(status), reason


def _max_image_bytes(heights: NDArray[np.int64], widths: NDArray[np.int64]) -> int:
    """Scratch for the largest image: RGB, or planes padded to whole chroma samples."""
    return int(((heights + 4) * (widths + 4) * 3).max()) + 3 * 64
