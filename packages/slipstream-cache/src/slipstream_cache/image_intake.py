"""What happens to an image file at build: stored verbatim, handed to the transcode, or flagged."""

from __future__ import annotations

from typing import Final

from slipstream_cache.errors import UnsupportedImageError
from slipstream_cache.image_header import (
    ImageHeaderError,
    JpegHeader,
    has_jpeg_end,
    read_jpeg_header,
    sniff_image_format,
)
from slipstream_cache.layout import Codec, Condition, ImageFlag
from slipstream_cache.source import StorageOptions, StoredImage, Transcode

_MAX_NUMBER: Final = (1 << 32) - 1


def take_image(
    data: bytes, options: StorageOptions, transcode: Transcode | None = None
) -> StoredImage:
    """Bring an image file into its stored form.

    A JPEG that every decoder takes (8 bits, one or three components, Huffman-coded, not above
    ``options.max_size``) keeps all its bytes. Anything else goes to ``transcode``.

    Parameters
    ----------
    data : bytes
        The image file.
    options : StorageOptions
        Given to ``transcode``.
    transcode : Transcode, optional
        Stores other formats.

    Returns
    -------
    StoredImage
        Bytes that nobody can read come back unchanged, with condition UNREADABLE.

    Raises
    ------
    UnsupportedImageError
        The image needs a transcode and there is none, or what it returned cannot be stored.
    """
    header, problem = None, "not an image"
    try:
        header = read_jpeg_header(data)
    except ImageHeaderError as error:
        if sniff_image_format(data) == "jpeg":
            problem = f"JPEG: {error}"
    if header is not None and header.is_plain and not _is_above(header, options.max_size):
        image = _verbatim(data, header)
    elif transcode is not None:
        image = transcode(data, options)
    else:
        _refuse_supported_elsewhere(data, header, options)
        image = StoredImage(
            data, 0, 0, Codec.UNKNOWN, condition=Condition.UNREADABLE, problem=problem
        )
    _check_stored(image)
    return image


def _is_above(header: JpegHeader, max_size: int | None) -> bool:
    return max_size is not None and max(header.height, header.width) > max_size


def _verbatim(data: bytes, header: JpegHeader) -> StoredImage:
    sound = has_jpeg_end(data, header)
    return StoredImage(
        data,
        header.height,
        header.width,
        Codec.JPEG,
        orientation=header.orientation,
        condition=Condition.SOUND if sound else Condition.DAMAGED,
        flags=int(ImageFlag.PROGRESSIVE) if header.is_progressive else 0,
        problem=None if sound else "JPEG: cut off, no end of image",
    )


def _check_stored(image: StoredImage) -> None:
    """Raise unless the image fits a row of the format, and raw pixels fill their payload."""
    size, height, width = len(image.payload), image.height, image.width
    raw_sizes = {
        Codec.RGB: 3 * height * width,
        Codec.YUV420: height * width + 2 * ((height + 1) // 2) * ((width + 1) // 2),
    }
    fits = max(size, height, width) <= _MAX_NUMBER and min(height, width) >= 0
    if not fits or image.orientation not in range(9):
        raise UnsupportedImageError(
            f"an image of {height}x{width} pixels in {size} bytes with orientation "
            f"{image.orientation} cannot be stored; sizes end at 4 GiB, orientations at 8"
        )
    if raw_sizes.get(image.codec, size) != size:
        raise UnsupportedImageError(
            f"the transcode returned {size} bytes of {image.codec.name} for {height}x{width} "
            f"pixels, expected {raw_sizes[image.codec]}"
        )


def _refuse_supported_elsewhere(
    data: bytes, header: JpegHeader | None, options: StorageOptions
) -> None:
    """Raise if the image is readable, only not without a transcode."""
    kind = sniff_image_format(data)
    if header is None and kind in (None, "jpeg"):
        return
    if header is None:
        found = f"a {str(kind).upper()} image"
    elif header.is_plain:
        found = f"{header.height}x{header.width} pixels, above max_size={options.max_size}"
    else:
        found = (
            f"a JPEG of {header.num_components} components, {header.precision} bits, "
            f"process SOF{header.process}"
        )
    raise UnsupportedImageError(
        f"{found}: it must be stored again, and this build has no transcode; build through "
        "slipstream-loader, or pass transcode="
    )
