"""Whole images."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders.context import BatchContext
from slipstream_decoders.decode import decode_images
from slipstream_decoders.engines.choose import EngineName
from slipstream_decoders.stages.base import Stage
from slipstream_decoders.stages.crop import DecodeOptions, Exif, as_encoded, check_choice


class DecodeOnly(Stage):
    """Decode whole images, each in its own size.

    Parameters
    ----------
    engine : {"auto", "native", "turbojpeg", "pillow"}
    exif : {"ignore", "apply"}
        Whether EXIF orientation is applied.
    """

    def __init__(self, *, engine: EngineName = "auto", exif: Exif = "ignore") -> None:
        check_choice("engine", engine, get_args(EngineName))
        self.options = DecodeOptions("exact", engine, exif)
        self._engine: EngineName = engine

    def apply(self, batch: Any, context: BatchContext) -> list[NDArray[np.uint8]]:
        """Decode.

        Returns
        -------
        list of ndarray of uint8, shape (height, width, 3)
            RGB, equal to Pillow's pixels; new memory.

        Raises
        ------
        CorruptImageError, UnsupportedImageError
            With the ids of all samples that failed.
        """
        return decode_images(
            as_encoded(batch),
            context,
            engine=self._engine,
            apply_orientation=self.options.exif == "apply",
        )
