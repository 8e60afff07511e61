"""Reading image files with Pillow: strictly, quietly, as RGB.

What counts as the image is what ``PIL.Image.open(...).convert("RGB")`` gives, as in torchvision's
``pil_loader``: alpha is dropped, colour profiles and EXIF orientation are ignored, animations give
their first frame. One exception: 16-bit grey is scaled to 8 bits, where Pillow would cut all
values above 255.
"""

from __future__ import annotations

import io
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from slipstream_loader.errors import ImageDecodeError

if TYPE_CHECKING:
    import torch

BAD_IMAGE_ERRORS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    Image.DecompressionBombError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What Pillow's format plugins raise when they meet bad data."""

_REFUSED_FORMATS: Final = {
    "EPS": "drawings, which another program would have to draw",
    "WMF": "drawings, which another program would have to draw",
    "ICNS": "icons of several sizes, of which none is told before",
}

_ICON: Final = b"\0\0\1\0"
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_MAX_ICON_SIDE: Final = 4096
"""Pixels, of an image in an icon file: Pillow decodes it as it opens the file."""

_CHANNELS: Final = (1, 3, 4)
_ROWS_AT_ONCE: Final = 64
"""Of 16-bit images: they are scaled in 32 bits."""

FileData: TypeAlias = "bytes | bytearray | memoryview | NDArray[np.uint8]"
ImageData: TypeAlias = "FileData | torch.Tensor | Image.Image | Mapping[str, Any]"


class StrictPillow:
    """Context in which Pillow neither accepts cut-off files nor warns, whatever is set globally.

    ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES`` and the warning filters belong to the process. They are
    changed when the first thread enters and put back when the last one leaves.
    """

    _lock = threading.Lock()
    _num_inside = 0
    _lenient = False
    _silence = ("ignore", None, Warning, re.compile(r"PIL\."), 0)

    def __enter__(self) -> None:
        cls = type(self)
        with self._lock:
            if cls._num_inside == 0:
                cls._lenient = ImageFile.LOAD_TRUNCATED_IMAGES
                ImageFile.LOAD_TRUNCATED_IMAGES = False
                cast(list[Any], warnings.filters).insert(0, self._silence)
            cls._num_inside += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        cls = type(self)
        with self._lock:
            cls._num_inside -= 1
            if cls._num_inside == 0:
                ImageFile.LOAD_TRUNCATED_IMAGES = cls._lenient
                filters = cast(list[Any], warnings.filters)
                filters[:] = [entry for entry in filters if entry is not self._silence]


def open_image(data: FileData) -> Image.Image:
    """Read the header of an image file; the pixels are loaded later.

    Raises
    ------
    One of BAD_IMAGE_ERRORS
        When Pillow cannot or must not read it.
    """
    data = data.tobytes() if isinstance(data, np.ndarray) else data
    _check_icon(memoryview(data))
    image = Image.open(io.BytesIO(data))
    if image.format in _REFUSED_FORMATS:
        raise UnidentifiedImageError(
            f"{image.format} files hold {_REFUSED_FORMATS[image.format]}: they are not read"
        )
    return image


def _check_icon(data: memoryview) -> None:
    """Raise DecompressionBombError if an icon file holds an image that is no icon."""
    if bytes(data[:4]) != _ICON:
        return
    entries = data[6 : 6 + 16 * int.from_bytes(data[4:6], "little")]
    for (place,) in struct.iter_unpack("<12xI", entries[: len(entries) // 16 * 16]):
        frame = bytes(data[place : place + 24])
        if len(frame) < 24:
            continue  # Pillow tells that it is cut off
        if frame[:8] == _PNG:
            width, height = struct.unpack_from(">II", frame, 16)
        else:
            width, height = struct.unpack_from("<ii", frame, 4)
            height //= 2  # pixels, and which of them are there
        if max(width, abs(height)) > _MAX_ICON_SIDE:
            raise Image.DecompressionBombError(
                f"an icon of {width} x {abs(height)} pixels; icons have at most {_MAX_ICON_SIDE}"
            )


def to_grey_or_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image to mode ``"L"`` if it has no colour, else to ``"RGB"``.

    Converting the result to RGB gives what converting the image itself would, but for 16-bit grey,
    which is scaled to 8 bits.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        deep = np.asarray(image)
        grey = np.empty(deep.shape, np.uint8)
        for begin in range(0, len(deep), _ROWS_AT_ONCE):
            rows = slice(begin, begin + _ROWS_AT_ONCE)
            grey[rows] = (deep[rows].astype(np.uint32) * 255 + 32_767) // 65_535
        return Image.fromarray(grey)
    if image.mode in ("RGB", "L"):
        return image
    return image.convert("L" if image.mode in ("1", "LA", "I", "F") else "RGB")


def describe_problem(error: BaseException) -> str:
    """Say in a few words why Pillow could not read an image, the same on every run."""
    if isinstance(error, Image.DecompressionBombError):
        return f"{error}; raise PIL.Image.MAX_IMAGE_PIXELS if the image is meant to be that large"
    if isinstance(error, UnidentifiedImageError) and "BytesIO" in str(error):
        return "not an image of a format that Pillow reads"
    return str(error) or type(error).__name__


def image_of_array(value: Any) -> Image.Image:
    """Return an array or tensor as a Pillow image with the same pixels.

    Raises
    ------
    ValueError
        It is not uint8 of shape (H, W), (H, W, C) or (C, H, W), or uint16 of shape (H, W).
    """
    array = np.asarray(value)
    pixels = array
    if array.ndim == 3 and array.shape[2] not in _CHANNELS and array.shape[0] in _CHANNELS:
        pixels = array.transpose(1, 2, 0)
    elif array.ndim == 3 and not isinstance(value, np.ndarray) and array.shape[0] in _CHANNELS:
        pixels = array.transpose(1, 2, 0)  # tensors have their channels first
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    is_colour = pixels.ndim == 3 and pixels.shape[2] in _CHANNELS and pixels.dtype == np.uint8
    is_grey = pixels.ndim == 2 and pixels.dtype in (np.uint8, np.uint16)
    if not (is_colour or is_grey) or not pixels.size:
        raise ValueError(
            f"{array.dtype} of shape {array.shape}; an image is uint8 of shape (H, W), "
            "(H, W, C) or (C, H, W) with 1, 3 or 4 channels, or uint16 of shape (H, W)"
        )
    return Image.fromarray(np.ascontiguousarray(pixels))


@overload
def decode_image(data: ImageData, to_pil: Literal[False] = False) -> torch.Tensor: ...
@overload
def decode_image(data: ImageData, to_pil: Literal[True]) -> Image.Image: ...
@overload
def decode_image(data: ImageData, to_pil: bool) -> torch.Tensor | Image.Image: ...
def decode_image(data: ImageData, to_pil: bool = False) -> torch.Tensor | Image.Image:
    """Decode the bytes of an image file with Pillow, or convert what is decoded already.

    Parameters
    ----------
    data : bytes-like, or ndarray or Tensor of uint8, shape (N,)
        The file: JPEG, PNG, WebP or anything else that Pillow reads. Also a dict of Hugging Face
        that holds its ``"bytes"``, and images: of Pillow, or pixels as `image_of_array` takes them.
    to_pil : bool
        Return a Pillow image instead of a tensor.

    Returns
    -------
    Tensor of uint8, shape (3, H, W), or PIL.Image.Image of mode RGB
        A new object; EXIF orientation is not applied.

    Raises
    ------
    ImageDecodeError
        When the file is cut off, damaged, or not an image. What remains of a cut-off file is never
        filled up with grey, even if ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES`` is set.
    """
    with StrictPillow():
        try:
            image = _image_in(data)
            image.load()
            rgb = to_grey_or_rgb(image).convert("RGB")
        except BAD_IMAGE_ERRORS as error:
            raise ImageDecodeError(describe_problem(error)) from error
    return rgb if to_pil else image_tensor(rgb)


def _image_in(data: ImageData) -> Image.Image:
    if isinstance(data, (bytes, bytearray, memoryview)):
        return open_image(data)
    if isinstance(data, Image.Image):
        return data
    if isinstance(data, Mapping):
        if data.get("bytes") is None:
            raise ValueError("a dict with no bytes; expected {'bytes': ..., 'path': ...}")
        return open_image(data["bytes"])
    array = np.asarray(data)
    is_file = array.ndim == 1 and array.dtype == np.uint8
    return open_image(array) if is_file else image_of_array(data)


def image_tensor(image: Image.Image) -> torch.Tensor:
    """Copy an RGB Pillow image to a contiguous uint8 tensor of shape (3, H, W)."""
    import torch  # late: building a cache needs this module, and not torch

    pixels = np.array(image, dtype=np.uint8)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
