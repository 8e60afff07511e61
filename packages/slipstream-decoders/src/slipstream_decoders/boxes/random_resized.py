"""torchvision's RandomResizedCrop law."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._kernels.boxes import fill_random_resized
from slipstream_decoders.boxes.base import Boxes


def random_resized_boxes(
    heights: NDArray[np.int32],
    widths: NDArray[np.int32],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    key: int,
    sample_ids: NDArray[np.int64],
    occurrences: NDArray[np.int64],
) -> Boxes:
    """Random crops by torchvision's law.

    Up to ten tries of an area (uniform in ``scale`` x image area) and an aspect ratio (log-uniform
    in ``ratio``), sides rounded half to even; the first that fits is placed uniformly. If none
    fits: the largest centred crop whose aspect ratio is within ``ratio``.

    Parameters
    ----------
    heights, widths : ndarray of int32, shape (B,)
    scale : (float, float)
        Fractions of the image's area.
    ratio : (float, float)
        Width / height.
    key : int
        From ``rng.stream_key``.
    sample_ids, occurrences : ndarray of int64, shape (B,)

    Returns
    -------
    Boxes
        They depend on the key, the sample id, the occurrence and the image's size only.

    Notes
    -----
    Source: torchvision ``RandomResizedCrop.get_params``.
    """
    crops = np.zeros((heights.shape[0], 4), np.int32)
    fill_random_resized(
        np.uint64(key),
        sample_ids,
        occurrences,
        heights,
        widths,
        np.array([*scale, *ratio], np.float64),
        crops,
    )
    return Boxes.of_crops(crops)
