"""Parameters of a transform as labels of the batch."""

from __future__ import annotations

from typing import Any

from slipstream_decoders import BatchContext
from slipstream_ssl_pipelines.transforms.base import ReplayableStage
from slipstream_ssl_pipelines.transforms.chunks import Params


class ParamsAsLabels(ReplayableStage):
    """A transform whose parameters go into the batch, to be predicted or looked at.

    Parameters
    ----------
    transform : ReplayableStage
        It draws what it would draw without this.
    name : str
        Where the loader's batch gets the parameters: a dict of tensors with one row a sample. In a
        view of a multi-view pipeline the key is the view's name, an underscore and ``name``.
    """

    def __init__(self, transform: ReplayableStage, name: str) -> None:
        super().__init__()
        if not isinstance(transform, ReplayableStage):
            raise TypeError(f"{type(transform).__name__} draws no parameters that could be labels")
        self.transform = transform
        self.name = name
        self.__name__ = getattr(transform, "__name__", type(transform).__name__)

    def apply(self, batch: Any, context: BatchContext) -> Any:
        """Apply the transform and add its parameters to ``context.labels``."""
        batch = self.transform.apply(batch, context)
        params = self.transform.last_params
        self.remember(params)
        context.labels[f"{context.view}_{self.name}" if context.view else self.name] = params
        return batch

    def replay(self, batch: Any, params: Params | None = None) -> Any:
        """See ``ReplayableStage``."""
        return self.transform.replay(batch, self.last_params if params is None else params)
