"""``BatchContext``: whose samples a stage works on, and what belongs to them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders import rng
from slipstream_decoders.buffers import BufferPool, Buffers
from slipstream_decoders.threads import KernelThreads, kernel_threads


@dataclass(frozen=True)
class BatchContext:
    """Which samples a stage works on, and where its randomness, buffers and threads come from."""

    sample_ids: NDArray[np.int64]
    """Shape (B,)."""
    seed: int
    epoch: int = 0
    occurrences: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Shape (B,): how often the sample came before in this epoch; empty means never."""
    view: str = ""
    """Name of the view that is being made; empty outside of a multi-view pipeline."""
    stage: str = ""
    """Name of the stage within its pipeline."""
    buffers: Buffers = field(default_factory=lambda: BufferPool(0))
    failures: dict[int, str] | None = None
    """Row -> why its image could not be decoded; the image is then zero. None: raise instead."""
    labels: dict[str, Any] = field(default_factory=dict)
    """What stages add to the batch beside their field, such as the parameters they drew."""
    num_threads: int | None = None
    """Threads for kernels; None: as many as the process may use."""
    image_sizes: dict[str, NDArray[np.int32]] = field(default_factory=dict)
    """Image field -> heights and widths as stored, shape (B, 2), for the stages of other fields;
    0 where they are not known."""

    @classmethod
    def standalone(cls, batch_size: int) -> BatchContext:
        """A context for a stage called outside of a loader: fresh randomness each time."""
        return cls(sample_ids=np.arange(batch_size, dtype=np.int64), seed=secrets.randbits(63))

    @property
    def threads(self) -> KernelThreads:
        """The process's shared kernel threads."""
        return kernel_threads(self.num_threads)

    @cached_property
    def sample_occurrences(self) -> NDArray[np.int64]:
        """``occurrences`` with the default filled in, shape (B,)."""
        return self.occurrences if self.occurrences.size else np.zeros_like(self.sample_ids)

    def rows(self, chosen: NDArray[np.bool_]) -> BatchContext:
        """The context of some of the samples."""
        return self.take(np.flatnonzero(chosen))

    def take(self, rows: NDArray[np.int64]) -> BatchContext:
        """The context of the given rows."""
        return replace(
            self,
            sample_ids=self.sample_ids[rows],
            occurrences=self.sample_occurrences[rows],
            image_sizes={name: sizes[rows] for name, sizes in self.image_sizes.items()},
        )

    def in_view(self, view: str) -> BatchContext:
        """The same batch under another view name."""
        return replace(self, view=view)

    def in_stage(self, stage: str) -> BatchContext:
        """The same batch for another stage."""
        return replace(self, stage=stage)

    def key(self, seed: int | None = None) -> int:
        """The key of this stage's random stream; ``seed`` replaces the loader's."""
        return rng.stream_key(
            self.seed if seed is None else seed, self.epoch, self.view, self.stage
        )

    def uniforms(self, count: int, seed: int | None = None) -> NDArray[np.float64]:
        """``count`` uniform numbers in [0, 1) a sample, shape (B, count)."""
        return rng.uniforms(self.key(seed), self.sample_ids, self.sample_occurrences, count)
