"""What all stages that decode and crop to one size share."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_decoders.batch import EncodedBatch
from slipstream_decoders.boxes import Boxes
from slipstream_decoders.boxes.orientation import displayed_sizes
from slipstream_decoders.context import BatchContext
from slipstream_decoders.decode import crop_views
from slipstream_decoders.engines.base import Colors, Quality
from slipstream_decoders.engines.choose import CropEngineName, EngineName
from slipstream_decoders.pixel_form import UINT8, PixelForm
from slipstream_decoders.stages.base import Stage, StageLike
from slipstream_decoders.stages.output import Output, folded
from slipstream_decoders.views import View
from slipstream_decoders.yuv420_encoding import as_yuv420

Exif = Literal["ignore", "apply"]
"""What is done with EXIF orientation; torchvision's ``ImageFolder`` ignores it."""


DEVICE_ENGINES = ("planes", "nvimgcodec")
"""Engines that leave the resize to the stage's device."""

_ENGINES = (*get_args(EngineName), "cpu", *DEVICE_ENGINES)


@dataclass(frozen=True)
class DecodeOptions:
    """How a decoding stage makes its pixels, whatever part of the image it takes."""

    quality: Quality = "fast"
    engine: CropEngineName = "auto"
    exif: Exif = "ignore"
    colors: Colors = "rgb"

    def __post_init__(self) -> None:
        check_choice("quality", self.quality, ("exact", "fast"))
        check_choice("engine", self.engine, _ENGINES)
        check_choice("exif", self.exif, ("ignore", "apply"))
        if self.engine == "planes" and self.quality == "exact":
            raise ValueError("engine='planes' resizes planes: it has quality='fast' only")

    @property
    def uses_seek_points(self) -> bool:
        """Whether the native engine is asked first, which decodes parts of JPEGs."""
        return self.colors == "rgb" and self.engine in ("auto", "cpu", "native", "planes")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ``ValueError`` if an option is none of those that there are."""
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
        return check_size("size", size), int(size)
    if not isinstance(size, (Sequence, np.ndarray)) or len(size) != 2:
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
    is_one_size: bool = True
    """Whether all images of a batch get one size: the result is a tensor."""

    def __init__(self, size: int | Sequence[int], device: Any, options: DecodeOptions) -> None:
        self.size = size
        self.device = None if device is None else torch.device(device)
        self.options = replace(options, colors=self.colors)
        self.uses_seek_points = self.options.uses_seek_points
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

    def placed(self, device: Any, engine: CropEngineName) -> CropStage:
        """The same crop with its result on another device, by another engine."""
        other = copy.copy(self)
        other.device = torch.device(device)
        other.options = replace(self.options, engine=engine)
        other.uses_seek_points = other.options.uses_seek_points
        return other

    def output_size(self, context: BatchContext) -> tuple[int, int] | NDArray[np.int64]:
        """Height and width of the result: for all images, or for each, shape (B, 2)."""
        del context
        return height_and_width(self.size)

    def view(
        self,
        encoded: EncodedBatch,
        context: BatchContext,
        form: PixelForm = UINT8,
        flips: NDArray[np.bool_] | None = None,
    ) -> View:
        """What this stage wants of a decoder.

        Parameters
        ----------
        encoded : EncodedBatch
        context : BatchContext
            Of this stage.
        form : PixelForm
        flips : ndarray of bool, shape (B,), optional
            Which images are mirrored.
        """
        heights, widths = encoded.heights, encoded.widths
        if self.options.exif == "apply":
            heights, widths = displayed_sizes(heights, widths, encoded.orientations)
        boxes = self.boxes(heights, widths, context)
        return View(boxes, self.output_size(context), form, flips)

    def apply(self, batch: Any, context: BatchContext) -> Any:
        """Decode, crop and resize.

        Parameters
        ----------
        batch : EncodedBatch, mapping or sequence of bytes
            See ``as_encoded``.
        context : BatchContext

        Returns
        -------
        Tensor of uint8, shape (B, 3, height, width), channels_last
            In ``colors``, on ``device`` if one was given. If each image has its own size: a list
            of uint8 arrays (height, width, 3), or of tensors (3, height, width) on ``device``.

        Raises
        ------
        CorruptImageError, UnsupportedImageError
            With the ids of all samples that failed.
        """
        return FusedCrop(self, Output(device=self.device)).apply(batch, context)

    def fuse(self, following: StageLike, name: str) -> tuple[Stage, StageLike | None] | None:
        """See ``Stage``: flips, conversions and normalisations are done by the decoder."""
        return FusedCrop(self, Output(device=self.device)).fuse(following, name)


class FusedCrop(Stage):
    """A crop stage that writes an output of its own: what comes of it and the stages after it."""

    def __init__(self, crop: CropStage, output: Output) -> None:
        self.crop = crop
        self.output = output
        self.uses_seek_points = crop.uses_seek_points

    def apply(self, batch: Any, context: BatchContext) -> Any:
        """Decode, crop, resize and whatever else the output says."""
        encoded = as_decodable(batch, self.crop.options, context)
        flips = self.output.drawn_flips(context)
        view = self.crop.view(encoded, context, self.output.form, flips)
        (images,) = decode_views(encoded, [view], [self.crop], context)
        return images

    def fuse(self, following: StageLike, name: str) -> tuple[Stage, StageLike | None] | None:
        """See ``Stage``."""
        if not can_fold(self.crop):
            return None
        output = folded(following, self.output, name)
        return None if output is None else (FusedCrop(self.crop, output), None)


def can_fold(crop: CropStage) -> bool:
    """Whether a crop may take over work of others: its result is a tensor on the CPU or a GPU."""
    is_plain = type(crop).apply is CropStage.apply
    is_known = crop.device is None or crop.device.type in ("cpu", "cuda")
    return is_plain and crop.is_one_size and is_known


def as_decodable(batch: Any, options: DecodeOptions, context: BatchContext) -> EncodedBatch:
    """What a decoding stage accepts, brought to planes where it gives YUV."""
    encoded = as_encoded(batch)
    return as_yuv420(encoded, context) if options.colors == "yuv" else encoded


def decode_views(
    encoded: EncodedBatch, views: Sequence[View], crops: Sequence[CropStage], context: BatchContext
) -> list[Any]:
    """Views of one decode, as their crop stages want them.

    Each is a channels_last tensor on the stage's device, or a list of HWC arrays (of CHW tensors
    on a device).
    """
    options = crops[0].options
    device = _shared_device(crops)
    if device is not None:
        return _views_on_device(encoded, views, options, device, context)
    images = crop_views(
        encoded,
        views,
        context,
        quality=options.quality,
        engine=_cpu_engine(options.engine),
        apply_orientation=options.exif == "apply",
        colors=options.colors,
    )
    return [_sent(image, crop.device) for image, crop in zip(images, crops, strict=True)]


def _shared_device(crops: Sequence[CropStage]) -> torch.device | None:
    """The device that takes part in the crops; None where they are made on the CPU alone."""
    options, devices = crops[0].options, {crop.device for crop in crops}
    device = devices.pop() or torch.device("cpu")
    is_simple = options.colors == "rgb" and all(crop.is_one_size for crop in crops)
    if devices or not is_simple:
        return None
    if device.type == "cuda":
        return device
    return device if device.type == "cpu" and options.engine in DEVICE_ENGINES else None


def _cpu_engine(engine: CropEngineName) -> EngineName:
    return "auto" if engine in ("cpu", *DEVICE_ENGINES) else cast("EngineName", engine)


def _views_on_device(
    encoded: EncodedBatch,
    views: Sequence[View],
    options: DecodeOptions,
    device: torch.device,
    context: BatchContext,
) -> list[torch.Tensor]:
    from slipstream_decoders.stages.device.choose import chosen_engine
    from slipstream_decoders.stages.device.crop import DeviceJob, crop_by

    by_exif = options.exif == "apply"
    job = DeviceJob(encoded, views, device, context, options.quality, by_exif)
    engine = options.engine
    if engine == "auto" and options.quality == "fast" and device.type == "cuda":
        engine = chosen_engine(job)
    return crop_by(engine, job)


def _sent(images: Any, device: torch.device | None) -> Any:
    """A view where its stage wants it."""
    if isinstance(images, list):
        if device is None:
            return images
        return [torch.from_numpy(image).permute(2, 0, 1).to(device) for image in images]
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2)
    return tensor if device is None else tensor.to(device, non_blocking=True)
