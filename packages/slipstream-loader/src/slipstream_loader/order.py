"""The order of an epoch: which samples, in which batches.

An order is a function of (seed, epoch) only. Random orders sort counter-based random words, so they
do not depend on the version of any library.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders import stream_key, words
from slipstream_loader.errors import EmptyDatasetError

OrderName = Literal["random", "sequential"]

ORDER_VERSION = 1
"""Changes when the same (seed, epoch) gives another order."""


def epoch_order(name: OrderName, num_samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The sample ids of one epoch, in order.

    Parameters
    ----------
    name : {"random", "sequential"}
    num_samples : int
    seed, epoch : int
        Used by random orders.

    Returns
    -------
    ndarray of int64, shape (num_samples,)
        Each id of [0, num_samples) once.
    """
    if name == "sequential":
        return np.arange(num_samples, dtype=np.int64)
    # A stable sort: equal words, however unlikely, stay in the order of their ids.
    return np.argsort(words(stream_key(seed, epoch, "order"), num_samples), kind="stable")


def num_batches(num_samples: int, batch_size: int, drop_last: bool) -> int:
    """Batches in an epoch.

    Raises
    ------
    EmptyDatasetError
        If dropping the last, smaller batch would drop everything.
    """
    if drop_last and 0 < num_samples < batch_size:
        raise EmptyDatasetError(
            f"drop_last would drop all {num_samples} samples: they are fewer than one batch of "
            f"{batch_size}; use a smaller batch_size or drop_last=False"
        )
    return num_samples // batch_size if drop_last else -(-num_samples // batch_size)
