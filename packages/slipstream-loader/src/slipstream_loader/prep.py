"""Data sets as they are often prepared before training."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from PIL import Image

from slipstream_cache import FieldSpec
from slipstream_loader.errors import ImageDecodeError, SampleReadError, SourceError
from slipstream_loader.image_files import decode_image
from slipstream_loader.sources.imagefolder import ImageFolderSource

__all__ = ["ImageNet1k_s256_l512", "shrink_to_short_side"]

_RECIPE: Final = "short 256, long 512, JPEG 1"
_SHORT_SIDE: Final = 256
_LONG_SIDE: Final = 512
_SPLITS: Final = ("train", "val")


class ImageNet1k_s256_l512:  # noqa: N801  (a name that is in use)
    """ImageNet with the shorter side of each image brought to 256 pixels, stored again as JPEG.

    Images are resized (antialiased, bilinear, aspect ratio kept), and their longer side is cut to
    at most 512 pixels around the centre. Samples are those of ``ImageFolderSource``.

    Parameters
    ----------
    root : str or path
        A folder with one folder for each split, as that of ``torchvision.datasets.ImageNet``, or
        for each class.
    split : str
        The folder of the split; it may be missing where `root` holds the classes.
    jpeg_quality : int
        1 to 100. Chroma is stored at half the resolution, as libjpeg does by default.

    Raises
    ------
    SourceError
        As ``ImageFolderSource``; or `root` holds other splits than this one.
    """

    kind: Final = "imagenet-s256-l512"

    def __init__(
        self, root: str | os.PathLike[str], split: str = "val", jpeg_quality: int = 100
    ) -> None:
        if not 1 <= jpeg_quality <= 100:
            raise ValueError(f"jpeg_quality is {jpeg_quality}; expected 1 to 100")
        root = Path(root).expanduser()
        folder = root / split
        if not folder.is_dir():
            splits = [name for name in _SPLITS if (root / name).is_dir()]
            if splits:  # they would be taken for the classes
                raise SourceError(f"{root} has no split {split!r}; it has {splits}")
            folder = root
        self._images = ImageFolderSource(folder)
        self._quality = jpeg_quality

    @property
    def uri(self) -> str:
        """The folder of the images."""
        return self._images.uri

    @property
    def field_types(self) -> Mapping[str, FieldSpec]:
        """The fields of every sample."""
        return self._images.field_types

    @property
    def classes(self) -> list[str]:
        """Names of the classes, sorted."""
        return self._images.classes

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Class name -> label."""
        return self._images.class_to_idx

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        sample = self._images[index]
        try:
            image = decode_image(sample["image"], to_pil=True)
        except ImageDecodeError as error:
            raise SampleReadError(f"{self.describe(index)}: {error}") from error
        file = io.BytesIO()
        shrink_to_short_side(image, _SHORT_SIDE, _LONG_SIDE).save(
            file, "JPEG", quality=self._quality
        )
        return {**sample, "image": file.getvalue()}

    def fingerprint(self) -> str:
        """Hash of the folder's fingerprint and the quality: 64 hexadecimal characters."""
        text = f"{_RECIPE}\0{self._quality}\0{self._images.fingerprint()}"
        return hashlib.sha256(text.encode()).hexdigest()

    def describe(self, index: int, /) -> str:
        """Path of sample `index` relative to the folder."""
        return self._images.describe(index)


def shrink_to_short_side(image: Image.Image, short_side: int, long_side: int) -> Image.Image:
    """Bring the shorter side of an image to a length, and cut the longer one.

    Parameters
    ----------
    image : PIL.Image.Image
    short_side, long_side : int
        Pixels. The longer side becomes at most `long_side`, cut around the centre.

    Returns
    -------
    PIL.Image.Image
        Equal to torchvision's ``Resize(short_side)`` and ``CenterCrop``.
    """
    width, height = image.size
    if width <= height:
        size = short_side, int(short_side * height / width)
    else:
        size = int(short_side * width / height), short_side
    if size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    wide, high = (min(side, long_side) for side in size)
    left, top = round((size[0] - wide) / 2.0), round((size[1] - high) / 2.0)
    return image.crop((left, top, left + wide, top + high))
