"""Transforms made of transforms: ``Compose``, ``RandomApply``, ``MultiSample``.

The stages inside draw from streams of their own, named after the outer stage and themselves. So
they stay independent of stages outside, of each other, and of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_decoders import BatchContext, StageLike, apply_stage, named_stages
from slipstream_ssl_pipelines.errors import ImageBatchError, ReplayError
from slipstream_ssl_pipelines.transforms.base import ReplayableStage
from slipstream_ssl_pipelines.transforms.chunks import Params
from slipstream_ssl_pipelines.transforms.draws import Draws


def named_transforms(
    transforms: ReplayableStage | Sequence[ReplayableStage],
) -> list[tuple[str, ReplayableStage]]:
    """``named_stages`` of stages that can all be replayed.

    Raises
    ------
    TypeError
        If one cannot.
    """
    named: list[tuple[str, ReplayableStage]] = []
    for name, stage in named_stages(transforms):
        if not isinstance(stage, ReplayableStage):
            raise TypeError(f"{name} is not a transform of this package or a subclass of one")
        named.append((name, stage))
    return named


class Compose(ReplayableStage):
    """Stages one after another, as one stage.

    Parameters
    ----------
    transforms : sequence of stages
        Stages, nn.Modules or functions.

    Notes
    -----
    ``last_params`` holds the parameters of each stage that has some, by name (``#2`` for a second
    one of a class). ``replay`` applies them; stages without parameters simply run.
    """

    def __init__(self, transforms: StageLike | Sequence[StageLike]) -> None:
        super().__init__()
        self.transforms = named_stages(transforms)

    def apply(self, batch: Any, context: BatchContext) -> Any:
        """Run the stages."""
        params = {}
        for name, stage in self.transforms:
            batch = apply_stage(f"{context.stage}/{name}", stage, batch, context)
            if isinstance(stage, ReplayableStage):
                params[name] = stage.last_params
        self.remember(params)
        return batch

    def replay(self, batch: Any, params: Params | None = None) -> Any:
        """See ``ReplayableStage``."""
        params = self.last_params if params is None else params
        for name, stage in self.transforms:
            if isinstance(stage, ReplayableStage):
                batch = stage.replay(batch, params[name])
            else:
                batch = stage(batch)
        return batch


class RandomApply(ReplayableStage):
    """Stages that are applied, all together, to each sample with probability ``p``.

    Parameters
    ----------
    transforms : sequence of stages
        They must keep the shape and type of a batch, and add no labels to it.
    p : float
        In [0, 1].
    seed : int, optional
        Replaces the loader's for the decision.

    Notes
    -----
    ``last_params`` has ``applied``, bool, and under ``transforms`` the parameters of the samples
    that it was applied to.
    """

    def __init__(
        self,
        transforms: StageLike | Sequence[StageLike],
        p: float = 0.5,
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p must be a probability in [0, 1], got {p!r}")
        self.transforms = Compose(transforms)
        self.p = float(p)
        self.seed = seed

    def apply(self, batch: torch.Tensor, context: BatchContext) -> torch.Tensor:
        """Decide, and run the stages on the chosen samples."""
        applied = Draws(context, self.seed).bernoulli(self.p)
        inner: Params = {}
        if applied.any():
            rows: Any = slice(None) if applied.all() else applied.to(batch.device)
            inside = rows_without_labels(context, np.asarray(applied))
            changed = self.transforms.apply(batch[rows], inside)
            check_no_labels(inside, type(self).__name__)
            inner = self.transforms.last_params
            batch = _replaced(batch, rows, changed)
        self.remember({"applied": applied, "transforms": inner})
        return batch

    def replay(self, batch: torch.Tensor, params: Params | None = None) -> torch.Tensor:
        """See ``ReplayableStage``."""
        params = self.last_params if params is None else params
        applied = params["applied"]
        if not applied.any():
            return batch
        rows: Any = slice(None) if applied.all() else applied.to(batch.device)
        changed = self.transforms.replay(batch[rows], params["transforms"])
        return _replaced(batch, rows, changed)


def rows_without_labels(context: BatchContext, chosen: NDArray[np.bool_]) -> BatchContext:
    """The context of some samples, with labels of its own."""
    return replace(context.rows(chosen), labels={})


def check_no_labels(inside: BatchContext, outer: str) -> None:
    """Refuse labels of some samples only: a batch has one row for each.

    Raises
    ------
    ImageBatchError
        If stages on a part of the batch have added labels.
    """
    if inside.labels:
        raise ImageBatchError(
            f"stages in {outer} run on some samples only, so they cannot add labels to the batch: "
            f"{list(inside.labels)}"
        )


def _replaced(batch: torch.Tensor, rows: Any, changed: torch.Tensor) -> torch.Tensor:
    if isinstance(rows, slice):
        return changed
    if changed.shape[1:] != batch.shape[1:] or changed.dtype != batch.dtype:
        raise ReplayError(
            f"RandomApply takes transforms that keep shape and type, got {tuple(changed.shape)} "
            f"{changed.dtype} from {tuple(batch.shape)} {batch.dtype}"
        )
    out = batch.clone()
    out[rows] = changed
    return out


class MultiSample(ReplayableStage):
    """Several independent results of the same transforms on one batch.

    Parameters
    ----------
    transforms : sequence of stages
    num_copies : int
    return_input : bool
        Whether the batch itself comes first.
    clone_input : bool
        Whether each copy gets memory of its own; needed if a transform works in place.

    Notes
    -----
    The result is a list of batches. Copy i draws, and names its labels, as view ``copy_i``, or as
    ``name/copy_i`` within the view of a name.
    """

    def __init__(
        self,
        transforms: StageLike | Sequence[StageLike],
        num_copies: int,
        return_input: bool = False,
        clone_input: bool = True,
    ) -> None:
        super().__init__()
        if num_copies < 1:
            raise ValueError(f"num_copies must be at least 1, got {num_copies}")
        self.transforms = Compose(transforms)
        self.num_copies = num_copies
        self.return_input = return_input
        self.clone_input = clone_input

    def apply(self, batch: torch.Tensor, context: BatchContext) -> list[torch.Tensor]:
        """Make the copies."""
        copies, params = [], {}
        for number in range(self.num_copies):
            name = f"copy_{number}"
            source = batch.clone() if self.clone_input else batch
            view = context.in_view(f"{context.view}/{name}" if context.view else name)
            copies.append(self.transforms.apply(source, view))
            params[name] = self.transforms.last_params
        self.remember(params)
        return [batch, *copies] if self.return_input else copies

    def replay(self, batch: torch.Tensor, params: Params | None = None) -> list[torch.Tensor]:
        """See ``ReplayableStage``."""
        params = self.last_params if params is None else params
        copies = [
            self.transforms.replay(batch.clone() if self.clone_input else batch, of_copy)
            for of_copy in params.values()
        ]
        return [batch, *copies] if self.return_input else copies
