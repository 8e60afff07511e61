"""Masks of patches for joint-embedding prediction: a context block without the target blocks."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_decoders import BatchContext
from slipstream_ssl_pipelines.errors import ImageBatchError
from slipstream_ssl_pipelines.transforms.base import ReplayableStage, as_images
from slipstream_ssl_pipelines.transforms.chunks import Params
from slipstream_ssl_pipelines.transforms.draws import Draws
from slipstream_ssl_pipelines.transforms.ranges import as_range

_logger = logging.getLogger(__name__)

_TRIES = 20  # places of the context block before a target is let overlap it


class BlockMasks(ReplayableStage):
    """Choose which patches of each image are context, and which are to be predicted.

    Images pass unchanged. The loader's batch gets, in a view under its name and an underscore,

    - ``context_masks``: int64 (B, K), numbers of the patches of a large block that no target has
      (where that leaves enough of them: see ``min_keep``);
    - ``target_masks``: int64 (B, ``num_targets``, T), those of small blocks, which may overlap.

    Patches are numbered row by row.

    Parameters
    ----------
    patch_size : int
        Side of a patch, pixels. What is left of an image at the right and below has no patch.
    num_targets : int
    target_scale, context_scale : (float, float)
        Share of the patches.
    aspect_range : (float, float)
        Height / width of target blocks; context blocks are square.
    min_keep : int
        A context block of which the targets leave no more patches than this is placed anew; after
        20 places one target less is cut out of it, and the first time a warning is logged. With
        the other defaults that becomes common (more than one sample of 100) below 7 x 7 patches.
    seed : int, optional
        Replaces the loader's.

    Notes
    -----
    Places belong to the sample. So that masks are one tensor, the sizes of blocks are those of the
    batch's first sample, and contexts are cut to the fewest patches that one of them has.

    Source: Assran et al., "Self-supervised learning from images with a joint-embedding predictive
    architecture", CVPR 2023. In the authors' code area and aspect are one draw and no block
    reaches the last row or column; here they are independent, and all places equally likely.
    """

    def __init__(
        self,
        patch_size: int = 16,
        num_targets: int = 4,
        target_scale: tuple[float, float] = (0.15, 0.2),
        context_scale: tuple[float, float] = (0.85, 1.0),
        aspect_range: tuple[float, float] = (0.75, 1.5),
        min_keep: int = 10,
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if patch_size < 1 or num_targets < 1:
            raise ValueError(
                f"patch_size and num_targets must be positive, got {patch_size}, {num_targets}"
            )
        self.patch_size = patch_size
        self.num_targets = num_targets
        self.target_scale = as_range("target_scale", target_scale, 1e-6)
        self.context_scale = as_range("context_scale", context_scale, 1e-6)
        if max(self.target_scale[1], self.context_scale[1]) > 1:
            raise ValueError("target_scale and context_scale are shares of the patches, at most 1")
        self.aspect_range = as_range("aspect_range", aspect_range, 1e-6)
        self.min_keep = min_keep
        self.seed = seed
        self._has_warned = False

    def apply(self, batch: Any, context: BatchContext) -> Any:
        """Add the masks to ``context.labels``.

        Raises
        ------
        ImageBatchError
            If an image is smaller than a patch.
        """
        images = as_images(batch, type(self).__name__)
        rows, columns = (side // self.patch_size for side in images.shape[-2:])
        if not rows or not columns:
            raise ImageBatchError(
                f"images of {tuple(images.shape[-2:])} pixels have no patch of {self.patch_size}"
            )
        masks = self.draw(context, rows, columns)
        self.remember(masks)
        for name, mask in masks.items():
            key = f"{context.view}_{name}" if context.view else name
            context.labels[key] = mask.to(images.device, non_blocking=True)
        return batch

    def replay(self, batch: Any, params: Params | None = None) -> Any:
        """The batch: masks are not applied to pixels."""
        del params
        return batch

    def draw(self, context: BatchContext, rows: int, columns: int) -> Params:
        """Masks for grids of ``rows`` x ``columns`` patches."""
        if not len(context.sample_ids):
            empty = torch.empty((0, 0), dtype=torch.int64)
            return {"context_masks": empty, "target_masks": empty.view(0, self.num_targets, 0)}
        draws = Draws(context, self.seed)
        area, aspect, context_area = draws.numbers(3)[0]
        grid = rows, columns
        target = _sides(grid, _within(self.target_scale, area), _within(self.aspect_range, aspect))
        large = _sides(grid, _within(self.context_scale, context_area), 1.0)
        places = draws.numbers(2 * self.num_targets).reshape(-1, self.num_targets, 2)
        targets = _blocks(grid, target, places)
        tries = draws.numbers(2 * _TRIES * (self.num_targets + 1))
        kept = self._contexts(grid, large, targets, tries)
        fewest = int(kept.sum(1).min())
        flat = targets.reshape(*targets.shape[:2], -1)
        return {
            "context_masks": _first_true(kept, fewest),
            "target_masks": _first_true(flat, target[0] * target[1]),
        }

    def _contexts(
        self,
        grid: tuple[int, int],
        sides: tuple[int, int],
        targets: NDArray[np.bool_],
        numbers: NDArray[np.float64],
    ) -> NDArray[np.bool_]:
        """Patches of the context blocks outside of the targets, (B, patches)."""
        num = len(targets)
        numbers = numbers.reshape(num, self.num_targets + 1, _TRIES, 2)
        result = np.zeros((num, grid[0] * grid[1]), bool)
        waiting = np.arange(num)
        for cut in range(self.num_targets, -1, -1):
            if cut == self.num_targets - 1:
                self._warn(grid, len(waiting), num)
            free = np.asarray(~targets[:, :cut].any(1))
            for attempt in range(_TRIES):
                place = numbers[waiting, self.num_targets - cut, attempt]
                block = _blocks(grid, sides, place[:, None])[:, 0]
                result[waiting] = np.reshape(block & free[waiting], (len(waiting), -1))
                waiting = waiting[result[waiting].sum(1) <= self.min_keep]
                if not waiting.size:
                    return result
        return result

    def _warn(self, grid: tuple[int, int], num_overlapping: int, num: int) -> None:
        if not self._has_warned:
            self._has_warned = True
            _logger.warning(
                "BlockMasks: targets leave no more than min_keep=%d of %d x %d patches in %d of %d "
                "samples, whose context masks share patches with targets: take smaller patches, "
                "smaller targets or a lower min_keep",
                self.min_keep,
                *grid,
                num_overlapping,
                num,
            )


def _within(bounds: tuple[float, float], number: float) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * number


def _sides(grid: tuple[int, int], share: float, aspect: float) -> tuple[int, int]:
    """Height and width of a block, patches."""
    area = grid[0] * grid[1] * share
    height, width = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
    return min(max(height, 1), grid[0]), min(max(width, 1), grid[1])


def _blocks(
    grid: tuple[int, int], sides: tuple[int, int], places: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Blocks at places (B, n, 2), uniform numbers in [0, 1): bool (B, n, rows, columns)."""
    inside: list[NDArray[np.bool_]] = []
    for axis in range(2):
        first = np.floor(places[..., axis] * (grid[axis] - sides[axis] + 1))[..., None]
        number = np.arange(grid[axis])
        inside.append(np.asarray((number >= first) & (number < first + sides[axis])))
    return np.asarray(inside[0][..., :, None] & inside[1][..., None, :])


def _first_true(masks: NDArray[np.bool_], count: int) -> torch.Tensor:
    """Positions of the first ``count`` that are true along the last axis."""
    order = np.argsort(~masks, axis=-1, kind="stable")[..., :count]
    return torch.from_numpy(np.ascontiguousarray(order))
