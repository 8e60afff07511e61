"""``Stage``: what a pipeline is made of.

A stage is a callable that takes and returns one field of a batch. Plain functions and nn.Modules
are stages. A subclass of ``Stage`` also gets the batch context: whose samples these are, and the
randomness that belongs to them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from slipstream_decoders.context import BatchContext

if TYPE_CHECKING:
    from slipstream_decoders.stages.output import Output


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

    def fold(self, output: Output, name: str) -> Output | None:
        """What a decoder has to write so that this stage, coming after it, is done.

        Parameters
        ----------
        output : Output
            What the decoder would write without this stage.
        name : str
            The stage's name in the pipeline, under which it draws.

        Returns
        -------
        Output or None
            None, the default, if a decoder cannot do what this stage does. Shape, dtype, memory
            order and random draws of the result are those of ``apply``; numbers may differ by the
            rounding to bytes that is left out.
        """
        del output, name
        return None

    def fuse(self, following: StageLike, name: str) -> tuple[Stage, StageLike | None] | None:
        """Take over work of the stage after this one.

        Parameters
        ----------
        following : StageLike
        name : str
            Its name in the pipeline.

        Returns
        -------
        (Stage, StageLike or None) or None
            What takes this stage's place and what is left of the following one, None if nothing
            is; or None, the default, if the two are run one after another.
        """
        del following, name
        return None

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
    sequence = [stages] if isinstance(stages, str) or not isinstance(stages, Sequence) else stages
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


def fused_stages(stages: StageLike | Sequence[StageLike]) -> list[tuple[str, StageLike]]:
    """Name the stages of one pipeline, and let each take over what it can of those after it.

    Random draws are those of the stages under their own names.
    """
    fused: list[tuple[str, StageLike]] = []
    for name, stage in named_stages(stages):
        rest: StageLike | None = stage
        first, before = fused[-1] if fused else ("", None)
        if isinstance(before, Stage):
            joined = before.fuse(stage, name)
            if joined is not None:
                fused[-1] = (first, joined[0])
                rest = joined[1]
        if rest is not None:
            fused.append((name, rest))
    return fused


def apply_stage(name: str, stage: StageLike, batch: Any, context: BatchContext) -> Any:
    """Apply one stage under its name."""
    if isinstance(stage, Stage):
        return stage.apply(batch, context.in_stage(name))
    return stage(batch)


def run_stages(stages: StageLike | Sequence[StageLike], batch: Any, context: BatchContext) -> Any:
    """Apply the stages of one pipeline one after another, fused where they can be."""
    for name, stage in fused_stages(stages):
        batch = apply_stage(name, stage, batch, context)
    return batch
