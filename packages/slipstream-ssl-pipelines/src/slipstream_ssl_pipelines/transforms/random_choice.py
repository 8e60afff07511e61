"""One of several transforms for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from slipstream_decoders import BatchContext
from slipstream_ssl_pipelines.errors import ImageBatchError
from slipstream_ssl_pipelines.transforms.base import ReplayableStage
from slipstream_ssl_pipelines.transforms.chunks import Params
from slipstream_ssl_pipelines.transforms.compose import (
    check_no_labels,
    named_transforms,
    rows_without_labels,
)
from slipstream_ssl_pipelines.transforms.draws import Draws
from slipstream_ssl_pipelines.transforms.gaussian_blur import RandomGaussianBlur
from slipstream_ssl_pipelines.transforms.grayscale import RandomGrayscale
from slipstream_ssl_pipelines.transforms.solarize import RandomSolarization


class RandomChoice(ReplayableStage):
    """Apply one of the transforms to each sample, each equally often.

    Parameters
    ----------
    transforms : sequence of ReplayableStage
        At least one. They must keep the shape and type of a batch, and add no labels to it.
    seed : int, optional
        Replaces the loader's for the choice.

    Notes
    -----
    ``last_params`` has ``choice``, int64, and the parameters of each transform that was chosen, for
    its samples, under its name.
    """

    def __init__(self, transforms: Sequence[ReplayableStage], *, seed: int | None = None) -> None:
        super().__init__()
        self.transforms = named_transforms(transforms)
        if not self.transforms:
            raise ValueError("RandomChoice needs at least one transform")
        self.seed = seed

    def apply(self, batch: torch.Tensor, context: BatchContext) -> torch.Tensor:
        """Choose and apply."""
        choice = Draws(context, self.seed).integers(0, len(self.transforms))
        params: Params = {"choice": choice}
        out = batch.clone()
        for number, (name, stage) in enumerate(self.transforms):
            chosen = np.asarray(choice == number)
            if chosen.any():
                inside = rows_without_labels(context, chosen).in_stage(f"{context.stage}/{name}")
                rows = torch.from_numpy(chosen).to(batch.device)
                _put(out, rows, stage.apply(batch[rows], inside), name)
                check_no_labels(inside, type(self).__name__)
                params[name] = stage.last_params
        self.remember(params)
        return out

    def replay(self, batch: torch.Tensor, params: Params | None = None) -> torch.Tensor:
        """See ``ReplayableStage``."""
        params = self.last_params if params is None else params
        out = batch.clone()
        for number, (name, stage) in enumerate(self.transforms):
            rows = (params["choice"] == number).to(batch.device)
            if rows.any():
                _put(out, rows, stage.replay(batch[rows], params[name]), name)
        return out


def _put(out: torch.Tensor, rows: torch.Tensor, changed: Any, name: str) -> None:
    if changed.shape[1:] != out.shape[1:] or changed.dtype != out.dtype:
        raise ImageBatchError(
            f"{name} must keep shape and type, but made {tuple(changed.shape)} {changed.dtype} of "
            f"{tuple(out.shape)} {out.dtype}"
        )
    out[rows] = changed


class ThreeAugment(RandomChoice):
    """Gray, solarise or blur, one of them for each sample.

    Parameters
    ----------
    seed : int, optional
        Replaces the loader's, for the choice and the blur.

    Notes
    -----
    Source: Touvron et al., "DeiT III: Revenge of the ViT", ECCV 2022. Its code blurs with Pillow's
    Gaussian of radius 0.1 to 2 pixels; colour jitter and flip come besides.
    """

    def __init__(self, *, seed: int | None = None) -> None:
        transforms = [
            RandomGrayscale(1.0),
            RandomSolarization(1.0, 0.5),
            RandomGaussianBlur(1.0, kernel_size=13, seed=seed),
        ]
        super().__init__(transforms, seed=seed)
