"""``Stage``: what a pipeline is made of.

A stage is a callable that takes and returns one field of a batch. Plain functions and nn.Modules
are stages. A subclass of ``Stage`` also gets the batch context: whose samples these are, and the
randomness that belongs to them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slipstream_decoders.context import BatchContext


class Stage(ABC):
    """A pipeline stage that knows its batch.

    Subclasses implement ``apply``. One instance serves several threads at once: ``apply`` must not
    change it.
    """

    uses_seek_points: bool = False
    """Whether it decodes parts of JPEGs, which seek points beside them make faster."""

    @abstractmethod
    def apply(self, batch: Any, context: BatchContext) -> Any:
        """Transform one field of a batch.

        Parameters
        ----------
        batch : EncodedBatch, tensor, array, list or dict
            What the stage before returned. It may be changed in place.
        context : BatchContext

        Returns
        -------
        object
            What the next stage takes. A dict returned by the last stage is merged into the batch.
        """

    def __call__(self, batch: Any) -> Any:
        """Apply the stage outside of a loader, with fresh randomness."""
        return self.apply(batch, BatchContext.standalone(batch_length(batch)))


StageLike = Callable[[Any], Any]
"""A ``Stage``, an nn.Module, or any other callable of one argument."""


def batch_length(batch: Any) -> int:
    """Samples in one field of a batch: of the first view if it is a dict of views."""
    if isinstance(batch, Mapping):
        if "sizes" in batch:
            return len(batch["sizes"])
        return batch_length(next(iter(batch.values()))) if batch else 0
    return len(batch)


def named_stages(stages: StageLike | Sequence[StageLike]) -> list[tuple[str, StageLike]]:
    """Name the stages of one pipeline: class or function name, with ``#2``, ``#3`` for repeats.

    The names key the stages' random streams, so two equal stages of a pipeline draw independently.

    Raises
    ------
    TypeError
        If something is not callable, or is a class instead of an instance.
    """
    sequence = stages if isinstance(stages, Sequence) else [stages]
    seen: Counter[str] = Counter()
    named = []
    for stage in sequence:
        if isinstance(stage, type):
            raise TypeError(
                f"a pipeline takes stage instances, got the class {stage.__name__}: "
                f"write {stage.__name__}(...)"
            )
        if not callable(stage):
            raise TypeError(f"a pipeline takes callables, got {type(stage).__name__}: {stage!r}")
        name = getattr(stage, "__name__", type(stage).__name__)
        seen[name] += 1
        named.append((name if seen[name] == 1 else f"{name}#{seen[name]}", stage))
    return named


def apply_stage(name: str, stage: StageLike, batch: Any, context: BatchContext) -> Any:
    """Apply one stage under its name."""
    if isinstance(stage, Stage):
        return stage.apply(batch, context.in_stage(name))
    return stage(batch)


def run_stages(stages: StageLike | Sequence[StageLike], batch: Any, context: BatchContext) -> Any:
    """Apply the stages of one pipeline one after another."""
    for name, stage in named_stages(stages):
        batch = apply_stage(name, stage, batch, context)
    return batch
