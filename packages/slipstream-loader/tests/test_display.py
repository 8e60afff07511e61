"""show_batch: what a batch looks like, whatever it is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from slipstream_decoders import NamedCopies, Normalize
from slipstream_loader import show_batch

COLOURS = [(200, 10, 30), (20, 190, 40), (10, 60, 210), (120, 130, 140), (90, 80, 20)]


def _batch(num: int = 5, side: int = 20) -> torch.Tensor:
    """uint8 (B, 3, H, W), one colour an image."""
    pixels = torch.tensor(COLOURS[:num], dtype=torch.uint8).view(num, 1, 1, 3)
    return pixels.expand(num, side, side, 3).permute(0, 3, 1, 2).contiguous()


def _colours(sheet: Image.Image) -> set[tuple[int, int, int]]:
    """Those of COLOURS that fill a square of the sheet, to within one level."""
    pixels = np.asarray(sheet).astype(int)
    return {
        colour for colour in COLOURS if (abs(pixels - colour).max(axis=2) <= 1).sum() > 100 * 100
    }


@pytest.mark.parametrize(
    "images",
    [
        _batch(),
        _batch().permute(0, 2, 3, 1).numpy(),
        list(_batch()),
        [image.permute(1, 2, 0).numpy() for image in _batch()],
        _batch() / 255,
        Normalize()(_batch()),
        Normalize(dtype=torch.float16)(_batch()),
        {"image": _batch(), "label": torch.arange(5), "path": list("abcde")},
        {"image": list(_batch()), "_indices": torch.arange(5)},
    ],
    ids=["tensor", "array", "list", "arrays", "unit", "normalised", "half", "batch", "list batch"],
)
def test_pictures_show_their_pixels(images: Any) -> None:
    """Any layout and any range ends as the colours that it stands for."""
    assert _colours(show_batch(images)) == set(COLOURS)


def test_views_are_rows_and_samples_are_columns() -> None:
    """The first n_cols samples of every view, or of those that are named, in their order."""
    views = NamedCopies(["one", "two", "three"])(_batch())
    one = show_batch(views["one"], n_cols=3)
    three = show_batch(views, n_cols=3)
    assert three.width == one.width
    assert three.height > 2.8 * one.height
    assert _colours(three) == set(COLOURS[:3])
    assert show_batch(views, ["three", "one"], n_cols=3).height < 0.75 * three.height
    assert show_batch(list(views.values()), n_cols=3).size == three.size


def test_labels_and_titles_are_written() -> None:
    """Given ones replace names and ids; too few are refused."""
    batch = {"image": _batch(), "_indices": torch.arange(5) + 70}
    sheets = [
        show_batch(batch),
        show_batch({**batch, "_indices": torch.arange(5)}),
        show_batch(batch, row_labels=["mine"]),
        show_batch(batch, col_labels=list("vwxyz")),
    ]
    pictures = [sheet.tobytes() for sheet in sheets]
    assert len(set(pictures)) == len(pictures)
    assert show_batch(batch, suptitle="title").height > sheets[0].height
    for labels in ({"row_labels": []}, {"col_labels": ["a"]}):
        with pytest.raises(ValueError, match="labels"):
            show_batch(batch, **labels)


def test_a_normalisation_is_undone() -> None:
    """One's own where it is given, ImageNet's only where values are out of range."""
    mean, std = (0.2, 0.3, 0.4), (0.5, 0.6, 0.7)
    own = Normalize(mean, std)(_batch())
    assert _colours(show_batch(own, mean=mean, std=std)) == set(COLOURS)
    assert _colours(show_batch(own)) != set(COLOURS)
    grey = torch.full((2, 1, 8, 8), 0.5)
    assert np.asarray(show_batch(grey))[80, 80].tolist() == [128] * 3
    with pytest.raises(ValueError, match="together"):
        show_batch(own, mean=mean)


def test_what_cannot_be_drawn_is_refused() -> None:
    """Unknown views, batches without images, empty ones."""
    with pytest.raises(LookupError, match="other"):
        show_batch({"image": _batch()}, ["other"])
    for nothing in ({"label": torch.arange(3)}, [], torch.zeros(0, 3, 8, 8), torch.arange(4)):
        with pytest.raises(ValueError, match="no images"):
            show_batch(nothing)
    with pytest.raises(ValueError, match="label"):
        show_batch({"image": _batch(), "label": torch.arange(5)}, ["label"])
    with pytest.raises(ValueError, match="n_cols"):
        show_batch(_batch(), n_cols=0)
