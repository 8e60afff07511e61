"""Many pictures on one sheet."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture: TypeAlias = "NDArray[np.uint8] | torch.Tensor"
_Font: TypeAlias = "ImageFont.FreeTypeFont | ImageFont.ImageFont"

_GAP: Final = 8
_PAPER: Final = (250, 250, 248)
_CELL: Final = (236, 236, 232)
_INK: Final = (40, 40, 44)
_CAPTION_SIZE: Final = 11
_TITLE_SIZE: Final = 16


def contact_sheet(
    images: Sequence[Picture],
    captions: Sequence[str],
    *,
    columns: int = 8,
    thumbnail: int = 160,
    title: str | None = None,
) -> Image.Image:
    """Draw pictures with captions in a grid.

    Parameters
    ----------
    images : sequence of ndarray or Tensor
        Arrays of uint8, shape (H, W, 3), or tensors of uint8, shape (3, H, W); sizes may differ.
    captions : sequence of str
        One for each image; what does not fit in one line is cut off.
    columns : int
        Pictures side by side, at most.
    thumbnail : int
        Side in pixels of the square that each picture is fitted into.
    title : str, optional
        Written above the grid.

    Returns
    -------
    PIL.Image.Image
        Mode RGB.

    Raises
    ------
    ValueError
        When there is no image, or not one caption for each.
    TypeError
        When an image has another dtype or shape: undo a normalisation first.
    """
    if not images or len(images) != len(captions):
        raise ValueError(
            f"expected at least one image and a caption for each, got {len(images)} images and "
            f"{len(captions)} captions"
        )
    pictures = [_to_pillow(image) for image in images]
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    caption_font, title_font = _font(_CAPTION_SIZE), _font(_TITLE_SIZE)
    step_x, step_y = thumbnail + _GAP, thumbnail + _CAPTION_SIZE + 2 * _GAP
    top = _GAP + (_TITLE_SIZE + 2 * _GAP if title else 0)
    sheet = Image.new("RGB", (_GAP + columns * step_x, top + rows * step_y), _PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((_GAP, _GAP), _fitted(title, title_font, sheet.width), _INK, title_font)
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x = _GAP + number % columns * step_x
        y = top + number // columns * step_y
        draw.rectangle((x, y, x + thumbnail - 1, y + thumbnail - 1), _CELL)
        small = _fit(picture, thumbnail)
        sheet.paste(
            small, (x + (thumbnail - small.width) // 2, y + (thumbnail - small.height) // 2)
        )
        text = _fitted(caption, caption_font, thumbnail)
        draw.text((x, y + thumbnail + 2), text, _INK, caption_font)
    return sheet


def _to_pillow(image: Picture) -> Image.Image:
    if isinstance(image, torch.Tensor):
        pixels = image.detach().cpu().numpy()
        pixels = np.moveaxis(pixels, 0, -1) if pixels.ndim == 3 else pixels
    else:
        pixels = image
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise TypeError(
            f"expected a uint8 array (H, W, 3) or tensor (3, H, W), got {image.dtype} of shape "
            f"{tuple(image.shape)}"
        )
    return Image.fromarray(np.ascontiguousarray(pixels))


def _fit(picture: Image.Image, side: int) -> Image.Image:
    """Scale a picture so that its longer side is `side`; small ones keep their square pixels."""
    scale = side / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)


def _font(size: int) -> _Font:
    return ImageFont.load_default(size)


def _fitted(text: str, font: _Font, width: int) -> str:
    """Make a text one line of letters that Pillow's font has, at most `width` pixels wide."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    line = " ".join(plain.encode("ascii", "replace").decode().split())
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "...") > width:
        line = line[:-1]
    return line + "..."
