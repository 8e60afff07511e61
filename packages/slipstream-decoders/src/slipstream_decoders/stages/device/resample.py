"""Patches -> images: antialiased resize, colours, flip, scale and type in one step.

On CUDA this is one Triton kernel; elsewhere, and where there is no Triton, torch operations on one
image after another. The filter is the triangle of Pillow's and torchvision's antialiased bilinear
resize, without rounding to bytes in between; planes are resized each in its own resolution, and
colours converted at the output's, as ``quality="fast"`` is on the CPU.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import cast

import numpy as np
import torch

from slipstream_decoders.buffers import Buffers
from slipstream_decoders.pixel_form import PixelForm
from slipstream_decoders.stages.device.patches import Geometry, Patches, geometry_of
from slipstream_decoders.views import View

_DTYPES = {"uint8": torch.uint8, "float32": torch.float32, "float16": torch.float16}


@cache
def has_triton() -> bool:
    """Whether Triton, which torch's CUDA builds for Linux bring, is installed."""
    return find_spec("triton") is not None


def new_images(num: int, view: View, device: torch.device) -> torch.Tensor:
    """Uninitialised images of a view of one size: shape (num, height, width, 3)."""
    height, width = cast("tuple[int, int]", view.size)
    dtype = _DTYPES[view.form.dtype.name]
    return torch.empty((num, height, width, 3), dtype=dtype, device=device)


def resample(patches: Patches, view: View, out: torch.Tensor, buffers: Buffers) -> None:
    """Resize patches to the outputs of their rows.

    Parameters
    ----------
    patches : Patches
    view : View
        Boxes on the images as stored; one size.
    out : Tensor, shape (B, height, width, 3)
        C-contiguous, on the device of the patches, in the view's form.
    buffers : Buffers
        Lend memory for what is copied to the device.
    """
    if not patches.rows.size:
        return
    geometry = geometry_of(patches, view)
    if out.is_cuda and has_triton():
        from slipstream_decoders.stages.device._kernels.resample import launch

        launch(patches, geometry, view.form, out, buffers)
    else:
        resample_by_torch(patches, geometry, view.form, out)


def resample_by_torch(
    patches: Patches, geometry: Geometry, form: PixelForm, out: torch.Tensor
) -> None:
    """``resample`` by matrix products, one image after another, on any device."""
    height, width = out.shape[1], out.shape[2]
    for values, window in zip(geometry.integers.tolist(), geometry.reals.tolist(), strict=True):
        luma, pitch, blue, red, chroma_pitch, ratio_y, ratio_x, row, mirrored, has_chroma = values[
            :10
        ]
        x, y, columns, lines = values[10:14]
        size = (height, width)
        if patches.is_planes:
            place = _Place(pitch, 1, (y, y + lines), (x, x + columns), window, (1, 1))
            rgb = place.resized(patches.data, luma, size).expand(3, height, width)
            if has_chroma:
                ratios = (ratio_y, ratio_x)
                place = _Place(chroma_pitch, 1, (y, y + lines), (x, x + columns), window, ratios)
                cb, cr = (place.resized(patches.data, at, size) - 128 for at in (blue, red))
                green = -0.344136 * cb - 0.714136 * cr
                rgb = rgb + torch.stack([1.402 * cr, green, 1.772 * cb])
        else:
            place = _Place(pitch, 3, (y, y + lines), (x, x + columns), window, (1, 1))
            rgb = torch.stack([place.resized(patches.data, luma + c, size) for c in range(3)])
        pixels = (rgb.flip(-1) if mirrored else rgb).permute(1, 2, 0)
        out[row] = formed(pixels, form)


class _Place:
    """Where the pixels of one channel are, and how they are weighted."""

    def __init__(
        self,
        pitch: int,
        step: int,
        lines: tuple[int, int],
        columns: tuple[int, int],
        window: list[float],
        ratios: tuple[int, int],
    ) -> None:
        self._strides = pitch, step
        x, y, width, height = window
        self._down = lines[0] // ratios[0], -(-lines[1] // ratios[0])
        self._across = columns[0] // ratios[1], -(-columns[1] // ratios[1])
        self._window_down = y / ratios[0], height / ratios[0]
        self._window_across = x / ratios[1], width / ratios[1]

    def resized(self, data: torch.Tensor, start: int, size: tuple[int, int]) -> torch.Tensor:
        """The channel that starts at a byte of ``data``, float32 of the output's size."""
        top, bottom = self._down
        left, right = self._across
        pitch, step = self._strides
        first = start + top * pitch + left * step
        pixels = data.as_strided((bottom - top, right - left), (pitch, step), first)
        down = _weights(self._window_down, self._down, size[0], data.device)
        across = _weights(self._window_across, self._across, size[1], data.device)
        return down @ pixels.float() @ across.T


def _weights(
    window: tuple[float, float], bounds: tuple[int, int], outputs: int, device: torch.device
) -> torch.Tensor:
    """Weight of each source pixel of an axis for each output pixel; rows sum to 1."""
    start, length = window
    scale = length / outputs
    support = max(scale, 1.0)
    centres = start + (torch.arange(outputs, dtype=torch.float64) + 0.5) * scale
    pixels = torch.arange(*bounds, dtype=torch.float64) + 0.5
    weights = (1 - (pixels - centres[:, None]).abs() / support).clamp_min(0)
    return (weights / weights.sum(1, keepdim=True)).float().to(device)


def formed(rgb: torch.Tensor, form: PixelForm) -> torch.Tensor:
    """Pixels (..., 3) of 0 to 255 -> the same in a form."""
    if form.dtype == np.uint8:
        return (rgb + 0.5).clamp(0, 255).to(torch.uint8)
    scale, bias = (
        torch.tensor(values, dtype=torch.float32, device=rgb.device)
        for values in (form.scale, form.bias)
    )
    scaled = torch.addcmul(bias, rgb.float().clamp(0, 255), scale)
    return scaled.to(_DTYPES[form.dtype.name])
