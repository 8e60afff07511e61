"""What all stages that decode and crop to one size share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_decoders.batch import EncodedBatch
from slipstream_decoders.boxes import Boxes
from slipstream_decoders.boxes.orientation import displayed_sizes
from slipstream_decoders.context import BatchContext
from slipstream_decoders.decode import crop_images
from slipstream_decoders.engines.base import Colors, Quality
from slipstream_decoders.engines.choose import EngineName
from slipstream_decoders.stages.base import Stage
from slipstream_decoders.yuv420_encoding import as_yuv420

Exif = Literal["ignore", "apply"]
"""What is done with EXIF orientation; torchvision's ``ImageFolder`` ignores it."""


@dataclass(frozen=True)
class DecodeOptions:
    """How a decoding stage makes its pixels, whatever part of the image it takes."""

    quality: Quality = "fast"
    engine: EngineName = "auto"
    exif: Exif = "ignore"

    def __post_init__(self) -> None:
        _check_choice("quality", self.quality, ("exact", "fast"))
        _check_choice("engine", self.engine, get_args(EngineName))
        _check_choice("exif", self.exif, ("ignore", "apply"))


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_size(name: str, value: int) -> int:
    """A side length in pixels.

    Raises
    ------
    ValueError
        If it is not a positive integer.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a positive number of pixels, got {value!r}")
    return int(value)


def height_and_width(size: int | Sequence[int]) -> tuple[int, int]:
    """An output size: one side of a square, or (height, width)."""
    if isinstance(size, (int, np.integer)):
        return check_size("size", int(size)), int(size)
    if len(size) != 2:
        raise ValueError(f"size must be one number or (height, width), got {size!r}")
    return check_size("height", size[0]), check_size("width", size[1])


def as_encoded(batch: Any) -> EncodedBatch:
    """What a decoding stage accepts, as an ``EncodedBatch``.

    Parameters
    ----------
    batch : EncodedBatch, mapping or sequence of bytes
        The image field of a loader; of ``SampleCache.load_batch``; JPEG files.

    Raises
    ------
    TypeError
        For anything else.
    """
    if isinstance(batch, EncodedBatch):
        return batch
    if isinstance(batch, Mapping):
        return EncodedBatch.from_mapping(batch)
    if isinstance(batch, Sequence) and all(isinstance(payload, bytes) for payload in batch):
        return EncodedBatch.from_payloads(batch)
    raise TypeError(
        f"a decoding stage takes encoded images, got {type(batch).__name__}: "
        "it must be the first stage of an image field's pipeline"
    )


class CropStage(Stage):
    """Decode and crop to one size. Subclasses say which box.

    The result is a uint8 tensor of shape (B, 3, height, width) in channels_last memory order: the
    decoder's buffer itself, not a copy. It belongs to whoever holds it.
    """

    colors: Colors = "rgb"

    def __init__(self, size: int | Sequence[int], device: Any, options: DecodeOptions) -> None:
        self.size = size
        self.device = None if device is None else torch.device(device)
        self.options = options
        self.uses_seek_points = self.colors == "rgb" and options.engine in ("auto", "native")
        height_and_width(size)

    @abstractmethod
    def boxes(
        self, heights: NDArray[np.int32], widths: NDArray[np.int32], context: BatchContext
    ) -> Boxes:
        """The crop of each image.

        Parameters
        ----------
        heights, widths : ndarray of int32, shape (B,)
            Of the images as displayed.
        context : BatchContext
            Of this stage.
        """

    def apply(self, batch: Any, context: BatchContext) -> torch.Tensor:
        """Decode, crop and resize.

        Parameters
        ----------
        batch : EncodedBatch, mapping or sequence of bytes
            See ``as_encoded``.
        context : BatchContext

        Returns
        -------
        Tensor of uint8, shape (B, 3, height, width), channels_last
            In ``colors``, on ``device`` if one was given.

        Raises
        ------
        CorruptImageError, UnsupportedImageError
            With the ids of all samples that failed.
        """
        encoded = as_encoded(batch)
        if self.colors == "yuv":
            encoded = as_yuv420(encoded, context)
        heights, widths = encoded.heights, encoded.widths
        turn = self.options.exif == "apply"
        if turn:
            heights, widths = displayed_sizes(heights, widths, encoded.orientations)
        pixels = crop_images(
            encoded,
            self.boxes(heights, widths, context),
            height_and_width(self.size),
            context,
            quality=self.options.quality,
            engine=self.options.engine,
            apply_orientation=turn,
            colors=self.colors,
        )
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        return images if self.device is None else images.to(self.device, non_blocking=True)
