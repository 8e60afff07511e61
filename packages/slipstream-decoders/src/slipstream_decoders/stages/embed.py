"""Crops pasted onto a larger, transparent canvas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_decoders.context import BatchContext
from slipstream_decoders.engines.base import Quality
from slipstream_decoders.engines.choose import EngineName
from slipstream_decoders.stages.base import Stage
from slipstream_decoders.stages.crop import Exif, as_encoded, check_choice, check_size
from slipstream_decoders.stages.multi_crop import view_crops
from slipstream_decoders.stages.short_long import (
    DecodeRandomResizeShortCropLong,
    Range,
    SizeMode,
    check_range,
)
from slipstream_decoders.stages.views import DecodeViews

_PLACEMENT = ("embed_x_range", "embed_y_range", "embed_seed", "coords")


@dataclass(frozen=True)
class _Placement:
    """Where on the canvas a crop is pasted."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    seed: int | None
    coords: NDArray[np.float64] | None
    """Shape (N, 2): centres x, y in canvas pixels, of which one is drawn."""

    def corners(
        self, sides: NDArray[np.int64], canvas: int, context: BatchContext
    ) -> NDArray[np.int64]:
        """x, y of the upper left corner of each crop, shape (B, 2); crops lie in the canvas."""
        draws = context.uniforms(2, self.seed)
        free = (canvas - sides)[:, None]
        if self.coords is None:
            low, high = np.array([self.x_range, self.y_range]).T
            corners = free * (low + (high - low) * draws)
        else:
            chosen = self.coords[np.floor(draws[:, 0] * len(self.coords)).astype(np.int64)]
            corners = chosen - sides[:, None] / 2
        inside: NDArray[np.int64] = np.clip(np.rint(corners), 0, free).astype(np.int64)
        return inside


class DecodeMultiResizeCropEmbed(Stage):
    """Decode once; resize and crop each named view and paste it onto a transparent canvas.

    Gives RGBA: the crop is opaque, the canvas around it 0 in all four channels.

    Parameters
    ----------
    crops : mapping of str to mapping
        View name -> arguments of ``DecodeMultiRandomResizeShortCropLong``'s views, and its own
        ``embed_x_range``, ``embed_y_range``, ``embed_seed``, ``coords``. ``coords`` is one or more
        (x, y) in canvas pixels: the crop's centre is drawn from them, and moved where the crop
        would leave the canvas. The canvases of all views go to one device.
    canvas_size : int
        Side of the canvas, pixels; at least the largest crop's.
    embed_x_range, embed_y_range : float or (float, float)
        Place of the crop on the canvas, drawn uniformly: 0 is left or top, 1 right or bottom.
    embed_seed : int, optional
        Replaces the loader's seed for the places on the canvas.
    size_mode : {"per_image", "per_batch"}
    device : device, optional
        Where the results go; default: the CPU.
    quality : {"fast", "exact"}
    engine : {"auto", "native", "turbojpeg", "pillow"}
    exif : {"ignore", "apply"}
    """

    def __init__(
        self,
        crops: Mapping[str, Mapping[str, Any]],
        canvas_size: int = 224,
        embed_x_range: Range = 0.5,
        embed_y_range: Range = 0.5,
        embed_seed: int | None = None,
        size_mode: SizeMode = "per_image",
        *,
        device: Any = None,
        quality: Quality = "fast",
        engine: EngineName = "auto",
        exif: Exif = "ignore",
    ) -> None:
        check_choice("engine", engine, get_args(EngineName))
        for name, given in crops.items():
            if "device" in given:
                raise TypeError(f"crop {name!r} has a device: give it to the stage, for all crops")
        self.canvas_size = check_size("canvas_size", canvas_size)
        self.device = None if device is None else torch.device(device)
        common = dict(
            zip(_PLACEMENT, (embed_x_range, embed_y_range, embed_seed, None), strict=True)
        )
        self._placements = {
            name: _placement({**common, **{k: v for k, v in given.items() if k in _PLACEMENT}})
            for name, given in crops.items()
        }
        self._crops = view_crops(
            {
                name: {k: v for k, v in given.items() if k not in _PLACEMENT}
                for name, given in crops.items()
            },
            DecodeRandomResizeShortCropLong,
            size_mode=size_mode,
            quality=quality,
            engine=engine,
            exif=exif,
        )
        self._decoder = DecodeViews(self._crops)
        self.crops = self._decoder.crops
        self.uses_seek_points = self._decoder.uses_seek_points
        for name, crop in self.crops.items():
            largest = int(np.max(crop.size))
            if largest > self.canvas_size:
                raise ValueError(
                    f"crop {name!r} is up to {largest} pixels wide, the canvas {self.canvas_size}"
                )

    def apply(self, batch: Any, context: BatchContext) -> dict[str, torch.Tensor]:
        """Decode, crop, resize and paste.

        Returns
        -------
        dict of str to Tensor
            uint8 (B, 4, canvas_size, canvas_size) in channels_last order.
        """
        encoded = as_encoded(batch)
        decoded = self._decoder.apply(encoded, context)
        return {name: self._pasted(name, images, context) for name, images in decoded.items()}

    def _pasted(self, name: str, images: Any, context: BatchContext) -> torch.Tensor:
        crops = images if isinstance(images, list) else images.permute(0, 2, 3, 1).numpy()
        sides = np.array([len(crop) for crop in crops], np.int64)
        place = replace(context.in_view(name), stage=f"{context.stage}/embed")
        corners = self._placements[name].corners(sides, self.canvas_size, place)
        canvas = context.buffers.lend((len(crops), self.canvas_size, self.canvas_size, 4), np.uint8)

        def paste(begin: int, end: int) -> None:
            canvas[begin:end] = 0
            for row in range(begin, end):
                (x, y), side = corners[row].tolist(), int(sides[row])
                canvas[row, y : y + side, x : x + side, :3] = crops[row]
                canvas[row, y : y + side, x : x + side, 3] = 255

        context.threads.run(paste, len(crops))
        pasted = torch.from_numpy(canvas).permute(0, 3, 1, 2)
        if self.device is not None:
            pasted = pasted.to(self.device, non_blocking=True)
        return pasted


def _placement(given: Mapping[str, Any]) -> _Placement:
    x_range, y_range, seed, coords = (given[name] for name in _PLACEMENT)
    centres = None if coords is None else np.asarray(coords, np.float64).reshape(-1, 2)
    if centres is not None and not (len(centres) and np.isfinite(centres).all()):
        raise ValueError(f"coords must be one or more pairs (x, y), got {coords!r}")
    return _Placement(
        check_range("embed_x_range", x_range),
        check_range("embed_y_range", y_range),
        seed,
        centres,
    )
