"""Mixup and CutMix: a batch is mixed with itself in reverse, labels become soft."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from slipstream_decoders import BatchContext, BufferPool
from slipstream_ssl_pipelines.errors import ImageBatchError
from slipstream_ssl_pipelines.transforms.base import ReplayableStage, check_fits
from slipstream_ssl_pipelines.transforms.chunks import (
    Params,
    chunks_of,
    empty_images,
    narrow,
    take_rows,
    widen,
)
from slipstream_ssl_pipelines.transforms.draws import Draws


def one_hot(labels: torch.Tensor, num_classes: int, label_smoothing: float = 0.0) -> torch.Tensor:
    """Labels -> rows of probabilities, float32, (B, num_classes).

    Parameters
    ----------
    labels : Tensor of int, shape (B,)
    num_classes : int
    label_smoothing : float
        In [0, 1): this part is spread over all classes.

    Raises
    ------
    ImageBatchError
        If a label is not in [0, num_classes).
    """
    if labels.ndim != 1 or labels.is_floating_point():
        raise ImageBatchError(
            f"labels must be whole numbers (B,), got {tuple(labels.shape)} {labels.dtype}"
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ImageBatchError(
            f"labels go from {int(labels.min())} to {int(labels.max())}, but num_classes is "
            f"{num_classes}"
        )
    rest = label_smoothing / num_classes
    rows = torch.full((len(labels), num_classes), rest, device=labels.device)
    return rows.scatter_(1, labels.long().unsqueeze(1), 1 - label_smoothing + rest)


def mixup_target(
    labels: torch.Tensor, num_classes: int, lam: torch.Tensor, label_smoothing: float = 0.0
) -> torch.Tensor:
    """``lam`` of each sample's own label, the rest of its partner's; float32, (B, num_classes).

    Parameters
    ----------
    labels : Tensor of int, shape (B,), or of any type, shape (B, num_classes)
        Rows are mixed as they are.
    num_classes : int
    lam : Tensor, shape (B,)
    label_smoothing : float

    Raises
    ------
    ImageBatchError
        If labels do not fit ``num_classes``.
    """
    if labels.ndim == 2 and labels.shape[1] != num_classes:
        raise ImageBatchError(
            f"rows of labels have {labels.shape[1]} numbers, but num_classes is {num_classes}"
        )
    is_rows = labels.ndim == 2
    rows = labels.float() if is_rows else one_hot(labels, num_classes, label_smoothing)
    lam = lam.to(rows).unsqueeze(1)
    return rows * lam + rows.flip(0) * (1 - lam)


class Mixup(ReplayableStage):
    """Mix each sample with one other: blended (Mixup) or with a rectangle of it (CutMix).

    Sample i of a batch is mixed with sample B - 1 - i; the middle one of an odd batch stays. Goes
    into a loader's ``after_batch_transforms``: it takes and returns a batch.

    Parameters
    ----------
    mixup_alpha, cutmix_alpha : float
        The share of a sample is drawn from Beta(alpha, alpha); 0 switches the kind off.
    cutmix_minmax : (float, float), optional
        Sides of the rectangle as fractions of the image's, instead of ``cutmix_alpha``.
    prob : float
        Probability that a sample is mixed at all.
    switch_prob : float
        Probability of CutMix where both kinds are on.
    correct_lam : bool
        Whether the share counts the pixels that the rectangle really has.
    label_smoothing : float
    num_classes : int
    image_key, label_key : str
        The fields. Labels become float32 (B, num_classes).
    seed : int, optional
        Replaces the loader's.

    Notes
    -----
    ``last_params`` has ``lam``, the share that stays, and ``box`` (top, left, bottom, right; empty
    for Mixup), a row a sample. They depend on the sample, its partner on the batch. The law is
    timm's, for single samples. Sources: Zhang et al., "mixup", 2018; Yun et al., "CutMix", 2019.
    """

    def __init__(
        self,
        mixup_alpha: float = 0.8,
        cutmix_alpha: float = 1.0,
        cutmix_minmax: tuple[float, float] | None = None,
        prob: float = 1.0,
        switch_prob: float = 0.5,
        correct_lam: bool = True,
        label_smoothing: float = 0.0,
        num_classes: int = 1000,
        image_key: str = "image",
        label_key: str = "label",
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if mixup_alpha < 0 or cutmix_alpha < 0:
            raise ValueError(f"alphas must not be negative, got {mixup_alpha}, {cutmix_alpha}")
        if mixup_alpha == 0 and cutmix_alpha == 0 and cutmix_minmax is None:
            raise ValueError("mixup_alpha or cutmix_alpha must be positive")
        if cutmix_minmax is not None and not 0 <= cutmix_minmax[0] <= cutmix_minmax[1] <= 1:
            raise ValueError(f"cutmix_minmax must be fractions in order, got {cutmix_minmax!r}")
        if not 0 <= prob <= 1 or not 0 <= switch_prob <= 1 or not 0 <= label_smoothing < 1:
            raise ValueError("prob and switch_prob lie in [0, 1], label_smoothing in [0, 1)")
        self.mixup_alpha = mixup_alpha
        self.cutmix_alpha = cutmix_alpha
        self.cutmix_minmax = cutmix_minmax
        self.prob = prob
        self.switch_prob = switch_prob
        self.correct_lam = correct_lam
        self.label_smoothing = label_smoothing
        self.num_classes = num_classes
        self.image_key = image_key
        self.label_key = label_key
        self.seed = seed

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Mix a batch outside of a loader."""
        context = BatchContext.standalone(len(batch[self.label_key]))
        return self.apply(batch, self.at_next_call(context))

    def apply(self, batch: dict[str, Any], context: BatchContext) -> dict[str, Any]:
        """Draw shares and boxes, and mix; the batch that comes in is not changed."""
        images = self._images(batch)
        params = self.draw(context, images.shape[-2], images.shape[-1])
        self.remember(params)
        return self.replay(batch, params)

    def replay(self, batch: dict[str, Any], params: Params | None = None) -> dict[str, Any]:
        """See ``ReplayableStage``."""
        params = self.last_params if params is None else params
        images, labels = self._images(batch), batch[self.label_key]
        check_fits(params, len(images))
        return {
            **batch,
            self.image_key: mixed(images, params),
            self.label_key: mixup_target(
                labels, self.num_classes, params["lam"], self.label_smoothing
            ),
        }

    def _images(self, batch: dict[str, Any]) -> torch.Tensor:
        images = batch.get(self.image_key)
        if not isinstance(images, torch.Tensor) or images.ndim != 4:
            raise ImageBatchError(
                f"Mixup: no images (B, C, H, W) under {self.image_key!r}, only {list(batch)}"
            )
        return images

    def draw(self, context: BatchContext, height: int, width: int) -> Params:
        """Draw ``lam`` and ``box`` for the context's samples."""
        draws = Draws(context, self.seed)
        is_mixed, switch = draws.bernoulli(self.prob), draws.bernoulli(self.switch_prob)
        both = self.mixup_alpha > 0 and (self.cutmix_alpha > 0 or self.cutmix_minmax is not None)
        cut = switch if both else torch.full_like(switch, self.mixup_alpha == 0)
        ones = torch.ones(len(cut))
        blend = draws.beta(self.mixup_alpha, self.mixup_alpha) if self.mixup_alpha else ones
        share = draws.beta(self.cutmix_alpha, self.cutmix_alpha) if self.cutmix_alpha else ones
        box = self._boxes(draws, share.double().numpy(), height, width)
        box = torch.where((is_mixed & cut)[:, None], box, 0)
        area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
        if self.correct_lam or self.cutmix_minmax is not None:
            share = 1 - area / (height * width)
        lam = torch.where(cut, share, blend)
        return {"lam": torch.where(is_mixed, lam, 1.0), "box": box}

    def _boxes(
        self, draws: Draws, share: np.ndarray[Any, Any], height: int, width: int
    ) -> torch.Tensor:
        """Top, left, bottom and right of the rectangles, int64, (B, 4)."""
        u = draws.numbers(4)
        if self.cutmix_minmax is not None:
            low, high = self.cutmix_minmax
            h = np.floor(height * (low + (high - low) * u[:, 2]))
            w = np.floor(width * (low + (high - low) * u[:, 3]))
            top, left = np.floor(u[:, 0] * (height - h + 1)), np.floor(u[:, 1] * (width - w + 1))
            box = np.stack([top, left, top + h, left + w], 1)
        else:
            h, w = np.floor(height * np.sqrt(1 - share)), np.floor(width * np.sqrt(1 - share))
            y, x = np.floor(u[:, 0] * height), np.floor(u[:, 1] * width)
            box = np.stack([y - h // 2, x - w // 2, y + h // 2, x + w // 2], 1)
            box = np.clip(box, 0, [height, width, height, width])
        return torch.from_numpy(box.astype(np.int64))


def mixed(images: torch.Tensor, params: Params) -> torch.Tensor:
    """Images mixed with the batch in reverse; a new tensor in the same type and memory order.

    Parameters
    ----------
    images : Tensor, shape (B, C, H, W)
    params : Params
        ``lam`` (B,) and ``box`` (B, 4) of ``Mixup``.
    """
    num, _, height, width = images.shape
    out = empty_images(tuple(images.shape), images, BufferPool(0))
    cut = params["box"][:, 2] > params["box"][:, 0]
    blend = torch.where(cut, 1.0, params["lam"])
    y = torch.arange(height, device=images.device).view(1, 1, -1, 1)
    x = torch.arange(width, device=images.device).view(1, 1, 1, -1)
    for part in chunks_of(num, images):
        some = take_rows({"blend": blend, "box": params["box"]}, part, images.device)
        own, other = images[part], _partners(images, part)
        weight = some["blend"].view(-1, 1, 1, 1)
        top, left, bottom, right = some["box"].view(-1, 4, 1, 1, 1).unbind(1)
        inside = ((y >= top) & (y < bottom)).float() * ((x >= left) & (x < right)).float()
        weight = weight * (1 - inside)
        result = torch.lerp(widen(other, "float"), widen(own, "float"), weight.to(torch.float32))
        out[part] = narrow(result, images.dtype)
    return out


def _partners(images: torch.Tensor, part: slice) -> torch.Tensor:
    num = len(images)
    return images[num - part.stop : num - part.start].flip(0)
