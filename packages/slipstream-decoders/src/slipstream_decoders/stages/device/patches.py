"""``Patches``: parts of decoded images on a device, and the geometry of their resize."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_decoders.buffers import Buffers
from slipstream_decoders.views import View

INTEGERS: Final = 20
"""Columns of ``Geometry.integers``: those of ``Patches.layout``; then row of the output, whether it
is mirrored, whether there is chroma; first pixel, pixels and taps of luma's x and y, then taps of
chroma's x and y. The rest is unused."""

REALS: Final = 4
"""Columns of ``Geometry.reals``: the window's x, y, width and height in pixels of the patch."""


@dataclass(frozen=True)
class Patches:
    """Parts of the decoded images of some rows of a batch, in one buffer on a device."""

    rows: NDArray[np.int64]
    """Shape (N,): rows of the batch."""
    data: torch.Tensor
    """uint8, one axis."""
    layout: NDArray[np.int64]
    """Shape (N, 7): where plane Y begins in ``data``, bytes from one of its rows to the next; where
    Cb and Cr begin, bytes from one of their rows to the next; luma pixels for one of chroma down
    and across, 0 for a gray image. Of interleaved RGB the first two are used."""
    regions: NDArray[np.int64]
    """Shape (N, 4): x, y, width, height of the patch in its image; x and y are multiples of the
    ratios."""
    is_planes: bool
    """Whether the pixels are planes Y, Cb, Cr, or interleaved RGB."""


@dataclass(frozen=True)
class Geometry:
    """What a resize of patches needs to know, one row a patch."""

    integers: NDArray[np.int64]
    """Shape (N, INTEGERS)."""
    reals: NDArray[np.float32]
    """Shape (N, REALS)."""

    def on(self, device: torch.device, buffers: Buffers) -> tuple[torch.Tensor, torch.Tensor]:
        """Both as tensors of a device, by one copy."""
        integers, reals = self.integers.view(np.uint8), self.reals.view(np.uint8)
        staged = buffers.lend((integers.size + reals.size,), np.uint8)
        staged[: integers.size] = integers.reshape(-1)
        staged[integers.size :] = reals.reshape(-1)
        both = torch.from_numpy(staged).to(device, non_blocking=True)
        return (
            both[: integers.size].view(torch.int64).view(-1, INTEGERS),
            both[integers.size :].view(torch.float32).view(-1, REALS),
        )


def touched_regions(views: list[View], guard: int) -> NDArray[np.int64]:
    """The smallest region of each image that holds all that the resizes of its views may touch.

    Parameters
    ----------
    views : list of View
        Boxes on the images as stored.
    guard : int
        Pixels more on each side, within the bounds.

    Returns
    -------
    ndarray of int64, shape (B, 4)
        x, y, width, height.
    """
    begins, ends = [], []
    for view in views:
        window, bounds = view.boxes.window, view.boxes.bounds.astype(np.int64)
        sizes = view.sizes[:, ::-1]
        margin = np.maximum(window[:, 2:] / sizes, 1.0) + 2.0 + guard
        begins.append(np.maximum(bounds[:, :2], np.floor(window[:, :2] - margin)))
        far = np.ceil(window[:, :2] + window[:, 2:] + margin)
        ends.append(np.minimum(bounds[:, :2] + bounds[:, 2:], far))
    begin, end = np.min(begins, axis=0), np.max(ends, axis=0)
    return np.concatenate([begin, end - begin], axis=1).astype(np.int64)


def geometry_of(patches: Patches, view: View) -> Geometry:
    """Where each output pixel's source pixels are.

    Raises
    ------
    ValueError
        If a patch does not lie in its buffer, or a window not in its patch: a defect of an engine.
    """
    rows, regions = patches.rows, patches.regions
    window = view.boxes.window[rows] - np.pad(regions[:, :2], ((0, 0), (0, 2)))
    bounds = view.boxes.bounds[rows].astype(np.int64)
    first = np.maximum(bounds[:, :2] - regions[:, :2], 0)
    end = np.minimum(bounds[:, :2] + bounds[:, 2:] - regions[:, :2], regions[:, 2:])
    _check_inside(patches, window, first, end)
    ratios = patches.layout[:, [6, 5]]
    has_chroma = ratios[:, 0] > 0
    ratios = np.maximum(ratios, 1)
    support = np.maximum(window[:, 2:] / view.sizes[rows][:, ::-1], 1.0)
    chroma_support = np.maximum(window[:, 2:] / ratios / view.sizes[rows][:, ::-1], 1.0)
    chroma_size = -(-end // ratios) - first // ratios
    integers = np.zeros((len(rows), INTEGERS), np.int64)
    integers[:, :7] = patches.layout
    integers[:, 7], integers[:, 8], integers[:, 9] = rows, view.mirrored[rows], has_chroma
    integers[:, 10:12], integers[:, 12:14] = first, end - first
    integers[:, 14:16] = np.minimum(np.ceil(2.0 * support - 1e-9), end - first)
    integers[:, 16:18] = np.minimum(np.ceil(2.0 * chroma_support - 1e-9), chroma_size)
    return Geometry(integers, window.astype(np.float32))


def _check_inside(
    patches: Patches,
    window: NDArray[np.float64],
    first: NDArray[np.int64],
    end: NDArray[np.int64],
) -> None:
    """Kernels on a device cannot check addresses: nothing outside of the buffer is asked for."""
    rounding = 1e-3
    inside = (window[:, 2:] > 0) & (first < end) & (window[:, :2] >= first - rounding)
    inside &= window[:, :2] + window[:, 2:] <= end + rounding
    luma, pitch, blue, red, chroma_pitch, ratio_y, ratio_x = patches.layout.T
    width, height = patches.regions[:, 2], patches.regions[:, 3]
    step = 1 if patches.is_planes else 3
    ends = [luma + (height - 1) * pitch + step * width]
    if patches.is_planes and (ratio_x > 0).any():
        columns = -(-width // np.maximum(ratio_x, 1))
        last = (-(-height // np.maximum(ratio_y, 1)) - 1) * chroma_pitch + columns
        ends += [np.where(ratio_x > 0, plane + last, 0) for plane in (blue, red)]
    starts = np.minimum(np.minimum(luma, blue), red)
    if not inside.all() or starts.min() < 0 or max(e.max() for e in ends) > patches.data.numel():
        raise ValueError("a crop does not lie in the pixels that were decoded for it")
