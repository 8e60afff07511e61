"""``MaskCrop``: label maps, cropped at the boxes of their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slipstream_decoders import BatchContext, CorruptImageError, Stage
from slipstream_decoders.stages.crop import CropStage, height_and_width
from slipstream_loader.image_files import BAD_IMAGE_ERRORS, StrictPillow, open_image

_MODES = frozenset({"1", "L", "P", "I", "I;16", "I;16B"})


class MaskCrop(Stage):
    """Decode label maps, and crop and resize them as a stage does their images.

    The field holds image files, as ``select(..., as_files=["mask"])`` stores them: PNG or another
    lossless format with one value a pixel (palette indices count, colours do not). The box is that
    of `crop` for the same sample and view; values are taken from the nearest pixel and never mixed.

    Parameters
    ----------
    crop : CropStage
        A stage equal to the image's, such as ``DecodeRandomResizedCrop(224)``: at the same place of
        its pipeline, with the same arguments.
    fill : int
        The value of masks that cannot be decoded, where the loader's ``on_error`` is ``zero``; one
        of int32, such as 255 or -100.

    Notes
    -----
    A mask must have the size of its image. Where the loader decodes the images, too, it may have
    their shape at another scale, such as that before ``max_size`` shrunk them: the box is that of
    the image, scaled. One of another shape counts as a mask that cannot be decoded. With
    ``exif="apply"`` the orientation of images is not
    known to the mask: store upright images.

    Examples
    --------
    >>> crop = DecodeRandomResizedCrop(224)  # doctest: +SKIP
    >>> pipelines = {"image": [crop], "mask": [MaskCrop(crop)]}  # doctest: +SKIP
    """

    def __init__(self, crop: CropStage, *, fill: int = 0) -> None:
        if not isinstance(crop, CropStage):
            raise TypeError(f"MaskCrop takes the crop stage of the images, got {crop!r}")
        if not np.can_cast(np.min_scalar_type(fill), np.int32):
            raise ValueError(f"fill is a value of int32, got {fill!r}")
        self.crop, self.fill = crop, fill
        self.__name__ = type(crop).__name__  # its stream of random numbers is the crop's

    def apply(self, batch: Any, context: BatchContext) -> torch.Tensor:
        """Decode and crop.

        Parameters
        ----------
        batch : sequence of bytes
            Image files.
        context : BatchContext

        Returns
        -------
        Tensor of uint8, or of int32 where values or ``fill`` need it, shape (B, height, width)

        Raises
        ------
        CorruptImageError
            With the ids of all samples that failed, unless the context notes failures.
        """
        maps, failures = self._decoded(batch, context)
        shapes = np.array([one.shape for one in maps], np.int32).reshape(-1, 2)
        sizes, misshapen = _sizes_of_images(shapes, context.image_sizes)
        failures = dict(sorted((misshapen | failures).items()))
        if failures and context.failures is None:
            ids = [int(context.sample_ids[row]) for row in failures]
            reason = next(iter(failures.values()))
            raise CorruptImageError(f"masks of samples {ids} cannot be decoded: {reason}", ids)
        if context.failures is not None:
            context.failures.update(failures)
        windows = self.crop.boxes(sizes[:, 0].copy(), sizes[:, 1].copy(), context).window
        windows = windows * np.tile((shapes / sizes)[:, ::-1], 2)  # x, y, width, height
        size = height_and_width(self.crop.size)
        dtype = np.result_type(np.uint8, np.min_scalar_type(self.fill), *(m.dtype for m in maps))
        out = np.empty((len(maps), *size), np.int32 if dtype != np.uint8 else np.uint8)
        for row, one in enumerate(maps):
            out[row] = self.fill if row in failures else nearest(one, windows[row], size)
        return torch.from_numpy(out)

    def _decoded(
        self, batch: Sequence[bytes], context: BatchContext
    ) -> tuple[list[NDArray[Any]], dict[int, str]]:
        maps: list[NDArray[Any]] = [np.zeros((1, 1), np.uint8)] * len(batch)
        failures: dict[int, str] = {}

        def decode(begin: int, end: int) -> None:
            for row in range(begin, end):
                try:
                    maps[row] = decode_mask(batch[row])
                except BAD_IMAGE_ERRORS as error:
                    failures[row] = f"{type(error).__name__}: {error}"

        context.threads.run(decode, len(batch))
        return maps, dict(sorted(failures.items()))


def _sizes_of_images(
    shapes: NDArray[np.int32], image_sizes: Mapping[str, NDArray[np.int32]]
) -> tuple[NDArray[np.int32], dict[int, str]]:
    """Heights and widths of the images that masks belong to, as they are or turned.

    Of several images it is one of the mask's size, or else of its shape; where no size is known it
    is the mask's own. Masks of another shape are told by row.
    """
    sizes, height_width = shapes.copy(), shapes.astype(np.int64)
    found = np.ones(len(shapes), np.bool_)
    for one in image_sizes.values():
        found &= (one == 0).any(1)
    turns = [turned for one in image_sizes.values() for turned in (one, one[:, ::-1])]
    for is_exact in (True, False):
        for turned in turns:
            if is_exact:
                fits = (turned == shapes).all(1)
            else:  # each side may be a pixel off
                rounding = np.maximum(turned.sum(1), height_width.sum(1))
                cross = height_width[:, 0] * turned[:, 1] - height_width[:, 1] * turned[:, 0]
                fits = (np.abs(cross) <= rounding) & (turned > 0).all(1)
            rows = fits & ~found
            sizes[rows] = turned[rows]
            found |= rows
    misshapen = {}
    for row in np.flatnonzero(~found).tolist():
        of = [f"{name!r} ({one[row, 0]} x {one[row, 1]})" for name, one in image_sizes.items()]
        misshapen[row] = (
            f"it has {shapes[row, 0]} x {shapes[row, 1]} pixels, which is not the shape of "
            + " or ".join(of)
        )
    return sizes, misshapen


def decode_mask(data: bytes) -> NDArray[Any]:
    """Decode the file of a label map.

    Returns
    -------
    ndarray of uint8 or int32, shape (H, W)
        The values as stored.

    Raises
    ------
    ValueError
        The file has several channels.
    OSError, ...
        It is damaged; see ``BAD_IMAGE_ERRORS``.
    """
    with StrictPillow():
        image = open_image(data)
        if image.mode not in _MODES:
            raise ValueError(f"a mask has one value a pixel, this is a {image.mode} image")
        image.load()
        values = np.asarray(image)
    if values.dtype == bool:
        return values.astype(np.uint8)
    return values if values.dtype == np.uint8 else values.astype(np.int32)


def nearest(
    values: NDArray[Any], window: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[Any]:
    """Take a window of an array at another size: each output pixel is the nearest input pixel.

    Parameters
    ----------
    values : ndarray, shape (H, W)
    window : ndarray of float64, shape (4,)
        x, y, width, height in pixels, inside the array.
    size : (int, int)
        Height and width of the result.
    """
    x, y, width, height = window.tolist()
    rows = np.floor(y + (np.arange(size[0]) + 0.5) * height / size[0]).astype(np.int64)
    columns = np.floor(x + (np.arange(size[1]) + 0.5) * width / size[1]).astype(np.int64)
    rows, columns = rows.clip(0, values.shape[0] - 1), columns.clip(0, values.shape[1] - 1)
    taken: NDArray[Any] = values[rows[:, None], columns]
    return taken
