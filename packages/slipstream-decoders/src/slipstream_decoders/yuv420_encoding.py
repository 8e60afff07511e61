"""Images of any codec -> planar YUV420 payloads.

The planes of a JPEG are taken as they are decoded, without a detour by RGB. libjpeg-turbo and
Pillow take what the native decoder refuses, as in crops.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._kernels.jpeg.crop import plane_bytes_for
from slipstream_decoders._kernels.jpeg.parse import HEIGHT, WIDTH, parse_header
from slipstream_decoders._kernels.jpeg.yuv420 import write_yuv420
from slipstream_decoders._kernels.turbojpeg import Scratch as TurboJpegScratch
from slipstream_decoders._kernels.turbojpeg import write_yuv420 as write_yuv420_by_turbojpeg
from slipstream_decoders._kernels.yuv420 import pack_rgb
from slipstream_decoders._turbojpeg.library import find_turbojpeg, load_turbojpeg
from slipstream_decoders.batch import (
    CODEC_JPEG,
    CODEC_RGB,
    CODEC_UNKNOWN,
    CODEC_YUV420,
    READABLE_SLACK,
    EncodedBatch,
)
from slipstream_decoders.context import BatchContext
from slipstream_decoders.engines.base import MAX_PIXELS
from slipstream_decoders.engines.native import NativeDecoder
from slipstream_decoders.engines.pillow import PillowEngine
from slipstream_decoders.status import DecodeStatus, failed_rows, raise_for_status
from slipstream_decoders.threads import kernel_threads
from slipstream_decoders.yuv420 import yuv420_size

_NOTHING = np.empty(0, np.uint8)


@dataclass(frozen=True)
class Yuv420Images:
    """Planar YUV420 payloads of a batch."""

    payloads: list[NDArray[np.uint8]]
    """One array an image, of ``yuv420_size``; empty where ``statuses`` is not OK."""
    statuses: NDArray[np.int32]
    """Shape (B,): ``DecodeStatus``."""
    reasons: dict[int, str] = field(default_factory=dict)
    """Row -> a decoder's own words about a failure."""


def build_yuv420(batch: EncodedBatch, *, num_threads: int | None = None) -> Yuv420Images:
    """Bring the images of a batch to planar YUV420.

    Parameters
    ----------
    batch : EncodedBatch
        Of any codecs.
    num_threads : int, optional
        Default: as many as the process may use.

    Returns
    -------
    Yuv420Images
        New memory, with the images' true sizes. The planes of a 4:2:0 JPEG are those that it
        holds; chroma of another sampling is averaged (or, if it is coarser, repeated). The bytes
        depend on the payloads and the decoders' versions alone.
    """
    images = Yuv420Images([_NOTHING] * len(batch), np.zeros(len(batch), np.int32))

    def build(begin: int, end: int) -> None:
        encoder = _Encoder(batch)
        for row in range(begin, end):
            status, reason, payload = encoder.encode(row)
            images.statuses[row] = status
            if status == DecodeStatus.OK:
                images.payloads[row] = payload
            elif reason:
                images.reasons[row] = reason

    kernel_threads(num_threads).run(build, len(batch))
    return images


def as_yuv420(batch: EncodedBatch, context: BatchContext) -> EncodedBatch:
    """The batch with every image in planar YUV420; those that are already are not copied.

    Returns
    -------
    EncodedBatch
        Its payloads of the codec YUV420 have the size that their image needs.

    Raises
    ------
    CorruptImageError, UnsupportedImageError
        With the ids of all samples that failed, unless the context notes failures: those are then
        marked as unreadable.
    """
    heights, widths = batch.heights.astype(np.int64), batch.widths.astype(np.int64)
    is_planar = batch.codecs == CODEC_YUV420
    others = np.flatnonzero(~is_planar | (batch.sizes != yuv420_size(heights, widths)))
    if not others.size:
        return batch
    images = build_yuv420(batch.take(others), num_threads=context.num_threads)
    reasons = {int(others[row]): reason for row, reason in images.reasons.items()}
    statuses = np.zeros(len(batch), np.int32)
    statuses[others] = images.statuses
    if context.failures is None:
        raise_for_status(statuses, context.sample_ids, reasons)
    else:
        context.failures.update(failed_rows(statuses, reasons))
    addresses, sizes = batch.addresses.copy(), batch.sizes.copy()
    addresses[others] = [payload.ctypes.data for payload in images.payloads]
    sizes[others] = [payload.size for payload in images.payloads]
    codecs = np.where(statuses == DecodeStatus.OK, CODEC_YUV420, CODEC_UNKNOWN)
    return replace(
        batch,
        addresses=addresses,
        sizes=sizes,
        codecs=codecs.astype(np.uint8),
        owner=(batch.owner, images.payloads),
        seek_addresses=None,
        seek_sizes=None,
    )


_Result = tuple[int, str]
"""Status, and a decoder's own words."""


class _Encoder:
    """Brings images of a batch to YUV420, in one thread."""

    def __init__(self, batch: EncodedBatch) -> None:
        self._batch = batch
        self._decoder = NativeDecoder()
        self._pillow = PillowEngine()

    def encode(self, row: int) -> tuple[int, str, NDArray[np.uint8]]:
        """Status, a decoder's own words, payload."""
        batch = self._batch
        height, width, codec = int(batch.heights[row]), int(batch.widths[row]), batch.codecs[row]
        if codec > CODEC_RGB or min(height, width) <= 0:
            return DecodeStatus.UNREADABLE, "", _NOTHING
        if height * width > MAX_PIXELS:
            return DecodeStatus.UNSUPPORTED, "", _NOTHING
        size = yuv420_size(height, width)
        payload = np.empty(size + READABLE_SLACK, np.uint8)[:size]
        if codec == CODEC_JPEG:
            status, reason = self._of_jpeg(row, height, width, payload)
        elif codec == CODEC_RGB:
            status, reason = self._of_rgb(row, height, width, payload)
        else:
            status, reason = self._of_planes(row, payload)
        return status, reason, payload if status == DecodeStatus.OK else _NOTHING

    def _of_jpeg(self, row: int, height: int, width: int, payload: NDArray[np.uint8]) -> _Result:
        result = self._by_native(row, height, width, payload)
        if result[0] != DecodeStatus.OK and find_turbojpeg() is not None:
            result = self._by_turbojpeg(row, height, width, payload)
        if result[0] == DecodeStatus.OK:
            return result
        pixels = np.empty((height, width, 3), np.uint8)
        result = self._pillow.whole(self._batch, row, pixels)
        if result[0] == DecodeStatus.OK:
            pack_rgb(pixels.ctypes.data, height, width, payload.ctypes.data)
        return result

    def _by_native(self, row: int, height: int, width: int, payload: NDArray[np.uint8]) -> _Result:
        decoder = self._decoder
        header, scratch = decoder.header, decoder.scratch
        address, size = int(self._batch.addresses[row]), int(self._batch.sizes[row])
        status = parse_header(address, size, header)
        if status == DecodeStatus.OK and (header[HEIGHT], header[WIDTH]) != (height, width):
            status = DecodeStatus.SIZE_MISMATCH
        if status == DecodeStatus.OK:
            pixels = scratch.get("pixels", int(plane_bytes_for(height, width)))
            memory, target = decoder.memory(size), payload.ctypes.data
            status = write_yuv420(
                address, size, header, pixels.ctypes.data, pixels.nbytes, memory, target
            )
            scratch.shrink()
        return status, ""

    def _by_turbojpeg(
        self, row: int, height: int, width: int, payload: NDArray[np.uint8]
    ) -> _Result:
        library, scratch = load_turbojpeg(), self._decoder.scratch
        # 4:1:0 pads the luma plane by up to three rows and columns, and so the chroma planes
        pixels = scratch.get("pixels", 3 * (height + 4) * (width + 4))
        words = scratch.get("header", 64)
        handle = library.new_handle()
        status = write_yuv420_by_turbojpeg(
            library.addresses,
            handle,
            int(self._batch.addresses[row]),
            int(self._batch.sizes[row]),
            height,
            width,
            TurboJpegScratch(words.ctypes.data, pixels.ctypes.data, pixels.nbytes, 0, 0),
            payload.ctypes.data,
        )
        reason = library.last_message(handle) if status == DecodeStatus.CORRUPT else ""
        library.free_handle(handle)
        scratch.shrink()
        return status, reason

    def _of_rgb(self, row: int, height: int, width: int, payload: NDArray[np.uint8]) -> _Result:
        if int(self._batch.sizes[row]) != 3 * height * width:
            return self._wrong_size(row, 3 * height * width)
        pack_rgb(int(self._batch.addresses[row]), height, width, payload.ctypes.data)
        return DecodeStatus.OK, ""

    def _of_planes(self, row: int, payload: NDArray[np.uint8]) -> _Result:
        if int(self._batch.sizes[row]) != payload.size:
            return self._wrong_size(row, payload.size)
        payload[:] = np.frombuffer(self._batch.payload(row), np.uint8)
        return DecodeStatus.OK, ""

    def _wrong_size(self, row: int, expected: int) -> _Result:
        size = int(self._batch.sizes[row])
        return DecodeStatus.CORRUPT, f"the payload has {size} bytes, expected {expected}"
