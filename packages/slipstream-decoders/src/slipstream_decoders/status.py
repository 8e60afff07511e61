"""Status of each sample of a batch after decoding."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._kernels import status as kernels
from slipstream_decoders.errors import CorruptImageError, UnsupportedImageError

_NAMED_IN_MESSAGE = 10


class DecodeStatus(IntEnum):
    """What became of one sample. Kernels return these numbers."""

    OK = kernels.OK
    CORRUPT = kernels.CORRUPT
    """The decoder met damaged data."""
    UNREADABLE = kernels.UNREADABLE
    """The payload was already found unreadable when the cache was built."""
    SIZE_MISMATCH = kernels.SIZE_MISMATCH
    """The payload's header gives another height or width than the cache recorded."""
    UNSUPPORTED = kernels.UNSUPPORTED
    """A kind of image that the engine does not take."""
    BAD_BOX = kernels.BAD_BOX
    """The box is empty or not inside the image."""
    WORKSPACE = kernels.WORKSPACE
    """Scratch memory was too small: a defect of the engine, not of the image."""


_EXPLANATIONS = {
    DecodeStatus.CORRUPT: "damaged image data",
    DecodeStatus.UNREADABLE: "not a readable image",
    DecodeStatus.SIZE_MISMATCH: "the image's header gives another size than the cache recorded",
    DecodeStatus.UNSUPPORTED: "no engine at hand decodes this kind of image",
    DecodeStatus.BAD_BOX: "the crop is empty or outside the image",
    DecodeStatus.WORKSPACE: "the engine ran out of scratch memory",
}


def failed_rows(statuses: NDArray[np.int32], reasons: dict[int, str]) -> dict[int, str]:
    """Row -> what is wrong with it, for the rows that failed.

    Parameters
    ----------
    statuses : ndarray of int32, shape (B,)
        ``DecodeStatus`` of each sample.
    reasons : dict
        Row -> the decoder's own words, where there are any.
    """
    return {
        row: reasons.get(row) or _EXPLANATIONS[DecodeStatus(int(statuses[row]))]
        for row in np.flatnonzero(statuses).tolist()
    }


def raise_for_status(
    statuses: NDArray[np.int32], sample_ids: NDArray[np.int64], reasons: dict[int, str]
) -> None:
    """Raise if any sample of the batch failed.

    Parameters
    ----------
    statuses, reasons
        As for ``failed_rows``.
    sample_ids : ndarray of int64, shape (B,)
        The ids that the message names.

    Raises
    ------
    UnsupportedImageError
        All failed samples are of a kind that no engine takes.
    CorruptImageError
        Otherwise.
    """
    failed = failed_rows(statuses, reasons)
    if not failed:
        return
    ids = sample_ids[list(failed)].tolist()
    lines = [
        f"sample {sample_id}: {explanation}"
        for sample_id, explanation in zip(ids, failed.values(), strict=True)
    ][:_NAMED_IN_MESSAGE]
    if len(ids) > _NAMED_IN_MESSAGE:
        lines.append(f"... and {len(ids) - _NAMED_IN_MESSAGE} more")
    message = f"cannot decode {len(ids)} of {len(statuses)} samples:\n  " + "\n  ".join(lines)
    unsupported = bool((statuses[list(failed)] == DecodeStatus.UNSUPPORTED).all())
    raise (UnsupportedImageError if unsupported else CorruptImageError)(message, ids)
