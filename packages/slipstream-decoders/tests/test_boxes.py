"""Crop boxes against torchvision's laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from slipstream_decoders import (
    Boxes,
    center_boxes,
    random_resized_boxes,
    resize_center_boxes,
    stream_key,
    whole_image_boxes,
)
from slipstream_decoders.boxes.orientation import display, displayed_sizes, stored_boxes

SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
SIDES = st.integers(1, 3000)


def _random(height: int, width: int, num: int, scale: tuple[float, float] = SCALE) -> np.ndarray:
    heights = np.full(num, height, np.int32)
    widths = np.full(num, width, np.int32)
    ids = np.arange(num, dtype=np.int64)
    key = stream_key(0, 0, "boxes")
    return random_resized_boxes(
        heights, widths, scale, RATIO, key, ids, np.zeros(num, np.int64)
    ).bounds


def _distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance between two samples."""
    grid = np.union1d(ours, theirs)
    one = np.searchsorted(np.sort(ours), grid, "right") / ours.size
    other = np.searchsorted(np.sort(theirs), grid, "right") / theirs.size
    return float(np.abs(one - other).max())


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 333), (64, 64), (100, 180)])
def test_random_resized_boxes_follow_torchvisions_law(height: int, width: int) -> None:
    """x, y, width, height, area and aspect are distributed as torchvision's (KS, 0.1 %)."""
    torch.manual_seed(0)
    num = 12_000
    image = torch.empty(3, height, width)
    crop = transforms.RandomResizedCrop
    drawn = np.array([crop.get_params(image, list(SCALE), list(RATIO)) for _ in range(num)])
    theirs = drawn[:, [1, 0, 3, 2]].astype(float)
    ours = _random(height, width, num).astype(float)
    threshold = 1.95 * np.sqrt(2 / num)
    for axis in range(4):
        assert _distance(ours[:, axis], theirs[:, axis]) < threshold
    for measure in (lambda b: b[:, 2] * b[:, 3], lambda b: b[:, 2] / b[:, 3]):
        assert _distance(measure(ours), measure(theirs)) < threshold


@pytest.mark.parametrize(("height", "width"), [(10, 1000), (1000, 10), (1, 1), (1, 50)])
def test_the_fallback_is_torchvisions(height: int, width: int) -> None:
    """Where no try fits, the box is the largest centred one of an allowed aspect."""
    tiny = (1.0, 1.0)  # the whole area at an aspect in the ratio: it cannot fit these images
    top, left, h, w = transforms.RandomResizedCrop.get_params(
        torch.empty(3, height, width), [1.0, 1.0], list(RATIO)
    )
    expected = [left, top, max(w, 1), max(h, 1)]
    np.testing.assert_array_equal(_random(height, width, 50, tiny), [expected] * 50)


@given(height=SIDES, width=SIDES)
def test_boxes_lie_inside_the_image(height: int, width: int) -> None:
    """Every law gives non-empty boxes inside the image, whatever its size."""
    heights, widths = np.full(8, height, np.int32), np.full(8, width, np.int32)
    laws = [
        _random(height, width, 8),
        center_boxes(heights, widths, 224).bounds,
        resize_center_boxes(heights, widths, 256, 224).bounds,
        whole_image_boxes(heights, widths).bounds,
    ]
    for x, y, w, h in np.concatenate(laws):
        assert 0 <= x < x + w <= width
        assert 0 <= y < y + h <= height


@given(height=SIDES, width=SIDES, resize=st.integers(1, 600), crop=st.integers(1, 600))
def test_resize_center_boxes_are_torchvisions(
    height: int, width: int, resize: int, crop: int
) -> None:
    """The window is where torchvision's output pixels lie in the source."""
    crop = min(crop, resize)
    window = resize_center_boxes(
        np.array([height], np.int32), np.array([width], np.int32), resize, crop
    ).window[0]
    resized_w, resized_h = transforms.functional._compute_resized_output_size(
        (height, width), [resize]
    )[::-1]
    left, top = round((resized_w - crop) / 2.0), round((resized_h - crop) / 2.0)
    expected = np.array([left, top, crop, crop]) * [
        width / resized_w,
        height / resized_h,
        width / resized_w,
        height / resized_h,
    ]
    np.testing.assert_allclose(window, expected, rtol=1e-12, atol=1e-9)


def test_a_crop_larger_than_the_resize_is_refused() -> None:
    """torchvision would pad with black; we say so instead."""
    one = np.array([10], np.int32)
    with pytest.raises(ValueError, match="crop_size 225"):
        resize_center_boxes(one, one, 224, 225)


@given(
    orientation=st.integers(0, 8),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    data=st.data(),
)
def test_stored_boxes_show_what_the_displayed_box_shows(
    orientation: int, height: int, width: int, data: st.DataObject
) -> None:
    """Cropping the stored image and turning it equals turning it (as Pillow does) and cropping."""
    stored = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    image = Image.fromarray(stored)
    upright = np.asarray(_transposed(image, orientation))
    heights, widths = np.array([height], np.int32), np.array([width], np.int32)
    orientations = np.array([orientation], np.uint8)
    shown_h, shown_w = displayed_sizes(heights, widths, orientations)
    assert upright.shape[:2] == (shown_h[0], shown_w[0])
    x, y = data.draw(st.integers(0, shown_w[0] - 1)), data.draw(st.integers(0, shown_h[0] - 1))
    w = data.draw(st.integers(1, shown_w[0] - x))
    h = data.draw(st.integers(1, shown_h[0] - y))
    box = Boxes.of_crops(np.array([[x, y, w, h]], np.int32))
    sx, sy, sw, sh = stored_boxes(box, heights, widths, orientations).bounds[0]
    crop = display(stored[sy : sy + sh, sx : sx + sw], orientation)
    np.testing.assert_array_equal(crop, upright[y : y + h, x : x + w])


def _transposed(image: Image.Image, orientation: int) -> Image.Image:
    methods = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    return image.transpose(methods[orientation]) if orientation in methods else image
