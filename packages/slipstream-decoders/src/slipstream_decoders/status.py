"""Status of each sample of a batch after decoding."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders.errors import CorruptImageError, UnsupportedImageError

_NAMED_IN_MESSAGE = 10


class DecodeStatus(IntEnum):
    """What became of one sample. Kernels return these numbers."""

    OK = 0
    CORRUPT = 1
    """The decoder met damaged data."""
    UNREADABLE = 2
    """The payload was already found unreadable when the cache was built."""
    SIZE_MISMATCH = 3
    """The payload's header gives another height or width than the cache recorded."""
    UNSUPPORTED = 4
    """A kind of image that the engine does not take."""
    BAD_BOX = 5
    """The box is empty or not inside the image."""
    WORKSPACE = 6
    """Scratch memory was too small: a defect of the engine, not of the image."""


_EXPLANATIONS = {
    DecodeStatus.CORRUPT: "damaged image data",
    DecodeStatus.UNREADABLE: "not a readable image",
    DecodeStatus.SIZE_MISMATCH: "the image's header gives another size than the cache recorded",
    DecodeStatus.UNSUPPORTED: "no engine at hand decodes this kind of image",
    DecodeStatus.BAD_BOX: "the crop is empty or outside the image",
    DecodeStatus.WORKSPACE: "the engine ran out of scratch memory",
}


def raise_for_status(
    statuses: NDArray[np.int32],
    sample_ids: NDArray[np.int64],
    reasons: dict[int, str],
) -> None:
    """Raise if any sample of the batch failed.

    Parameters
    ----------
    statuses : ndarray of int32, shape (B,)
        ``DecodeStatus`` of each sample.
    sample_ids : ndarray of int64, shape (B,)
        The ids that the message names.
    reasons : dict
        Row -> the decoder's own words, where there are any.

    Raises
    ------
    UnsupportedImageError
        All failed samples are of a kind that no engine takes.
    CorruptImageError
        Otherwise.
    """
    failed = np.flatnonzero(statuses)
    if failed.size == 0:
        return
    ids = [int(sample_ids[row]) for row in failed.tolist()]
    lines = []
    for row, sample_id in list(zip(failed.tolist(), ids, strict=True))[:_NAMED_IN_MESSAGE]:
        explanation = reasons.get(row) or _EXPLANATIONS[DecodeStatus(int(statuses[row]))]
        lines.append(f"sample {sample_id}: {explanation}")
    if len(ids) > _NAMED_IN_MESSAGE:
        lines.append(f"... and {len(ids) - _NAMED_IN_MESSAGE} more")
    message = f"cannot decode {len(ids)} of {len(statuses)} samples:\n  " + "\n  ".join(lines)
    unsupported = bool((statuses[failed] == DecodeStatus.UNSUPPORTED).all())
    raise (UnsupportedImageError if unsupported else CorruptImageError)(message, ids)
