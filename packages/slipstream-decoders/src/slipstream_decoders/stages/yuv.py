"""Whole images in YUV: as pixels, and as the planes themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders.context import BatchContext
from slipstream_decoders.stages.base import Stage
from slipstream_decoders.stages.crop import as_encoded
from slipstream_decoders.yuv420 import yuv420_to_yuv
from slipstream_decoders.yuv420_decoder import convert_yuv420, copied_planes


class DecodeYUVFullRes(Stage):
    """Decode whole images to pixels Y, U, V, each in its own size.

    Each chroma sample serves its 2 x 2 pixels. BT.601 full range, U and V about 128. Images that
    are not stored as planes are brought to them first. EXIF orientation is not applied.
    """

    def apply(self, batch: Any, context: BatchContext) -> list[NDArray[np.uint8]]:
        """Decode.

        Returns
        -------
        list of ndarray of uint8, shape (height, width, 3)
            New memory.

        Raises
        ------
        CorruptImageError, UnsupportedImageError
            With the ids of all samples that failed.
        """
        return convert_yuv420(as_encoded(batch), context, yuv420_to_yuv)


class DecodeYUVPlanes(Stage):
    """Decode whole images to their planes, each in its own size.

    Images that are not stored as planes are brought to them first. EXIF orientation is not applied.
    """

    def apply(
        self, batch: Any, context: BatchContext
    ) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]]:
        """Decode.

        Returns
        -------
        list of (Y, U, V)
            Arrays of uint8, shapes (height, width) and twice (ceil(height / 2), ceil(width / 2)),
            new memory.

        Raises
        ------
        CorruptImageError, UnsupportedImageError
            With the ids of all samples that failed.
        """
        return convert_yuv420(as_encoded(batch), context, copied_planes)
