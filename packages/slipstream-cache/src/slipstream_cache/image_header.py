"""What an image file says about itself in its first bytes. No pixel is decoded here.

Source: ITU-T T.81 annex B (markers), Exif 2.32 section 4.6 (orientation), and Adobe technical
note 5116 section 18 (APP14).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

_SOI: Final = b"\xff\xd8"
_EOI: Final = b"\xff\xd9"
_SOS, _APP1, _APP14 = 0xDA, 0xE1, 0xEE
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE: Final = frozenset([0x01, *range(0xD0, 0xD8)])
_BMP_HEADER_SIZES: Final = frozenset([12, 40, 52, 56, 64, 108, 124])
_ORIENTATION_TAG: Final = 0x0112


class ImageHeaderError(ValueError):
    """The bytes have no readable JPEG header."""


@dataclass(frozen=True)
class JpegHeader:
    """The header of a JPEG file up to its first scan."""

    height: int
    """Pixels, as stored (before EXIF orientation)."""
    width: int
    num_components: int
    precision: int
    """Bits per sample."""
    process: int
    """n of the marker SOFn: 0 baseline, 1 extended, 2 progressive, more: rarer processes."""
    orientation: int
    """EXIF orientation 1..8; 0 when there is none."""
    adobe_transform: int | None
    """Colour transform of the Adobe marker: 0 none, 1 YCbCr, 2 YCCK; None without the marker."""
    scan_start: int
    """Bytes before the entropy-coded data of the first scan."""

    @property
    def is_progressive(self) -> bool:
        """Whether the scans are progressive."""
        return self.process == 2

    @property
    def is_plain(self) -> bool:
        """Whether it is Huffman-coded, 8-bit, grey or three components."""
        return self.process <= 2 and self.precision == 8 and self.num_components in (1, 3)


def sniff_image_format(data: bytes) -> str | None:
    """Name the image format that ``data`` begins like; None when it is none of the known ones.

    Parameters
    ----------
    data : bytes
        The file, or its first 32 bytes.

    Returns
    -------
    str or None
        ``"jpeg"``, ``"png"``, ``"gif"``, ``"bmp"``, ``"webp"``, ``"tiff"`` or None.
    """
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "tiff"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES:
        return "bmp"
    return None


def read_jpeg_header(data: bytes) -> JpegHeader:
    """Parse a JPEG file up to its first scan.

    Parameters
    ----------
    data : bytes
        The whole file (or at least all before the first scan).

    Returns
    -------
    JpegHeader

    Raises
    ------
    ImageHeaderError
        It is no JPEG, or its header is cut off or broken.
    """
    if data[:2] != _SOI:
        raise ImageHeaderError("no start of image")
    frame: tuple[int, int, int, int, int] | None = None
    orientation, adobe_transform = 0, None
    position = 2
    while True:
        marker, position = _next_marker(data, position)
        if marker in _STANDALONE:
            continue
        if marker == 0xD9:
            raise ImageHeaderError("the image ends before its first scan")
        end = position + _segment_size(data, position, marker)
        segment = data[position + 2 : end]
        if marker in _FRAMES and frame is None:
            frame = (marker - 0xC0, *_parse_frame(segment))
        elif marker == _APP1 and orientation == 0:
            orientation = _parse_orientation(segment)
        elif marker == _APP14 and segment[:5] == b"Adobe" and len(segment) >= 12:
            adobe_transform = segment[11]
        elif marker == _SOS:
            break
        position = end
    if frame is None:
        raise ImageHeaderError("a scan before any frame header")
    process, precision, height, width, num_components = frame
    return JpegHeader(
        height, width, num_components, precision, process, orientation, adobe_transform, end
    )


def has_jpeg_end(data: bytes, header: JpegHeader) -> bool:
    """Whether the end-of-image marker follows the first scan, anywhere before trailing bytes.

    Entropy-coded data has a zero after each 0xFF, so the marker cannot be a part of it.
    """
    return data.rfind(_EOI, header.scan_start) >= 0


def _next_marker(data: bytes, position: int) -> tuple[int, int]:
    """Marker code at ``position`` (fill bytes skipped) and the position after it."""
    if position + 2 > len(data):
        raise ImageHeaderError("cut off before the first scan")
    if data[position] != 0xFF:
        raise ImageHeaderError(f"expected a marker at byte {position}, found {data[position]:#04x}")
    while position < len(data) and data[position] == 0xFF:
        position += 1
    if position == len(data):
        raise ImageHeaderError("cut off before the first scan")
    return data[position], position + 1


def _segment_size(data: bytes, position: int, marker: int) -> int:
    size = int.from_bytes(data[position : position + 2], "big")
    if size < 2 or position + size > len(data):
        raise ImageHeaderError(f"the segment of marker 0xff{marker:02x} is cut off")
    return size


def _parse_frame(segment: bytes) -> tuple[int, int, int, int]:
    if len(segment) < 6 or len(segment) < 6 + 3 * segment[5]:
        raise ImageHeaderError("the frame header is cut off")
    precision, height, width, num_components = struct.unpack_from(">BHHB", segment)
    if height == 0 or width == 0 or num_components == 0:
        raise ImageHeaderError(
            f"an image of {height}x{width} pixels with {num_components} components"
        )
    return precision, height, width, num_components


def _parse_orientation(segment: bytes) -> int:
    """EXIF orientation of an APP1 segment; 0 when it has none or is malformed."""
    if segment[:6] != b"Exif\0\0":
        return 0
    tiff = segment[6:]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 0
    (directory,) = struct.unpack_from(order + "I", tiff, 4)
    if directory + 2 > len(tiff):
        return 0
    (count,) = struct.unpack_from(order + "H", tiff, directory)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        if entry + 12 > len(tiff):
            return 0
        tag, kind = struct.unpack_from(order + "HH", tiff, entry)
        if tag == _ORIENTATION_TAG:
            (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), tiff, entry + 8)
            return value if 1 <= value <= 8 else 0
    return 0
