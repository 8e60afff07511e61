"""Parts of images as planes: decoded on the CPU into one buffer, sent to the device by one copy."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_decoders.batch import EncodedBatch
from slipstream_decoders.context import BatchContext
from slipstream_decoders.engines.planes import PlanesEngine
from slipstream_decoders.stages.device.patches import Patches
from slipstream_decoders.views import View, crops_of


@cache
def _engine() -> PlanesEngine:
    return PlanesEngine()


def planes_on_device(
    batch: EncodedBatch,
    views: list[View],
    rows: NDArray[np.int64],
    device: torch.device,
    context: BatchContext,
) -> Patches:
    """The planes that crops touch, on the device.

    The copy is asynchronous if the context lends page-locked memory, which must know of copies
    that are still running, as that of torch's caching host allocator does.

    Returns
    -------
    Patches
        Of the rows that the native engine takes.
    """
    nowhere = np.zeros((len(views), len(batch)), np.int64)
    crops = crops_of(views, nowhere)
    found = _engine().patches(batch, crops, rows, context.threads, context.buffers)
    data = torch.from_numpy(found.data).to(device, non_blocking=True)
    return Patches(found.rows, data, found.layout, found.regions, is_planes=True)
