"""resize_planar against a twin in NumPy's float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from slipstream_decoders._kernels.planar_output import FLOAT16_PIXELS, FLOAT32_PIXELS, UINT8_PIXELS
from slipstream_decoders._kernels.resize_planar import planar_workspace_size, resize_planar
from slipstream_decoders._kernels.status import BAD_BOX, OK, UNSUPPORTED, WORKSPACE

Plane = NDArray[np.uint8]
Floats = NDArray[np.float64]
Pixels = NDArray[Any]
Window = tuple[float, float, float, float]
Bounds = tuple[int, int, int, int]

_DTYPES: dict[int, type[np.generic]] = {
    UINT8_PIXELS: np.uint8,
    FLOAT32_PIXELS: np.float32,
    FLOAT16_PIXELS: np.float16,
}
_UNIT = (1.0, 1.0, 1.0, 0.0, 0.0, 0.0)
_RATIOS = [(1, 1), (2, 2), (1, 2), (2, 1), (1, 4), (4, 4), (0, 0)]


@dataclass(frozen=True)
class _Image:
    """Planes; ``ratio`` is (down, across), (0, 0) without chroma."""

    luma: Plane
    blue: Plane
    red: Plane
    ratio: tuple[int, int]


def _noise(height: int, width: int, ratio: tuple[int, int], seed: int = 0) -> _Image:
    generator = np.random.default_rng(seed)
    chroma = (0, 0) if ratio == (0, 0) else (-(-height // ratio[0]), -(-width // ratio[1]))
    luma, blue, red = (
        generator.integers(0, 256, size, dtype=np.uint8)
        for size in ((height, width), chroma, chroma)
    )
    return _Image(luma, blue, red, ratio)


def _call(
    image: _Image,
    window: Window,
    bounds: Bounds,
    output: Pixels,
    workspace: Plane,
    *,
    flip: bool = False,
    kind: int = UINT8_PIXELS,
    normalization: tuple[float, ...] = _UNIT,
) -> int:
    x, y, width, height = (float(value) for value in window)
    numbers = np.array(normalization, np.float32)
    return resize_planar(
        image.luma.ctypes.data,
        image.luma.strides[0],
        image.blue.ctypes.data,
        image.red.ctypes.data,
        image.blue.strides[0],
        *image.ratio,
        image.luma.shape[0],
        image.luma.shape[1],
        x,
        y,
        width,
        height,
        *bounds,
        flip,
        kind,
        output.ctypes.data,
        output.strides[0],
        *output.shape[:2],
        numbers.ctypes.data,
        workspace.ctypes.data,
        workspace.size,
    )


def _resize(
    image: _Image,
    window: Window,
    bounds: Bounds,
    size: tuple[int, int],
    *,
    flip: bool = False,
    kind: int = UINT8_PIXELS,
    normalization: tuple[float, ...] = _UNIT,
) -> Pixels:
    """The kernel on arrays; the workspace starts out as NaN."""
    output = np.full((*size, 3), 0xA5, _DTYPES[kind])
    workspace = np.full(planar_workspace_size(bounds[3], bounds[2], *size), 0xFF, np.uint8)
    status = _call(
        image,
        window,
        bounds,
        output,
        workspace,
        flip=flip,
        kind=kind,
        normalization=normalization,
    )
    assert status == OK
    return output


def _weights(start: float, length: float, low: int, high: int, outputs: int, size: int) -> Floats:
    """Triangle filter as a matrix (outputs, size); taps from ``low`` to ``high``."""
    scale = length / outputs
    support = max(scale, 1.0)
    centres = start + (np.arange(outputs) + 0.5) * scale
    distances = np.abs(np.arange(size) + 0.5 - centres[:, None]) / support
    weights = np.maximum(1 - distances, 0)
    weights[:, :low] = 0
    weights[:, high:] = 0
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _twin(image: _Image, window: Window, bounds: Bounds, size: tuple[int, int]) -> Floats:
    """The same resize in float64, neither rounded nor clipped, (height, width, 3)."""
    channels = []
    for number, plane in enumerate((image.luma, image.blue, image.red)):
        if plane.size == 0:
            channels.append(np.full(size, 128.0))
            continue
        down, across = (1, 1) if number == 0 else image.ratio
        left, right = bounds[0] // across, -(-(bounds[0] + bounds[2]) // across)
        top, bottom = bounds[1] // down, -(-(bounds[1] + bounds[3]) // down)
        rows = _weights(window[1] / down, window[3] / down, top, bottom, size[0], plane.shape[0])
        columns = _weights(
            window[0] / across, window[2] / across, left, right, size[1], plane.shape[1]
        )
        channels.append(rows @ plane.astype(np.float64) @ columns.T)
    y, cb, cr = channels[0], channels[1] - 128, channels[2] - 128
    return np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1)


def _assert_close(image: _Image, window: Window, bounds: Bounds, size: tuple[int, int]) -> None:
    expected = np.clip(_twin(image, window, bounds, size), 0, 255)
    ours = _resize(image, window, bounds, size)
    # Rounding, and weights of 16 bits, of which there are as many as pixels.
    assert np.abs(ours - expected).max() <= 0.6 + max(bounds[2:]) / 2000
    flipped = _resize(image, window, bounds, size, flip=True)
    np.testing.assert_array_equal(flipped[:, ::-1], ours)


_side = st.one_of(st.integers(1, 8), st.integers(1, 80), st.integers(1, 500))
_part = st.floats(0, 1, allow_nan=False)
_ratio = st.sampled_from(_RATIOS)


@settings(max_examples=250, deadline=None)
@given(_side, _side, _side, _side, _ratio, _part, _part, _part, _part)
def test_integer_crops(
    height: int,
    width: int,
    out_height: int,
    out_width: int,
    ratio: tuple[int, int],
    x: float,
    y: float,
    part_x: float,
    part_y: float,
) -> None:
    """Any crop to any size with any sampling is what it should be; the flip is exact."""
    box_width, box_height = 1 + int(part_x * (width - 1)), 1 + int(part_y * (height - 1))
    left, top = int(x * (width - box_width)), int(y * (height - box_height))
    bounds = (left, top, box_width, box_height)
    size = (min(out_height, 250), min(out_width, 250))
    _assert_close(_noise(height, width, ratio), bounds, bounds, size)


@settings(max_examples=150, deadline=None)
@given(_side, _side, _side, _side, _ratio, _part, _part, st.floats(0.01, 1), st.floats(0.01, 1))
@example(409, 4, 1, 5, (1, 4), 0.0, 0.0, 1.0, 1.0)
def test_fractional_windows(
    height: int,
    width: int,
    out_height: int,
    out_width: int,
    ratio: tuple[int, int],
    x: float,
    y: float,
    part_x: float,
    part_y: float,
) -> None:
    """Windows with fractional ends; taps may leave the window, but not the bounds."""
    window = (x * (1 - part_x) * width, y * (1 - part_y) * height, part_x * width, part_y * height)
    left, top = int(window[0]), int(window[1])
    bounds = (left, top, width - left, height - top)
    size = (min(out_height, 250), min(out_width, 250))
    _assert_close(_noise(height, width, ratio), window, bounds, size)


@pytest.mark.parametrize("size", [(1, 1), (17, 5), (16, 16), (98, 98), (224, 224), (15, 33)])
@pytest.mark.parametrize("source", [(1, 1), (3, 70), (70, 3), (64, 64), (333, 500)])
@pytest.mark.parametrize("ratio", _RATIOS)
def test_sizes(source: tuple[int, int], size: tuple[int, int], ratio: tuple[int, int]) -> None:
    """Outputs and sources smaller than a tile, and sizes that are no multiple of one."""
    whole = (0, 0, *source[::-1])
    _assert_close(_noise(*source, ratio), whole, whole, size)


def test_large_downscale() -> None:
    """90 source pixels for one output pixel: about 180 taps."""
    for source, size in (((40, 20_000), (20, 224)), ((20_000, 40), (224, 20))):
        whole = (0, 0, *source[::-1])
        _assert_close(_noise(*source, (2, 2)), whole, whole, size)


@pytest.mark.parametrize("size", [(1, 1), (17, 5), (64, 48), (98, 98)])
@pytest.mark.parametrize("ratio", [(2, 2), (1, 1), (0, 0)])
def test_normalized_floats(ratio: tuple[int, int], size: tuple[int, int]) -> None:
    """Float outputs are rgb * scale + bias within 0.05 levels; halves are those, rounded."""
    image = _noise(90, 130, ratio)
    window, bounds = (3.5, 7.25, 100.0, 60.0), (3, 7, 110, 70)
    numbers = (1 / 58, 1 / 57, 1 / 56, -2.1, -2.0, -1.8)
    rgb = np.clip(_twin(image, window, bounds, size), 0, 255)
    expected = rgb * np.array(numbers[:3]) + np.array(numbers[3:])
    pixels = _resize(image, window, bounds, size, kind=FLOAT32_PIXELS, normalization=numbers)
    np.testing.assert_allclose(pixels, expected, atol=0.05 / 56)
    flipped = _resize(
        image, window, bounds, size, flip=True, kind=FLOAT32_PIXELS, normalization=numbers
    )
    np.testing.assert_array_equal(flipped[:, ::-1], pixels)
    halves = _resize(image, window, bounds, size, kind=FLOAT16_PIXELS, normalization=numbers)
    np.testing.assert_array_equal(halves, pixels.astype(np.float16))


def test_colours_saturate() -> None:
    """Planes whose colours lie outside of RGB are clipped; white and black stay exact."""
    for levels, expected in (
        ((255, 128, 128), (255, 255, 255)),
        ((0, 128, 128), (0, 0, 0)),
        ((255, 255, 255), (255, 121, 255)),
        ((0, 0, 0), (0, 135, 0)),
    ):
        planes = [np.full((40, 40), level, np.uint8) for level in levels]
        image = _Image(planes[0], planes[1], planes[2], (1, 1))
        assert (_resize(image, (0, 0, 40, 40), (0, 0, 40, 40), (20, 33)) == expected).all()


def test_rows_with_padding() -> None:
    """Pitches wider than the pixels: the source's padding is not used, the output's not written."""
    wide = _noise(50, 90, (1, 1))
    image = _Image(wide.luma[:, :70], wide.blue[:, :70], wide.red[:, :70], (1, 1))
    luma, blue, red = (plane[:, :70].copy() for plane in (wide.luma, wide.blue, wide.red))
    tight = _Image(luma, blue, red, (1, 1))
    output = np.full((40, 50, 3), 7, np.uint8)
    whole = (0, 0, 70, 50)
    workspace = np.empty(planar_workspace_size(50, 70, 40, 30), np.uint8)
    assert _call(image, whole, whole, output[:, :30], workspace) == OK
    np.testing.assert_array_equal(output[:, :30], _resize(tight, whole, whole, (40, 30)))
    assert (output[:, 30:] == 7).all()


@pytest.mark.parametrize(
    ("window", "bounds"),
    [
        ((0, 0, 0, 5), (0, 0, 10, 10)),
        ((0, 0, 5, -1), (0, 0, 10, 10)),
        ((float("nan"), 0, 5, 5), (0, 0, 10, 10)),
        ((0, 0, 5, float("inf")), (0, 0, 10, 10)),
        ((-1, 0, 5, 5), (0, 0, 10, 10)),
        ((0, 6, 5, 5), (0, 0, 10, 10)),
        ((0, 0, 10, 10), (0, 0, 10, 11)),
        ((0, 0, 5, 5), (0, 0, 10, 0)),
        ((0, 2.0**63, 5, 5), (0, 2**63 - 1, 5, 5)),
        ((0, 0, 5, 5), (0, 0, 5, 2**63 - 1)),
    ],
)
def test_bad_boxes_are_refused(window: Window, bounds: Bounds) -> None:
    """A box that is empty or outside gives a status, and the output is untouched."""
    output = np.full((4, 4, 3), 7, np.uint8)
    workspace = np.empty(1 << 16, np.uint8)
    assert _call(_noise(10, 10, (2, 2)), window, bounds, output, workspace) == BAD_BOX
    assert (output == 7).all()


@pytest.mark.parametrize("ratio", [(3, 1), (0, 2), (2, 0), (-1, 1), (8, 8)])
def test_unknown_ratios_are_refused(ratio: tuple[int, int]) -> None:
    """Chroma ratios other than 1, 2, 4 or none give a status."""
    planes = _noise(10, 10, (1, 1))
    image = _Image(planes.luma, planes.blue, planes.red, ratio)
    output, workspace = np.empty((4, 4, 3), np.uint8), np.empty(1 << 16, np.uint8)
    assert _call(image, (0, 0, 10, 10), (0, 0, 10, 10), output, workspace) == UNSUPPORTED


def test_unknown_kinds_are_refused() -> None:
    """Output kinds that do not exist give a status."""
    output, workspace = np.empty((4, 4, 3), np.uint8), np.empty(1 << 16, np.uint8)
    whole = (0, 0, 10, 10)
    for kind in (-1, 3):
        status = _call(_noise(10, 10, (1, 1)), whole, whole, output, workspace, kind=kind)
        assert status == UNSUPPORTED


def test_small_workspace_is_refused() -> None:
    """One byte too few gives a status, and the output is untouched."""
    output = np.full((4, 4, 3), 7, np.uint8)
    workspace = np.empty(planar_workspace_size(10, 10, 4, 4) - 1, np.uint8)
    whole = (0, 0, 10, 10)
    assert _call(_noise(10, 10, (2, 2)), whole, whole, output, workspace) == WORKSPACE
    assert (output == 7).all()


@given(_side, _side, _side, _side)
def test_workspace_is_monotone(height: int, width: int, smaller: int, size: int) -> None:
    """What is enough for large bounds is enough for smaller ones."""
    large = planar_workspace_size(height, width, size, size)
    small = planar_workspace_size(min(height, smaller), min(width, smaller), size, size)
    assert small <= large
