"""``EncodedBatch``: the encoded images of one batch, by address."""

from __future__ import annotations

import ctypes
import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL.JpegImagePlugin import JpegImageFile

CODEC_JPEG = 0
CODEC_YUV420 = 1
CODEC_RGB = 2
CODEC_UNKNOWN = 255

_ORIENTATION_TAG = 0x0112

READABLE_SLACK = 64
"""Bytes that must be readable after every payload: vector kernels read past the end."""


@dataclass(frozen=True)
class EncodedBatch:
    """Where the encoded images of a batch lie in memory, and what is known about them.

    The batch does not own the payloads; ``owner`` keeps them alive. ``READABLE_SLACK`` bytes after
    each payload must be readable. All arrays have shape (B,).
    """

    addresses: NDArray[np.int64]
    """Address of the first byte of each payload."""
    sizes: NDArray[np.int64]
    """Bytes."""
    heights: NDArray[np.int32]
    """Pixels, as stored (before EXIF orientation); 0 where unreadable."""
    widths: NDArray[np.int32]
    codecs: NDArray[np.uint8]
    """0 JPEG, 1 planar YUV420, 2 interleaved RGB, 255 unreadable."""
    orientations: NDArray[np.uint8]
    """EXIF orientation 1..8; 0 when there is none."""
    owner: object
    """Whatever must stay alive while the addresses are used."""
    seek_addresses: NDArray[np.int64] | None = None
    """Address of the seek points of each payload, see ``seek_points``; None without."""
    seek_sizes: NDArray[np.int64] | None = None
    """Bytes; 0 where a payload has none."""

    def __len__(self) -> int:
        return int(self.addresses.shape[0])

    def payload(self, row: int) -> memoryview:
        """A read-only view of one payload, valid while ``owner`` lives."""
        size = int(self.sizes[row])
        array = (ctypes.c_uint8 * size).from_address(int(self.addresses[row]))
        return memoryview(array).cast("B").toreadonly()

    def take(self, rows: slice | NDArray[np.int64]) -> EncodedBatch:
        """The given rows, sharing the payloads."""
        return EncodedBatch(
            addresses=self.addresses[rows],
            sizes=self.sizes[rows],
            heights=self.heights[rows],
            widths=self.widths[rows],
            codecs=self.codecs[rows],
            orientations=self.orientations[rows],
            owner=self.owner,
            seek_addresses=None if self.seek_addresses is None else self.seek_addresses[rows],
            seek_sizes=None if self.seek_sizes is None else self.seek_sizes[rows],
        )

    def with_seek_points(
        self, data: NDArray[np.uint8], offsets: NDArray[np.int64], sizes: NDArray[np.int64]
    ) -> EncodedBatch:
        """The same batch with seek points beside the payloads; nothing is copied.

        Parameters
        ----------
        data : ndarray of uint8, shape (N,), C-contiguous
            Seek points one after another, as ``build_seek_points`` makes them.
        offsets, sizes : ndarray of int64, shape (B,)
            Bytes; a size of 0 where a payload has none.

        Raises
        ------
        ValueError
            If seek points would lie outside ``data``, the shapes differ, or ``data`` are no
            contiguous bytes.
        """
        if data.dtype != np.uint8 or not data.flags.c_contiguous:
            raise ValueError(f"seek points must be contiguous bytes, got {data.dtype}")
        offsets = _column(offsets, np.int64, len(self))
        sizes = _column(sizes, np.int64, len(self))
        _check_inside(offsets, sizes, data.size, "seek points lie")
        return replace(
            self,
            seek_addresses=data.ctypes.data + offsets,
            seek_sizes=sizes,
            owner=(self.owner, data),
        )

    @classmethod
    def from_mapping(cls, batch: Mapping[str, Any]) -> EncodedBatch:
        """Take the image field of ``SampleCache.load_batch``.

        Parameters
        ----------
        batch : mapping
            ``data``: ndarray of uint8, payloads one after another, or one padded payload a row
            (shape (B, longest)); ``sizes``, ``heights``, ``widths``: shape (B,); optional
            ``offsets`` (default: running sum of the sizes), ``codecs`` (default: JPEG),
            ``orientations`` (default: none).

        Returns
        -------
        EncodedBatch
            Its payloads are a copy of ``data`` with readable slack.

        Raises
        ------
        ValueError
            If a payload would lie outside ``data`` or the shapes differ.
        """
        data = np.asarray(batch["data"], dtype=np.uint8)
        sizes = np.ascontiguousarray(batch["sizes"], dtype=np.int64)
        if data.ndim == 2:
            offsets = np.arange(data.shape[0], dtype=np.int64) * data.shape[1]
        elif "offsets" in batch:
            offsets = np.ascontiguousarray(batch["offsets"], dtype=np.int64)
        else:
            offsets = np.cumsum(sizes) - sizes
        if offsets.shape != sizes.shape or sizes.ndim != 1:
            raise ValueError(
                f"expected one offset and one size a sample, got {offsets.shape} and {sizes.shape}"
            )
        _check_inside(offsets, sizes, data.size, "a payload lies")
        if data.ndim == 2 and sizes.size and sizes.max() > data.shape[1]:
            raise ValueError(f"a payload lies outside the {data.shape[1]} bytes of its row")
        padded = np.zeros(data.size + READABLE_SLACK, np.uint8)
        padded[: data.size] = data.reshape(-1)
        num = sizes.shape[0]
        return cls(
            addresses=padded.ctypes.data + offsets,
            sizes=sizes,
            heights=_column(batch["heights"], np.int32, num),
            widths=_column(batch["widths"], np.int32, num),
            codecs=_column(batch.get("codecs", np.zeros(num)), np.uint8, num),
            orientations=_column(batch.get("orientations", np.zeros(num)), np.uint8, num),
            owner=padded,
        )

    @classmethod
    def from_payloads(cls, payloads: Sequence[bytes]) -> EncodedBatch:
        """Take JPEG files as bytes; heights and widths are read from their headers.

        Parameters
        ----------
        payloads : sequence of bytes
            One image file each. One whose header Pillow cannot read is marked unreadable; EXIF
            data that is damaged has no orientation.

        Returns
        -------
        EncodedBatch
            It holds a copy of the payloads.
        """
        headers = [_jpeg_header(payload) for payload in payloads]
        return cls.from_mapping(
            {
                "data": np.frombuffer(b"".join(payloads), np.uint8),
                "sizes": [len(payload) for payload in payloads],
                "heights": [header[0] for header in headers],
                "widths": [header[1] for header in headers],
                "codecs": [CODEC_JPEG if header[0] else CODEC_UNKNOWN for header in headers],
                "orientations": [header[2] for header in headers],
            }
        )


def _check_inside(
    offsets: NDArray[np.int64], sizes: NDArray[np.int64], num_bytes: int, what: str
) -> None:
    is_inside = (sizes >= 0) & (offsets >= 0) & (sizes <= num_bytes - offsets)  # no sum: it wraps
    if not is_inside.all():
        raise ValueError(f"{what} outside the {num_bytes} bytes of data")


def _column(values: ArrayLike, dtype: type[np.generic], num: int) -> NDArray[Any]:
    column = np.ascontiguousarray(values, dtype=dtype)
    if column.shape != (num,):
        raise ValueError(f"expected a column of {num} values, got shape {column.shape}")
    return column


def _jpeg_header(payload: bytes) -> tuple[int, int, int]:
    """(height, width, EXIF orientation) of a JPEG; zeros when it has no readable header."""
    # Not Image.open: it would warn about, or refuse, large images that a decoder may take.
    try:
        with JpegImageFile(io.BytesIO(payload)) as image:
            return image.height, image.width, _orientation(image.info.get("exif", b""))
    except (OSError, SyntaxError, ValueError):
        return 0, 0, 0


def _orientation(exif: bytes) -> int:
    """The orientation in EXIF data; 0 when there is none or the data is malformed."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 0
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", tiff, entry)
            if tag == _ORIENTATION_TAG and kind in (3, 4):  # short, long
                (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), tiff, entry + 8)
                return value if 1 <= value <= 8 else 0
    except struct.error:  # it ends before that
        return 0
    return 0
