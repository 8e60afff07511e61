"""``View``: one crop of each image of a batch; a decoder makes several views from one decode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipstream_decoders._kernels.crops import Crops
from slipstream_decoders.boxes import Boxes
from slipstream_decoders.buffers import Buffers
from slipstream_decoders.pixel_form import UINT8, PixelForm

Images = NDArray[Any] | list[NDArray[Any]]
"""The images of a view: one array (B, height, width, 3), or one (height, width, 3) a sample."""


@dataclass(frozen=True)
class View:
    """What to crop of each image, to which size, in which form."""

    boxes: Boxes
    """On the images as displayed."""
    size: tuple[int, int] | NDArray[np.int64]
    """Height and width of the output, pixels: for all images, or for each, shape (B, 2)."""
    form: PixelForm = UINT8
    flips: NDArray[np.bool_] | None = None
    """Shape (B,): whether to mirror the output left to right; None: never."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Height and width for each image, shape (B, 2)."""
        return np.ascontiguousarray(np.broadcast_to(self.size, (len(self.boxes), 2)), np.int64)

    @property
    def mirrored(self) -> NDArray[np.bool_]:
        """``flips`` with the default filled in."""
        return np.zeros(len(self.boxes), np.bool_) if self.flips is None else self.flips

    def take(self, rows: NDArray[np.int64]) -> View:
        """The view of some of the images."""
        return View(
            Boxes(self.boxes.window[rows], self.boxes.bounds[rows]),
            self.size if isinstance(self.size, tuple) else self.size[rows],
            self.form,
            None if self.flips is None else self.flips[rows],
        )

    def lend(self, buffers: Buffers) -> Images:
        """Memory for the view: an array for images of one size, else a list of views of one."""
        if isinstance(self.size, tuple):
            return buffers.lend((len(self.boxes), *self.size, 3), self.form.dtype)
        values = 3 * self.size.prod(axis=1)
        ends = np.cumsum(values).tolist()
        flat = buffers.lend((ends[-1] if ends else 0,), self.form.dtype)
        return [
            flat[end - num : end].reshape(height, width, 3)
            for end, num, (height, width) in zip(
                ends, values.tolist(), self.size.tolist(), strict=True
            )
        ]


def addresses_of(images: Images) -> NDArray[np.int64]:
    """Address of each image of a view, shape (B,)."""
    if isinstance(images, list):
        return np.array([image.ctypes.data for image in images], np.int64)
    return images.ctypes.data + np.arange(len(images), dtype=np.int64) * images.strides[0]


def crops_of(views: Sequence[View], outputs: NDArray[np.int64]) -> Crops:
    """The views as kernels take them.

    Parameters
    ----------
    views : sequence of View
        At least one; boxes on the images as stored. The forms must outlive the result.
    outputs : ndarray of int64, shape (V, B)
        Address of each output: room for its rows without gaps.
    """
    return Crops(
        windows=np.stack([view.boxes.window for view in views]),
        bounds=np.stack([view.boxes.bounds for view in views]),
        flips=np.stack([view.mirrored for view in views]),
        outputs=outputs,
        sizes=np.stack([view.sizes for view in views]),
        kinds=np.array([view.form.kind for view in views], np.int64),
        constants=np.array([view.form.constants.ctypes.data for view in views], np.int64),
    )
