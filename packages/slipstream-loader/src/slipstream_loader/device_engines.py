"""All ranks decode on their GPUs with the engine that is the fastest on rank 0's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from slipstream_decoders import BatchContext, adopt_engines, engine_choices
from slipstream_loader.ranks import Ranks, agreed
from slipstream_loader.transfer import CpuTransfer, CudaTransfer


def agree_on_engines(
    make: Callable[[BatchContext], Any],
    transfer: CpuTransfer | CudaTransfer,
    context: BatchContext,
    ranks: Ranks,
) -> None:
    """Measure on rank 0 which engine is the fastest, and use it everywhere.

    Engines give the same pixels within a tolerance, not to the bit. A single rank needs no
    agreement: it measures on its first batch.

    Parameters
    ----------
    make : callable
        Makes a batch.
    transfer : CpuTransfer or CudaTransfer
    context : BatchContext
        Of the samples on which rank 0 measures. Damaged ones among them do not matter.
    ranks : Ranks
    """
    if ranks.world_size == 1:
        return
    if ranks.rank == 0:
        lenient = replace(context, failures={})
        transfer.prepare(lambda: make(lenient))
    adopt_engines(agreed(engine_choices(), ranks))
