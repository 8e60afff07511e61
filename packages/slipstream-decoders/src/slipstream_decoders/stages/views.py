"""Several views of one batch: named copies, and a pipeline for each view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from slipstream_decoders.context import BatchContext
from slipstream_decoders.stages.base import Stage, StageLike, named_stages, run_stages


class NamedCopies(Stage):
    """One decoded batch -> a dict of equal, independent copies.

    Parameters
    ----------
    names : sequence of str
        Names of the views, at least one, all different.
    """

    def __init__(self, names: Sequence[str]) -> None:
        if isinstance(names, str) or not names or len(set(names)) != len(names):
            raise ValueError(f"names must be at least one name, all different, got {names!r}")
        self.names = list(names)

    def apply(self, batch: Any, context: BatchContext) -> dict[str, Any]:
        """Copy; the first view is the batch itself, which nobody else has."""
        del context
        first, *others = self.names
        return {first: batch, **{name: _copy(batch) for name in others}}


def _copy(batch: Any) -> Any:
    if isinstance(batch, torch.Tensor):
        return batch.clone()
    if isinstance(batch, np.ndarray):
        return batch.copy()
    if isinstance(batch, list):
        return [_copy(item) for item in batch]
    raise TypeError(
        f"cannot copy {type(batch).__name__}: NamedCopies takes the tensor, array or list of a "
        "decoding stage"
    )


class MultiCropPipeline(Stage):
    """A pipeline for each view of a dict of views.

    Views are independent: the view's name is part of the key of every random stream. Views without
    a pipeline pass through.

    Parameters
    ----------
    pipelines : mapping of str to stages
        View name -> list of stages.
    """

    def __init__(self, pipelines: Mapping[str, StageLike | Sequence[StageLike]]) -> None:
        self.pipelines = dict(pipelines)
        for stages in self.pipelines.values():
            named_stages(stages)  # refuses what is not a stage now, not in the first batch

    def apply(self, batch: Any, context: BatchContext) -> dict[str, Any]:
        """Run the pipelines.

        Raises
        ------
        LookupError
            If the batch has no view of a pipeline's name.
        """
        if not isinstance(batch, Mapping):
            raise TypeError(
                f"MultiCropPipeline takes a dict of views, got {type(batch).__name__}: put "
                "NamedCopies or a multi-crop decoder before it"
            )
        missing = [name for name in self.pipelines if name not in batch]
        if missing:
            raise LookupError(f"no view named {missing}; the batch has {list(batch)}")
        views = dict(batch)
        for name, stages in self.pipelines.items():
            views[name] = run_stages(stages, views[name], context.in_view(name))
        return views
