"""RandomResizedCrop's law without rejection, and how often rejection gives up."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slipstream_decoders._kernels.boxes import count_fallbacks
from slipstream_decoders._kernels.direct_boxes import fill_direct_random_resized
from slipstream_decoders.boxes.base import Boxes
from slipstream_decoders.rng import stream_key

_WORTH_IT = 0.05


def direct_random_resized_boxes(
    heights: NDArray[np.int32],
    widths: NDArray[np.int32],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    key: int,
    sample_ids: NDArray[np.int64],
    occurrences: NDArray[np.int64],
) -> Boxes:
    """Random crops by torchvision's law given that the crop fits, drawn at the first attempt.

    Area (uniform in ``scale`` x image area) and aspect ratio (log-uniform in ``ratio``) are drawn
    from the pairs whose rounded sides fit the image; the crop is placed uniformly. If no pair
    fits, the size is that of the largest crop with an aspect ratio in ``ratio``, placed uniformly
    too: the limit of the law, to within a pixel. A side that rounds to 0 pixels is 1.

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
    The law, its derivation and its distance to torchvision's are in
    docs/explanation/direct-random-resized-crop.md.
    """
    crops = np.zeros((heights.shape[0], 4), np.int32)
    fill_direct_random_resized(
        np.uint64(key),
        sample_ids,
        occurrences,
        heights,
        widths,
        np.array([*scale, *ratio], np.float64),
        crops,
    )
    return Boxes.of_crops(crops)


def estimate_rejection_fallback_rate(
    widths: ArrayLike,
    heights: ArrayLike,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    n_samples: int = 50000,
    seed: int = 42,
) -> dict[str, Any]:
    """How often none of torchvision's ten tries fits, on the images of a data set.

    Parameters
    ----------
    widths, heights : array-like of int, shape (N,)
        Sizes of the images, pixels.
    scale, ratio : (float, float)
        As for ``DecodeRandomResizedCrop``.
    n_samples : int
        Crops that are drawn, each on an image chosen at random.
    seed : int
        Equal seeds give equal estimates.

    Returns
    -------
    dict
        ``fallback_rate``: float; ``fallback_count``, ``total_samples``: int; ``recommend_direct``:
        bool, whether more than 5 % of the crops are fallbacks, which
        ``DecodeDirectRandomResizedCrop`` avoids.

    Raises
    ------
    ValueError
        If there are no images, their sizes are not positive or of different number, or
        ``n_samples`` is not positive.

    Examples
    --------
    >>> estimate_rejection_fallback_rate([500], [375], (0.08, 1.0), (3 / 4, 4 / 3))["fallback_rate"]
    0.0
    """
    all_widths, all_heights = np.asarray(widths), np.asarray(heights)
    if all_widths.ndim != 1 or all_widths.shape != all_heights.shape or not all_widths.size:
        raise ValueError(
            "expected as many widths as heights and at least one of each, got shapes "
            f"{all_widths.shape} and {all_heights.shape}"
        )
    if min(all_widths.min(), all_heights.min()) < 1:
        raise ValueError("widths and heights must be positive; drop unreadable images first")
    if n_samples < 1:
        raise ValueError(f"n_samples must be positive, got {n_samples}")
    rows = np.random.default_rng(seed).integers(all_widths.size, size=n_samples)
    count = int(
        count_fallbacks(
            np.uint64(stream_key(seed, 0, "rejection fallbacks")),
            all_heights[rows].astype(np.int32),
            all_widths[rows].astype(np.int32),
            np.array([*scale, *ratio], np.float64),
        )
    )
    rate = count / n_samples
    return {
        "fallback_rate": rate,
        "fallback_count": count,
        "total_samples": n_samples,
        "recommend_direct": rate > _WORTH_IT,
    }
