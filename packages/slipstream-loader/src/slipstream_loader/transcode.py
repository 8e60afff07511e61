"""Images that are not plain JPEG files, brought to a stored codec with Pillow.

The builder of a cache stores baseline and progressive JPEG files byte for byte and hands all else
to `transcode`: PNG (whatever the file is called), WebP, BMP, GIF, TIFF, CMYK and arithmetic-coded
JPEG, 16-bit grey, and images larger than ``max_size``. The pixels are those of
`slipstream_loader.image_files`: RGB without alpha, colour profile or EXIF rotation. (Pillow itself
turns a TIFF by its orientation tag when it loads it, so it is stored upright, with orientation 0.)
"""

from __future__ import annotations

import hashlib
import io
from contextlib import closing
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slipstream_cache import Codec, Condition, ImageFlag, StorageOptions, StoredImage
from slipstream_cache.image_header import ImageHeaderError, JpegHeader, read_jpeg_header
from slipstream_decoders import rgb_to_yuv420, yuv420_size, yuv420_to_rgb
from slipstream_loader.decoding_memory import DecodingTurns, bytes_to_decode, excess
from slipstream_loader.errors import ImageDecodeError
from slipstream_loader.image_files import (
    BAD_IMAGE_ERRORS,
    StrictPillow,
    decode_image,
    describe_problem,
    open_image,
    to_grey_or_rgb,
)

_MAX_JPEG_SIDE: Final = 65_500
"""Longest side in pixels that libjpeg writes."""

_EXIF_ORIENTATION: Final = 0x0112

_ROWS_AT_ONCE: Final = 256
"""Copied out of an image: Pillow takes twice the memory of what it copies at once."""

_turns = DecodingTurns()


class _Opened(NamedTuple):
    """An image file whose header was read."""

    image: Image.Image
    size: tuple[int, int]
    """Width and height in pixels."""
    target: tuple[int, int] | None
    """Width and height that it is shrunk to; None if it is not above ``max_size``."""
    box: tuple[float, float, float, float] | None
    """What a decoder that shrinks by itself makes of it, to be shrunk further."""


def transcode(payload: bytes, options: StorageOptions) -> StoredImage:
    """Bring an image file to the form in which it is stored.

    Parameters
    ----------
    payload : bytes
        An image file.
    options : StorageOptions
        ``codec`` and ``quality`` of the result; ``max_size`` in pixels, to which the longer side of
        a larger image is shrunk (antialiased, aspect ratio kept). Images that no JPEG can hold
        (a side above 65,500 pixels) are stored as ``rgb`` in place of ``jpeg``.

    Returns
    -------
    StoredImage
        A sound plain JPEG that is not too large comes back unchanged. So does an image that Pillow
        cannot decode: DAMAGED when its header could be read, else UNREADABLE, with the reason in
        ``problem``. Its codec is UNKNOWN unless it is a plain JPEG, of which decoders may still
        show the sound part.

    Notes
    -----
    Bad data never raises. Thread-safe. The result depends on the input, the options and the
    versions of Pillow and its libraries only.
    """
    header = _jpeg_header(payload)
    with StrictPillow():
        try:
            opened = _open(payload, options.max_size)
        except BAD_IMAGE_ERRORS as error:
            return _unchanged(payload, header, (0, 0), describe_problem(error))
        num_bytes = bytes_to_decode(opened.image, opened.size, options.codec, opened.target)
        problem = excess(opened.image, opened.size, num_bytes)
        if problem is not None:
            return _unchanged(payload, header, opened.size, problem)
        with _turns.turn(num_bytes), closing(opened.image):
            return _decoded_and_stored(opened, payload, header, options)


def _open(payload: bytes, max_size: int | None) -> _Opened:
    image = open_image(payload)
    size = image.size
    if max_size is None or max(size) <= max_size:
        return _Opened(image, size, None, None)
    target = _shrunk(size, max_size)
    # A JPEG may be decoded at 1/2, 1/4 or 1/8: twice the final size is enough for the filter.
    drafted = image.draft(None, (2 * target[0], 2 * target[1]))
    return _Opened(image, size, target, drafted and drafted[1])


def _decoded_and_stored(
    opened: _Opened, payload: bytes, header: JpegHeader | None, options: StorageOptions
) -> StoredImage:
    """See `transcode`; `opened` is the payload."""
    try:
        pixels = _load(opened, options.max_size)
        orientation = _orientation(opened.image, header)
    except BAD_IMAGE_ERRORS as error:
        return _unchanged(payload, header, opened.size, describe_problem(error))
    if header is not None and header.is_plain and opened.target is None:
        return _unchanged(payload, header, opened.size, None)
    stored, codec = _encode(pixels, _codec_of(payload, pixels.size, options), options.quality)
    return StoredImage(
        payload=stored,
        height=pixels.height,
        width=pixels.width,
        codec=codec,
        orientation=orientation,
        flags=int(ImageFlag.TRANSCODED),
    )


def _jpeg_header(payload: bytes) -> JpegHeader | None:
    try:
        return read_jpeg_header(payload)
    except ImageHeaderError:
        return None


def _unchanged(
    payload: bytes, header: JpegHeader | None, size: tuple[int, int], problem: str | None
) -> StoredImage:
    """Keep the bytes; `size` (width, height) is (0, 0) where Pillow could not read the header."""
    width, height = size if header is None else (header.width, header.height)
    condition = Condition.UNREADABLE if not width else Condition.DAMAGED
    return StoredImage(
        payload=payload,
        height=height,
        width=width,
        codec=Codec.JPEG if header is not None and header.is_plain else Codec.UNKNOWN,
        orientation=0 if header is None else header.orientation,
        condition=Condition.SOUND if problem is None else condition,
        flags=int(ImageFlag.PROGRESSIVE) if header is not None and header.is_progressive else 0,
        problem=problem,
    )


def _load(opened: _Opened, max_size: int | None) -> Image.Image:
    """Decode all pixels, shrunk if need be, to mode L or RGB."""
    opened.image.load()
    pixels = to_grey_or_rgb(opened.image)
    if max_size is None or opened.target is None:
        return pixels
    if opened.box is not None:
        return pixels.resize(opened.target, Image.Resampling.LANCZOS, box=opened.box)
    return pixels.resize(_shrunk(pixels.size, max_size), Image.Resampling.LANCZOS)


def _shrunk(size: tuple[int, int], max_size: int) -> tuple[int, int]:
    scale = max_size / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _orientation(image: Image.Image, header: JpegHeader | None) -> int:
    """EXIF orientation of a loaded image; 0 when it has none."""
    if header is not None:
        return header.orientation
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 0)
    except BAD_IMAGE_ERRORS:
        return 0
    return value if isinstance(value, int) and 1 <= value <= 8 else 0


def _codec_of(payload: bytes, size: tuple[int, int], options: StorageOptions) -> str:
    """The codec that an image gets; it depends on the image alone, not on others or their order."""
    if options.codec == "smart":
        return "jpeg" if 3 * size[0] * size[1] > options.smart_threshold else "rgb"
    if options.codec == "proportion":
        number = int.from_bytes(hashlib.blake2b(payload, digest_size=7).digest(), "big")
        return "jpeg" if number < options.jpeg_proportion * (1 << 56) else "rgb"
    return options.codec


def _encode(pixels: Image.Image, codec: str, quality: int) -> tuple[bytes, Codec]:
    if codec == "yuv420":
        return rgb_to_yuv420(_rgb(pixels)).tobytes(), Codec.YUV420
    if codec == "rgb" or max(pixels.size) > _MAX_JPEG_SIDE:
        return _rgb(pixels).tobytes(), Codec.RGB
    file = io.BytesIO()
    pixels.save(file, "JPEG", quality=quality, subsampling=0, comment=b"")
    return file.getvalue(), Codec.JPEG


def _rgb(pixels: Image.Image) -> NDArray[np.uint8]:
    """The pixels of an image of mode L or RGB; shape (H, W, 3)."""
    array = np.empty((pixels.height, pixels.width, 3), np.uint8)
    for top in range(0, pixels.height, _ROWS_AT_ONCE):
        bottom = min(top + _ROWS_AT_ONCE, pixels.height)
        rows = pixels.crop((0, top, pixels.width, bottom))
        array[top:bottom] = np.asarray(rows.convert("RGB"))
    return array


def decode_stored(payload: bytes, codec: Codec, height: int, width: int) -> Image.Image:
    """Decode one stored image of any codec.

    Parameters
    ----------
    payload : bytes
        As in a `StoredImage` or a cache.
    codec : Codec
        Of the payload.
    height, width : int
        Pixels, as stored.

    Returns
    -------
    PIL.Image.Image
        Mode RGB.

    Raises
    ------
    ImageDecodeError
        When the payload is damaged, or is no image.
    """
    if codec not in (Codec.YUV420, Codec.RGB):
        return decode_image(payload, to_pil=True)
    pixels = np.frombuffer(payload, np.uint8)
    expected = yuv420_size(height, width) if codec is Codec.YUV420 else 3 * height * width
    if pixels.size != expected:
        raise ImageDecodeError(
            f"{pixels.size} bytes of codec {codec.name.lower()}; {height} x {width} pixels need "
            f"{expected}"
        )
    if codec is Codec.YUV420:
        return Image.fromarray(yuv420_to_rgb(pixels, height, width))
    return Image.fromarray(pixels.reshape(height, width, 3))
