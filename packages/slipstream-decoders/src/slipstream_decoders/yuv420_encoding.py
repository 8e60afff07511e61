"""Images of any codec -> planar YUV420 payloads.

The planes of a JPEG are taken as they are decoded, without a detour by RGB. libjpeg-turbo and
Pillow take what the native decoder refuses, as in crops.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._kernels.jpeg.crop import plane_bytes_for
from slipstream_decoders._kernels.jpeg.yuv420 import write_run
from slipstream_decoders._kernels.turbojpeg import Scratch as TurboJpegScratch
from slipstream_decoders._kernels.turbojpeg import write_yuv420
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
from slipstream_decoders.buffers import Buffers
from slipstream_decoders.context import BatchContext
from slipstream_decoders.decode import screened
from slipstream_decoders.engines.idle import IdlePool
from slipstream_decoders.engines.native import NativeDecoder
from slipstream_decoders.engines.pillow import PillowEngine
from slipstream_decoders.engines.stored import expected_bytes, wrong_size
from slipstream_decoders.status import DecodeStatus, failed_rows, raise_for_status
from slipstream_decoders.threads import kernel_threads
from slipstream_decoders.views import addresses_of
from slipstream_decoders.yuv420 import yuv420_size

_NOTHING = np.empty(0, np.uint8)
_BLOCK_BYTES = 64 << 20

_idle = IdlePool(NativeDecoder)
"""Decoders of runs that have ended, with their tables and memory."""


@dataclass(frozen=True)
class Yuv420Images:
    """Planar YUV420 payloads of a batch."""

    payloads: list[NDArray[np.uint8]]
    """One array an image, of ``yuv420_size``; empty where ``statuses`` is not OK."""
    statuses: NDArray[np.int32]
    """Shape (B,): ``DecodeStatus``."""
    reasons: dict[int, str] = field(default_factory=dict)
    """Row -> a decoder's own words about a failure."""


def build_yuv420(
    batch: EncodedBatch, *, num_threads: int | None = None, buffers: Buffers | None = None
) -> Yuv420Images:
    """Bring the images of a batch to planar YUV420.

    Parameters
    ----------
    batch : EncodedBatch
        Of any codecs.
    num_threads : int, optional
        Default: as many as the process may use.
    buffers : Buffers, optional
        Lends the memory; default: it is new. Fresh memory costs a third of a decode.

    Returns
    -------
    Yuv420Images
        Memory that belongs to the caller, with the images' true sizes. The planes of a 4:2:0 JPEG
        are those that it holds; chroma of another sampling is averaged (or, if it is coarser,
        repeated). The bytes depend on the payloads and the decoders' versions alone.
    """
    images = Yuv420Images([_NOTHING] * len(batch), screened(batch, None))

    def build(begin: int, end: int) -> None:
        encoder = _Encoder(batch, _idle.take())
        rows = begin + np.flatnonzero(images.statuses[begin:end] == DecodeStatus.OK)
        payloads = _room(batch, rows, buffers)
        encoder.decode_natively(rows, payloads, images.statuses)
        refused = images.statuses[rows] != DecodeStatus.OK
        for row, payload, is_refused in zip(rows.tolist(), payloads, refused.tolist(), strict=True):
            if is_refused:
                images.statuses[row], reason = encoder.encode(row, payload)
                if images.statuses[row] != DecodeStatus.OK:
                    if reason:
                        images.reasons[row] = reason
                    continue
            images.payloads[row] = payload
        _idle.put(encoder.decoder)

    kernel_threads(num_threads).run(build, len(batch))
    return images


def _room(
    batch: EncodedBatch, rows: NDArray[np.int64], buffers: Buffers | None
) -> list[NDArray[np.uint8]]:
    """Uninitialised memory for the payloads of some rows, in one block unless that is large.

    Headers may claim any size: what nothing is written to should not be asked for at once.
    """
    sizes = yuv420_size(batch.heights[rows].astype(np.int64), batch.widths[rows].astype(np.int64))
    ends = np.cumsum(sizes)
    if not rows.size or ends[-1] > _BLOCK_BYTES:
        return [np.empty(size + READABLE_SLACK, np.uint8)[:size] for size in sizes.tolist()]
    shape = (int(ends[-1]) + READABLE_SLACK,)
    block = np.empty(shape, np.uint8) if buffers is None else buffers.lend(shape, np.uint8)
    starts = (ends - sizes).tolist()
    return [block[start:end] for start, end in zip(starts, ends.tolist(), strict=True)]


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
    images = build_yuv420(
        batch.take(others), num_threads=context.num_threads, buffers=context.buffers
    )
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

    def __init__(self, batch: EncodedBatch, decoder: NativeDecoder) -> None:
        self._batch = batch
        self.decoder = decoder
        self._pillow = PillowEngine()

    def decode_natively(
        self,
        rows: NDArray[np.int64],
        payloads: list[NDArray[np.uint8]],
        statuses: NDArray[np.int32],
    ) -> None:
        """Write the payloads of all JPEGs that the native decoder takes, and their statuses."""
        batch, decoder = self._batch, self.decoder
        statuses[rows] = DecodeStatus.UNSUPPORTED
        is_jpeg = batch.codecs[rows] == CODEC_JPEG
        targets = addresses_of(payloads)[is_jpeg]
        rows = rows[is_jpeg]
        if not rows.size:
            return
        sides = zip(batch.heights[rows].tolist(), batch.widths[rows].tolist(), strict=True)
        most = max(int(plane_bytes_for(height, width)) for height, width in sides)
        pixels = decoder.scratch.get("pixels", most)
        write_run(
            rows,
            batch.addresses,
            batch.sizes,
            batch.heights,
            batch.widths,
            targets,
            decoder.header,
            pixels.ctypes.data,
            pixels.nbytes,
            decoder.memory(int(batch.sizes[rows].max())),
            statuses,
        )
        decoder.scratch.shrink()

    def encode(self, row: int, payload: NDArray[np.uint8]) -> _Result:
        """Write one payload that the native decoder did not, of the size that the image needs."""
        height, width = int(self._batch.heights[row]), int(self._batch.widths[row])
        codec = self._batch.codecs[row]
        if codec == CODEC_JPEG:
            return self._of_jpeg(row, height, width, payload)
        if codec == CODEC_RGB:
            return self._of_rgb(row, height, width, payload)
        return self._of_planes(row, payload)

    def _of_jpeg(self, row: int, height: int, width: int, payload: NDArray[np.uint8]) -> _Result:
        if find_turbojpeg() is not None:
            status, reason = self._by_turbojpeg(row, height, width, payload)
            if status == DecodeStatus.OK:
                return status, reason
        pixels = np.empty((height, width, 3), np.uint8)
        status, reason = self._pillow.whole(self._batch, row, pixels)
        if status == DecodeStatus.OK:
            pack_rgb(pixels.ctypes.data, height, width, payload.ctypes.data)
        return status, reason

    def _by_turbojpeg(
        self, row: int, height: int, width: int, payload: NDArray[np.uint8]
    ) -> _Result:
        library, scratch = load_turbojpeg(), self.decoder.scratch
        # 4:1:0 pads the luma plane by up to three rows and columns, and so the chroma planes
        pixels = scratch.get("pixels", 3 * (height + 4) * (width + 4))
        words = scratch.get("header", 64)
        handle = library.new_handle()
        status = write_yuv420(
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
        if int(self._batch.sizes[row]) != expected_bytes(self._batch, row):
            return DecodeStatus.CORRUPT, wrong_size(self._batch, row)
        pack_rgb(int(self._batch.addresses[row]), height, width, payload.ctypes.data)
        return DecodeStatus.OK, ""

    def _of_planes(self, row: int, payload: NDArray[np.uint8]) -> _Result:
        if int(self._batch.sizes[row]) != expected_bytes(self._batch, row):
            return DecodeStatus.CORRUPT, wrong_size(self._batch, row)
        payload[:] = np.frombuffer(self._batch.payload(row), np.uint8)
        return DecodeStatus.OK, ""
