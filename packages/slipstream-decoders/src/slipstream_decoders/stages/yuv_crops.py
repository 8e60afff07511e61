"""Crops in YUV instead of RGB.

They equal Pillow's crop and bilinear resize of the pixels of ``DecodeYUVFullRes``. Images that are
not stored as planes are brought to them first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slipstream_decoders.engines.base import Colors
from slipstream_decoders.stages.center_crop import DecodeCenterCrop
from slipstream_decoders.stages.crop import Exif
from slipstream_decoders.stages.random_resized import DecodeRandomResizedCrop
from slipstream_decoders.stages.resize_crop import DecodeResizeCrop


class DecodeYUVCenterCrop(DecodeCenterCrop):
    """``DecodeCenterCrop`` with channels Y, U, V.

    Parameters
    ----------
    size : int
    device : device, optional
    exif : {"ignore", "apply"}
    """

    colors: Colors = "yuv"

    def __init__(self, size: int = 224, *, device: Any = None, exif: Exif = "ignore") -> None:
        super().__init__(size, device=device, quality="exact", exif=exif)


class DecodeYUVResizeCrop(DecodeResizeCrop):
    """``DecodeResizeCrop`` with channels Y, U, V.

    Parameters
    ----------
    resize_size, crop_size : int
    device : device, optional
    exif : {"ignore", "apply"}
    """

    colors: Colors = "yuv"

    def __init__(
        self,
        resize_size: int = 256,
        crop_size: int = 224,
        *,
        device: Any = None,
        exif: Exif = "ignore",
    ) -> None:
        super().__init__(resize_size, crop_size, device=device, quality="exact", exif=exif)


class DecodeYUVRandomResizedCrop(DecodeRandomResizedCrop):
    """``DecodeRandomResizedCrop`` with channels Y, U, V.

    Parameters
    ----------
    size, scale, ratio
        As there.
    seed : int, optional
    device : device, optional
    exif : {"ignore", "apply"}
    """

    colors: Colors = "yuv"

    def __init__(
        self,
        size: int | Sequence[int] = 224,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        *,
        seed: int | None = None,
        device: Any = None,
        exif: Exif = "ignore",
    ) -> None:
        super().__init__(size, scale, ratio, seed=seed, device=device, quality="exact", exif=exif)
