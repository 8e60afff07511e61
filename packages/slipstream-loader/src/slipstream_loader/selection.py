"""From a loader's arguments to the samples that it serves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slipstream_cache import SampleReader
from slipstream_loader.mixture import groups_of
from slipstream_loader.order import OrderName, QuasiRandom
from slipstream_loader.plan import Selection
from slipstream_loader.ranks import Ranks


def selection_of(
    cache: SampleReader,
    order: OrderName | QuasiRandom,
    ranks: Ranks,
    arguments: Mapping[str, Any],
) -> Selection:
    """The samples that a loader serves.

    Parameters
    ----------
    cache : SampleReader
    order : order
        As ``checked_order`` gives it.
    ranks : Ranks
    arguments : mapping
        Those of ``SlipstreamLoader`` by name.

    Raises
    ------
    ValueError, TypeError, IndexError
        If one of them is wrong, or they exclude each other.
    """
    names = ("weights", "sampler", "batch_sampler")
    weights, sampler, batch_sampler = (arguments[name] for name in names)
    indices, drop_last = arguments["indices"], arguments["drop_last"]
    chosen = None if indices is None else _id_array(indices, len(cache))
    given = {name: arguments[name] for name in names}
    return Selection(
        num_stored=len(cache),
        batch_size=arguments["batch_size"],
        order=order,
        drop_last=_default_drop_last(order, sampler) if drop_last is None else drop_last,
        ranks=ranks,
        indices=chosen,
        groups=groups_of(cache, arguments["balance"], chosen, order, given),
        weights=None if weights is None else np.asarray(weights, np.float64),
        repeats=arguments["repeats"],
        sampler=sampler,
        batch_sampler=batch_sampler,
    )


def _default_drop_last(order: OrderName | QuasiRandom, sampler: Iterable[int] | None) -> bool:
    return sampler is None and (order == "random" or isinstance(order, QuasiRandom))


def _id_array(indices: ArrayLike, num_stored: int) -> NDArray[np.int64]:
    array = np.asarray(indices)
    if array.dtype == bool:
        if array.shape != (num_stored,):
            raise ValueError(
                f"indices is a mask of shape {array.shape}, and there are {num_stored} samples"
            )
        array = np.flatnonzero(array)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"indices must be integers, got {array.dtype}")
    return array.astype(np.int64)
