"""Contact sheets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from slipstream_loader.contact_sheet import contact_sheet


def plain(colour: tuple[int, int, int], height: int = 40, width: int = 60) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def test_each_picture_is_in_its_cell() -> None:
    """Pictures stand row by row, fitted into their squares, arrays and tensors alike."""
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (90, 90, 0), (0, 90, 90)]
    images: list[Any] = [plain(colour) for colour in colours]
    images[1] = torch.from_numpy(images[1]).permute(2, 0, 1)
    sheet = contact_sheet(images, ["x"] * 5, columns=3, thumbnail=30)
    assert sheet.mode == "RGB"
    pixels = np.asarray(sheet)
    rows, columns = sheet.height // 2, sheet.width // 3
    for i, colour in enumerate(colours):
        row, column = divmod(i, 3)
        cell = pixels[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns]
        assert (cell == colour).all(axis=2).sum() == 30 * 20


def test_tall_and_tiny_pictures_fit() -> None:
    """A tall picture is fitted by its height, and one pixel fills its square."""
    sheet = np.asarray(contact_sheet([plain((9, 9, 9), 90, 30)], ["tall"], thumbnail=30))
    assert (sheet == 9).all(axis=2).sum() == 30 * 10
    sheet = np.asarray(contact_sheet([plain((9, 9, 9), 1, 1)], ["tiny"], thumbnail=30))
    assert (sheet == 9).all(axis=2).sum() == 30 * 30


def test_captions_and_title_are_drawn_and_cut() -> None:
    """Captions and a title leave ink; long ones, also with foreign letters, stay in their width."""
    image = plain((250, 250, 248))
    blank = contact_sheet([image] * 2, ["", ""], thumbnail=60)
    texts = ["a very long caption that does not fit", "\u4e2d\u00e9 \n two lines"]
    written = contact_sheet([image] * 2, texts, thumbnail=60)
    assert blank.size == written.size
    assert np.asarray(blank).min() > 200 > np.asarray(written).min()
    assert np.asarray(written)[:, 68:76].min() > 200
    titled = contact_sheet([image] * 2, texts, thumbnail=60, title="title " * 50)
    assert (titled.width, titled.height > written.height) == (written.width, True)


def test_wrong_input_is_refused() -> None:
    """No images, missing captions, float images and grey images are errors."""
    with pytest.raises(ValueError, match="0 images"):
        contact_sheet([], [])
    with pytest.raises(ValueError, match="1 images and 2 captions"):
        contact_sheet([plain((0, 0, 0))], ["a", "b"])
    for image in (torch.rand(3, 4, 4), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(TypeError, match="expected a uint8 array"):
            contact_sheet([image], ["a"])
