"""Checks the sample ids that callers give."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slipstream_cache.errors import SampleIdError


def check_ids(ids: ArrayLike, num_samples: int, where: object) -> NDArray[np.int64]:
    """Return ids as a contiguous array of int64, shape (B,); ``where`` is for messages.

    Raises
    ------
    TypeError
        They are not integers, or not 1-D.
    SampleIdError
        An id is negative or not below ``num_samples``.
    """
    array = np.asarray(ids)
    if array.ndim != 1:
        raise TypeError(f"sample ids must be 1-D, got shape {array.shape}")
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"sample ids must be integers, got {array.dtype}")
    if array.min() < 0 or array.max() >= num_samples:
        wrong = array[(array < 0) | (array >= num_samples)][0]
        raise SampleIdError(f"sample id {wrong} is not in [0, {num_samples}) of {where}")
    return np.ascontiguousarray(array, np.int64)
