"""Boxes and pixels under EXIF orientation: images are stored as the sensor read them.

Orientation numbers are those of EXIF 2.3, tag 0x0112. Boxes are drawn on the displayed image, taken
from the stored one, and the small output is turned.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders.boxes.base import Boxes

_MIRRORED_X = (2, 3, 7, 8)  # stored x runs against the display's
_MIRRORED_Y = (3, 4, 6, 7)


def is_transposed(orientation: int) -> bool:
    """Whether displayed rows are stored columns."""
    return orientation >= 5


def displayed_sizes(
    heights: NDArray[np.int32], widths: NDArray[np.int32], orientations: NDArray[np.uint8]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Heights and widths as displayed, shape (B,)."""
    turned = orientations >= 5
    return np.where(turned, widths, heights), np.where(turned, heights, widths)


def stored_boxes(
    boxes: Boxes,
    heights: NDArray[np.int32],
    widths: NDArray[np.int32],
    orientations: NDArray[np.uint8],
) -> Boxes:
    """Boxes on the displayed images -> boxes on the stored images of the given sizes."""
    return Boxes(
        window=_stored(boxes.window, heights, widths, orientations),
        bounds=_stored(boxes.bounds.astype(np.float64), heights, widths, orientations).astype(
            np.int32
        ),
    )


def _stored(
    box: NDArray[np.float64],
    heights: NDArray[np.int32],
    widths: NDArray[np.int32],
    orientations: NDArray[np.uint8],
) -> NDArray[np.float64]:
    turned = orientations[:, None] >= 5
    out = np.where(turned, box[:, [1, 0, 3, 2]], box)
    mirrored_x = np.isin(orientations, _MIRRORED_X)
    mirrored_y = np.isin(orientations, _MIRRORED_Y)
    out[:, 0] = np.where(mirrored_x, widths - out[:, 0] - out[:, 2], out[:, 0])
    out[:, 1] = np.where(mirrored_y, heights - out[:, 1] - out[:, 3], out[:, 1])
    return out


def display(stored: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn one stored HWC image upright; a view.

    Parameters
    ----------
    stored : ndarray, shape (H, W, C)
    orientation : int
        0..8; 0 and 1 change nothing.
    """
    if orientation in _MIRRORED_X:
        stored = stored[:, ::-1]
    if orientation in _MIRRORED_Y:
        stored = stored[::-1]
    return stored.transpose(1, 0, 2) if is_transposed(orientation) else stored
