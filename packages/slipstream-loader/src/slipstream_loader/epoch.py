"""One epoch of a loader: its batches by number, and how far the consumer is in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_decoders import BatchContext
from slipstream_decoders.buffers import Buffers
from slipstream_loader.batches import Batch
from slipstream_loader.failures import FailurePolicy
from slipstream_loader.growing_cache import RequestAhead
from slipstream_loader.plan import EpochPlan
from slipstream_loader.read_ahead import ReadAhead
from slipstream_loader.transfer import CpuTransfer, CudaTransfer, Delivery, on_device

PADDING = "_padding"
"""Name of the mask, bool of shape (B,), of repeats that only make ranks equal; it is there when
there are several ranks and no batch is dropped."""


@dataclass(frozen=True)
class EpochBatches:
    """Makes the batches of one epoch by number. It knows nothing of the loader or its iterators."""

    plan: EpochPlan
    policy: FailurePolicy
    transfer: CpuTransfer | CudaTransfer
    device: torch.device | None
    buffers: Buffers
    seed: int
    epoch: int
    num_threads: int
    has_padding: bool
    read_ahead: ReadAhead | RequestAhead

    def make(self, number: int) -> Delivery | None:
        """Batch ``number`` of the plan, made; None if no sample of it is left."""
        self.read_ahead.before(number, len(self.plan), self._sample_ids)
        rows = self.plan.batch(number)
        context = BatchContext(
            sample_ids=self.plan.sample_ids[rows],
            seed=self.seed,
            epoch=self.epoch,
            occurrences=self.plan.occurrences[rows],
            buffers=self.buffers,
            num_threads=self.num_threads,
        )
        delivery = self.transfer.prepare(lambda: self._batch(context, rows))
        return None if delivery.batch is None else delivery

    def _batch(self, context: BatchContext, rows: slice) -> Batch | None:
        """All of a batch, on its device in the end."""
        batch = self.policy.make(context)
        if batch is None:
            return None
        if self.has_padding:
            batch[PADDING] = torch.from_numpy(self.plan.is_padding[rows].copy())
        moved: Batch = batch if self.device is None else on_device(batch, self.device)
        return moved

    def _sample_ids(self, number: int) -> NDArray[np.int64]:
        return self.plan.sample_ids[self.plan.batch(number)]


@dataclass
class EpochProgress:
    """How far the consumer is in an epoch; it outlives the iterator."""

    plan: EpochPlan
    epoch: int
    num_taken: int = 0
    """Batches of the plan that ``next()`` has returned."""

    def place(self) -> tuple[int, int]:
        """(epoch, samples returned over all ranks); after the last batch: (next epoch, 0)."""
        position = self.plan.position_after(self.num_taken)
        return (self.epoch, position) if position < self.plan.end else (self.epoch + 1, 0)
