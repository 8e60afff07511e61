"""Labels, and changes that single samples get by their id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from slipstream_decoders import BatchContext, Stage
from slipstream_ssl_pipelines.transforms.base import ImageTransform
from slipstream_ssl_pipelines.transforms.chunks import Params
from slipstream_ssl_pipelines.transforms.mixup import one_hot


class ReplaceLabel(Stage):
    """Give some samples another label. In the pipeline of the label field.

    Parameters
    ----------
    indices : sequence of int
        Sample ids.
    new_label : int
    """

    def __init__(self, indices: Sequence[int], new_label: int) -> None:
        self.indices = np.unique(np.asarray(indices, np.int64))
        self.new_label = new_label

    def apply(self, batch: Any, context: BatchContext) -> torch.Tensor:
        """Replace; the input is not changed."""
        chosen = torch.from_numpy(np.isin(context.sample_ids, self.indices))
        labels = torch.as_tensor(batch).clone()
        labels[chosen.to(labels.device)] = self.new_label
        return labels


class ToOneHot(Stage):
    """Labels -> rows of probabilities, float32, (B, num_classes).

    Parameters
    ----------
    num_classes : int
    label_smoothing : float
        In [0, 1): this part is spread over all classes.
    """

    def __init__(self, num_classes: int, label_smoothing: float = 0.0) -> None:
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing

    def apply(self, batch: Any, context: BatchContext) -> torch.Tensor:
        """See ``one_hot``."""
        del context
        return one_hot(torch.as_tensor(batch), self.num_classes, self.label_smoothing)


class Poison(ImageTransform):
    """Blend a pattern into some samples: ``(1 - alpha) * image + alpha * mask``.

    Parameters
    ----------
    mask : Tensor, shape (C, H, W) or (H, W)
        The pattern, in [0, 1].
    alpha : Tensor or float
        Its opacity, in the mask's shape or a number.
    indices : sequence of int
        Sample ids.
    device : device, optional
    inplace : bool
    """

    def __init__(
        self,
        mask: torch.Tensor,
        alpha: torch.Tensor | float,
        indices: Sequence[int],
        *,
        device: Any = None,
        inplace: bool = False,
    ) -> None:
        super().__init__(device=device, inplace=inplace)
        self.mask = torch.as_tensor(mask, dtype=torch.float32)
        self.alpha = torch.as_tensor(alpha, dtype=torch.float32)
        self.indices = np.unique(np.asarray(indices, np.int64))

    def draw(self, context: BatchContext, height: int, width: int) -> Params:
        """``applied``: whose turn it is."""
        del height, width
        return {"applied": torch.from_numpy(np.isin(context.sample_ids, self.indices))}

    def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See ``ImageTransform``."""
        del params
        return torch.lerp(images, self.mask.to(images).expand_as(images), self.alpha.to(images))
