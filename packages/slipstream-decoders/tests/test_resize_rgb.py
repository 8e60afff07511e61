"""resize_rgb against Pillow, bit for bit."""

from __future__ import annotations

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from slipstream_decoders._kernels.resize_rgb import resize_rgb, rgb_workspace_size
from slipstream_decoders._kernels.status import BAD_BOX, OK, UNSUPPORTED, WORKSPACE
from slipstream_decoders.status import DecodeStatus

Pixels = NDArray[np.uint8]
Window = tuple[float, float, float, float]
Bounds = tuple[int, int, int, int]

_VERTICAL_FIRST = int(PIL.__version__.split(".")[0]) >= 13


def _resize(
    image: Pixels, window: Window, bounds: Bounds, size: tuple[int, int], *, flip: bool = False
) -> Pixels:
    """The kernel on arrays; both output and workspace have exactly the size they need."""
    height, width = size
    output = np.full((height, width, 3), 0xA5, np.uint8)
    workspace = np.empty(rgb_workspace_size(bounds[3], bounds[2], height, width), np.uint8)
    status = _call(image, window, bounds, output, workspace, flip=flip)
    assert status == OK
    return output


def _call(
    image: Pixels,
    window: Window,
    bounds: Bounds,
    output: Pixels,
    workspace: Pixels,
    *,
    flip: bool = False,
) -> int:
    x, y, width, height = (float(value) for value in window)
    return resize_rgb(
        image.ctypes.data,
        image.strides[0],
        image.shape[0],
        image.shape[1],
        x,
        y,
        width,
        height,
        *bounds,
        flip,
        output.ctypes.data,
        output.strides[0],
        output.shape[0],
        output.shape[1],
        workspace.ctypes.data,
        workspace.size,
    )


def _pillow(image: Pixels, window: Window, bounds: Bounds, size: tuple[int, int]) -> Pixels:
    x, y, width, height = bounds
    crop = Image.fromarray(np.ascontiguousarray(image[y : y + height, x : x + width]))
    left, top = window[0] - x, window[1] - y
    box = (left, top, left + window[2], top + window[3])
    return np.asarray(crop.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box))


def _assert_equal(image: Pixels, window: Window, bounds: Bounds, size: tuple[int, int]) -> None:
    ours = _resize(image, window, bounds, size)
    pillow = _pillow(image, window, bounds, size)
    shrink = bounds[3] - size[0]
    if _VERTICAL_FIRST or not (shrink > 0 and shrink > 2 * (bounds[2] - size[1])):
        np.testing.assert_array_equal(ours, pillow)
    else:  # Pillow before 13 takes the passes in the other order
        assert np.abs(ours.astype(int) - pillow).max() <= 1
    flipped = _resize(image, window, bounds, size, flip=True)
    np.testing.assert_array_equal(flipped[:, ::-1], ours)


def _noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


_side = st.one_of(st.integers(1, 8), st.integers(1, 80), st.integers(1, 700))
_part = st.floats(0, 1, allow_nan=False)


@settings(max_examples=300, deadline=None)
@given(_side, _side, _side, _side, _part, _part, _part, _part, st.integers(0, 99))
def test_integer_crops_equal_pillow(
    height: int,
    width: int,
    out_height: int,
    out_width: int,
    x: float,
    y: float,
    part_x: float,
    part_y: float,
    seed: int,
) -> None:
    """Any crop of any image to any size equals Pillow's, and the flip is its exact mirror."""
    box_width, box_height = 1 + int(part_x * (width - 1)), 1 + int(part_y * (height - 1))
    left, top = int(x * (width - box_width)), int(y * (height - box_height))
    bounds = (left, top, box_width, box_height)
    size = (min(out_height, 300), min(out_width, 300))
    _assert_equal(_noise(height, width, seed), bounds, bounds, size)


@settings(max_examples=200, deadline=None)
@given(_side, _side, _side, _side, _part, _part, st.floats(0.01, 1), st.floats(0.01, 1))
def test_fractional_windows_equal_pillow(
    height: int,
    width: int,
    out_height: int,
    out_width: int,
    x: float,
    y: float,
    part_x: float,
    part_y: float,
) -> None:
    """A window with fractional ends equals Pillow's box of the same numbers."""
    window = (
        x * (1 - part_x) * width,
        y * (1 - part_y) * height,
        part_x * width,
        part_y * height,
    )
    size = (min(out_height, 300), min(out_width, 300))
    _assert_equal(_noise(height, width), window, (0, 0, width, height), size)


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 333), (256, 256), (1, 9), (90, 7)])
def test_resize_then_centre_crop(height: int, width: int) -> None:
    """Torchvision's Resize(256) and CenterCrop(224) as one window over the whole image."""
    scale = min(height, width) / 256
    side = 224 * scale
    window = ((width - side) / 2, (height - side) / 2, side, side)
    _assert_equal(_noise(height, width), window, (0, 0, width, height), (224, 224))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (16, 16), (17, 5), (224, 224)])
@pytest.mark.parametrize("source", [(1, 1), (1, 6), (6, 1), (16, 16), (33, 47)])
def test_small_sizes(source: tuple[int, int], size: tuple[int, int]) -> None:
    """Sources and outputs smaller than a tile."""
    _assert_equal(_noise(*source), (0, 0, *source[::-1]), (0, 0, *source[::-1]), size)


@pytest.mark.parametrize("source", [(640, 960), (64, 2048), (2048, 64)])
def test_large_downscale(source: tuple[int, int]) -> None:
    """64 source pixels and more for one output pixel."""
    _assert_equal(_noise(*source), (0, 0, *source[::-1]), (0, 0, *source[::-1]), (10, 15))
    _assert_equal(_noise(*source), (0, 0, *source[::-1]), (0, 0, *source[::-1]), (1, 1))


def test_extremes_do_not_overflow() -> None:
    """White stays white and black stays black at every scale."""
    for level in (0, 255):
        image = np.full((90, 120, 3), level, np.uint8)
        for size in ((7, 11), (90, 120), (200, 301)):
            assert (_resize(image, (0, 0, 120, 90), (0, 0, 120, 90), size) == level).all()


def test_rows_with_padding() -> None:
    """Pitches wider than the pixels: the source's padding is not used, the output's not written."""
    source, output = _noise(50, 90), np.full((20, 50, 3), 7, np.uint8)
    workspace = np.empty(rgb_workspace_size(50, 60, 20, 30), np.uint8)
    bounds = (0, 0, 60, 50)
    assert _call(source[:, :60], bounds, bounds, output[:, :30], workspace) == OK
    np.testing.assert_array_equal(output[:, :30], _resize(source, bounds, bounds, (20, 30)))
    assert (output[:, 30:] == 7).all()


@pytest.mark.parametrize(
    ("window", "bounds"),
    [
        ((0, 0, 0, 5), (0, 0, 10, 10)),
        ((0, 0, 5, -1), (0, 0, 10, 10)),
        ((float("nan"), 0, 5, 5), (0, 0, 10, 10)),
        ((0, 0, float("inf"), 5), (0, 0, 10, 10)),
        ((-1, 0, 5, 5), (0, 0, 10, 10)),
        ((6, 0, 5, 5), (0, 0, 10, 10)),
        ((0, 0, 5, 5), (1, 0, 9, 10)),
        ((0, 0, 10, 10), (0, 0, 11, 10)),
        ((0, 0, 10, 10), (0, -1, 10, 11)),
        ((0, 0, 5, 5), (0, 0, 0, 10)),
        ((2.0**63, 0, 5, 5), (2**63 - 1, 0, 5, 5)),
        ((0, 0, 5, 5), (0, 0, 2**63 - 1, 5)),
    ],
)
def test_bad_boxes_are_refused(window: Window, bounds: Bounds) -> None:
    """A box that is empty or outside gives a status, and the output is untouched."""
    output = np.full((4, 4, 3), 7, np.uint8)
    workspace = np.empty(1 << 16, np.uint8)
    assert _call(_noise(10, 10), window, bounds, output, workspace) == BAD_BOX
    assert (output == 7).all()


def test_rounding_over_the_edge_is_forgiven() -> None:
    """A window that sticks out by a rounding error is clipped."""
    image = _noise(10, 10)
    inside = _resize(image, (0, 0, 10, 10), (0, 0, 10, 10), (4, 4))
    outside = _resize(image, (-1e-9, 0, 10, 10 + 1e-9), (0, 0, 10, 10), (4, 4))
    np.testing.assert_array_equal(inside, outside)


def test_small_workspace_is_refused() -> None:
    """One byte too few gives a status, and the output is untouched."""
    output = np.full((4, 4, 3), 7, np.uint8)
    workspace = np.empty(rgb_workspace_size(10, 10, 4, 4) - 1, np.uint8)
    box = (0, 0, 10, 10)
    assert _call(_noise(10, 10), box, box, output, workspace) == WORKSPACE
    assert (output == 7).all()


@given(_side, _side, _side, _side)
def test_workspace_is_monotone(height: int, width: int, smaller: int, size: int) -> None:
    """What is enough for large bounds is enough for smaller ones."""
    large = rgb_workspace_size(height, width, size, size)
    small = rgb_workspace_size(min(height, smaller), min(width, smaller), size, size)
    assert small <= large


def test_statuses_are_decode_statuses() -> None:
    """The kernels' numbers are those of DecodeStatus."""
    names = (
        DecodeStatus.OK,
        DecodeStatus.UNSUPPORTED,
        DecodeStatus.BAD_BOX,
        DecodeStatus.WORKSPACE,
    )
    assert [int(name) for name in names] == [OK, UNSUPPORTED, BAD_BOX, WORKSPACE]
