"""Random crops without rejection: the exact law, its limits, and how often rejection gives up."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torchvision import transforms

from slipstream_decoders import (
    BatchContext,
    DecodeDirectRandomResizedCrop,
    DecodeRandomResizedCrop,
    direct_random_resized_boxes,
    estimate_rejection_fallback_rate,
    random_resized_boxes,
    stream_key,
)
from slipstream_decoders._kernels.direct_boxes import ramp_mass, ramp_quantile

Pair = tuple[float, float]
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
SIDES = st.integers(1, 3000)
NUM = 40_000
LAWS = [
    (375, 500, SCALE, RATIO),
    (333, 500, SCALE, RATIO),
    (64, 64, SCALE, RATIO),
    (200, 700, SCALE, RATIO),
    (700, 100, SCALE, RATIO),
    (60, 900, SCALE, RATIO),
    (300, 400, (0.9, 1.0), RATIO),
    (375, 500, (0.2, 1.0), (1.0, 1.0)),
    (120, 640, (0.5, 0.5), (0.5, 3.0)),
    (11, 7, (0.3, 0.9), (0.5, 2.0)),
]


def _direct(
    height: int, width: int, num: int, scale: Pair = SCALE, ratio: Pair = RATIO, seed: int = 0
) -> NDArray[np.int32]:
    heights, widths = np.full(num, height, np.int32), np.full(num, width, np.int32)
    ids = np.arange(num, dtype=np.int64)
    return direct_random_resized_boxes(
        heights, widths, scale, ratio, stream_key(seed, 0, "direct"), ids, np.zeros_like(ids)
    ).bounds


def _without_a_limit(
    height: int, width: int, num: int, scale: Pair, ratio: Pair
) -> NDArray[np.int64]:
    """torchvision's law with as many tries as it takes: (w, h), shape (num, 2)."""
    rng = np.random.default_rng(1)
    found: list[NDArray[np.int64]] = []
    while sum(map(len, found)) < num:
        area = height * width * rng.uniform(*scale, size=1_000_000)
        aspect = np.exp(rng.uniform(*np.log(ratio), size=area.size))
        sides = np.rint(np.sqrt([area * aspect, area / aspect])).astype(np.int64).T
        fits = ((sides > 0) & (sides <= [width, height])).all(axis=1)
        found.append(sides[fits])
    return np.concatenate(found)[:num]


def _ks(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Kolmogorov-Smirnov distance between two samples."""
    grid = np.union1d(one, other)
    below = [
        np.searchsorted(np.sort(values), grid, "right") / values.size for values in (one, other)
    ]
    return float(np.abs(below[0] - below[1]).max())


@pytest.mark.parametrize(("height", "width", "scale", "ratio"), LAWS)
def test_the_law_is_rejection_without_a_limit(
    height: int, width: int, scale: Pair, ratio: Pair
) -> None:
    """Sides, area and aspect are distributed as those of a sampler that tries on (KS, 0.1 %)."""
    ours = _direct(height, width, NUM, scale, ratio)[:, 2:].astype(float)
    theirs = _without_a_limit(height, width, NUM, scale, ratio).astype(float)
    for measure in (
        lambda sides: sides[:, 0],
        lambda sides: sides[:, 1],
        lambda sides: sides[:, 0] * sides[:, 1],
        lambda sides: sides[:, 0] / sides[:, 1],
    ):
        assert _ks(measure(ours), measure(theirs)) < 1.95 * math.sqrt(2 / NUM)


@pytest.mark.parametrize(("height", "width", "scale", "ratio"), LAWS)
def test_area_and_aspect_are_jointly_right(
    height: int, width: int, scale: Pair, ratio: Pair
) -> None:
    """Chi-square over a grid of both sides: no dependence is lost (0.1 %)."""
    ours = _direct(height, width, NUM, scale, ratio, seed=1)[:, 2:]
    theirs = _without_a_limit(height, width, NUM, scale, ratio)
    edges = [np.unique(np.quantile(theirs[:, axis], np.linspace(0, 1, 9)[1:-1])) for axis in (0, 1)]
    counts = []
    for sides in (ours, theirs):
        cells = [np.digitize(sides[:, axis], edges[axis]) for axis in (0, 1)]
        counts.append(np.bincount(8 * cells[0] + cells[1], minlength=64).astype(float))
    ours_in, theirs_in = counts
    kept = ours_in + theirs_in > 20
    statistic = float(((ours_in - theirs_in)[kept] ** 2 / (ours_in + theirs_in)[kept]).sum())
    freedom = int(kept.sum()) - 1
    z = ((statistic / max(freedom, 1)) ** (1 / 3) - 1 + 2 / (9 * max(freedom, 1))) / math.sqrt(
        2 / (9 * max(freedom, 1))
    )
    assert freedom == 0 or z < 3.1  # Wilson and Hilferty's normal approximation


def test_where_torchvision_never_falls_back_the_laws_are_one() -> None:
    """On a 4:3 photo the boxes are distributed as torchvision's own (KS, 0.1 %)."""
    torch.manual_seed(0)
    num, image = 12_000, torch.empty(3, 375, 500)
    drawn = [
        transforms.RandomResizedCrop.get_params(image, list(SCALE), list(RATIO)) for _ in range(num)
    ]
    theirs = np.array(drawn)[:, [1, 0, 3, 2]].astype(float)
    ours = _direct(375, 500, num).astype(float)
    for axis in range(4):
        assert _ks(ours[:, axis], theirs[:, axis]) < 1.95 * math.sqrt(2 / num)


def test_places_are_uniform() -> None:
    """Given its size, a crop's corner is uniform over all that fit (KS, 0.1 %)."""
    for height, width in ((375, 500), (10, 1000)):  # the second never fits: the limit
        x, y, w, h = _direct(height, width, NUM).T
        for corner, side, whole in ((x, w, width), (y, h, height)):
            free = (whole - side) > 20
            if free.sum() < 1000:
                continue
            jitter = np.random.default_rng(0).random(int(free.sum()))
            place = np.sort((corner[free] + jitter) / (whole - side[free] + 1))
            uniform = np.arange(1, place.size + 1) / place.size
            assert np.abs(place - uniform).max() < 1.95 / math.sqrt(place.size)


@given(
    height=SIDES,
    width=SIDES,
    smallest=st.floats(1e-6, 1.0),
    larger=st.floats(0.0, 1.0),
    low=st.floats(0.05, 20.0),
    times=st.floats(1.0, 20.0),
)
def test_boxes_lie_inside_the_image(
    height: int, width: int, smallest: float, larger: float, low: float, times: float
) -> None:
    """Whatever its size and the law's limits, also where nothing fits."""
    scale = (smallest, smallest + larger * (1.0 - smallest))
    for x, y, w, h in _direct(height, width, 32, scale, (low, low * times)):
        assert 0 <= x < x + w <= width
        assert 0 <= y < y + h <= height


@given(height=st.integers(20, 3000), smallest=st.floats(0.01, 1.0))
def test_the_limit_continues_the_law(height: int, smallest: float) -> None:
    """At the border of what fits, sizes reach those of the largest crop, to within 2 pixels."""
    scale = (smallest, 1.0)
    border = int(height * RATIO[1] / smallest * (1 + 1 / (2 * height)) ** 2)  # the widest that fits
    _, _, beyond_w, beyond_h = _direct(height, border + 8, 16, scale).T
    assert set(beyond_h) == {height}
    assert set(beyond_w) == {round(height * RATIO[1])}
    if border > height * RATIO[1]:
        _, _, w, h = _direct(height, border - 1, 16, scale).T
        assert np.abs(h - height).max() <= 2
        assert np.abs(w - height * RATIO[1]).max() <= 2


def test_one_area_and_one_aspect_are_laws_too() -> None:
    """Where an interval is a point there is nothing to divide by."""
    fixed = _direct(100, 200, 50, (0.5, 0.5), (1.0, 1.0))
    assert {tuple(sides) for sides in fixed[:, 2:].tolist()} == {(100, 100)}
    areas = _direct(1000, 1000, 500, (0.25, 0.25), RATIO)[:, 2:].prod(axis=1)
    np.testing.assert_allclose(areas, 250_000, rtol=2e-3)


@given(mass=st.floats(1e-18, 1e6))
def test_the_quantile_inverts_the_mass(mass: float) -> None:
    """To 11 digits, from tiny to large masses."""
    assert ramp_mass(ramp_quantile(mass)) == pytest.approx(mass, rel=1e-11)


def test_boxes_do_not_depend_on_the_batch() -> None:
    """Any rows in any order get the boxes that they get together; repeats and keys change them."""
    rng = np.random.default_rng(0)
    heights, widths = rng.integers(1, 900, (2, 200)).astype(np.int32)
    ids = rng.permutation(10_000)[:200].astype(np.int64)
    once = np.zeros(200, np.int64)

    def boxes(rows: NDArray[np.int64], key: int = 7, occurrence: int = 0) -> NDArray[np.int32]:
        return direct_random_resized_boxes(
            heights[rows], widths[rows], SCALE, RATIO, key, ids[rows], once[rows] + occurrence
        ).bounds

    everything = np.arange(200)
    whole = boxes(everything)
    for rows in np.array_split(rng.permutation(200), 7):
        np.testing.assert_array_equal(boxes(rows), whole[rows])
    for other in (boxes(everything, key=8), boxes(everything, occurrence=1)):
        assert (other != whole).any(axis=1).mean() > 0.9


def test_the_stage_uses_the_law() -> None:
    """Same arguments as DecodeRandomResizedCrop, other boxes; images of no size keep empty ones."""
    stage = DecodeDirectRandomResizedCrop(32, scale=(0.3, 1.0), seed=3)
    assert isinstance(stage, DecodeRandomResizedCrop)
    context = BatchContext(np.arange(4), seed=0, stage="crop")
    heights, widths = np.array([90, 0, 30, 50], np.int32), np.array([90, 0, 400, 70], np.int32)
    expected = direct_random_resized_boxes(
        heights, widths, (0.3, 1.0), RATIO, context.key(3), np.arange(4), np.zeros(4, np.int64)
    )
    drawn = stage.boxes(heights, widths, context)
    np.testing.assert_array_equal(drawn.bounds, expected.bounds)
    np.testing.assert_array_equal(drawn.bounds[1], 0)


@pytest.mark.parametrize(("height", "width"), [(375, 500), (300, 1000), (150, 1500), (10, 1000)])
def test_the_fallback_rate_is_that_of_ten_tries(height: int, width: int) -> None:
    """(1 - acceptance)^10, measured by the rejecting sampler itself; seeds repeat it."""
    law = (0.2, 1.0)
    rng = np.random.default_rng(0)
    area = height * width * rng.uniform(*law, 2_000_000)
    aspect = np.exp(rng.uniform(*np.log(RATIO), area.size))
    fits = np.rint(np.sqrt([area * aspect, area / aspect])) <= [[width], [height]]
    expected = (1 - fits.all(axis=0).mean()) ** 10
    estimate = estimate_rejection_fallback_rate([width], [height], law, RATIO)
    assert estimate == estimate_rejection_fallback_rate([width] * 3, [height] * 3, law, RATIO)
    assert estimate["total_samples"] == 50_000
    assert estimate["fallback_rate"] == estimate["fallback_count"] / 50_000
    assert estimate["fallback_rate"] == pytest.approx(expected, abs=0.01)
    assert estimate["recommend_direct"] == (estimate["fallback_rate"] > 0.05)


def test_fallbacks_are_counted_where_they_happen() -> None:
    """The estimate's fallbacks are those centred boxes that the rejecting stage makes."""
    num, height, width = 20_000, 300, 1000
    ids = np.arange(num)
    boxes = random_resized_boxes(
        np.full(num, height, np.int32),
        np.full(num, width, np.int32),
        (0.2, 1.0),
        RATIO,
        stream_key(0, 0, "x"),
        ids,
        np.zeros(num, np.int64),
    ).bounds
    fallbacks = (boxes == [300, 0, 400, 300]).all(axis=1).mean()
    estimate = estimate_rejection_fallback_rate([width], [height], (0.2, 1.0), RATIO, num, 1)
    assert estimate["fallback_rate"] == pytest.approx(fallbacks, abs=0.02)


@pytest.mark.parametrize(
    ("widths", "heights", "n_samples"),
    [([], [], 9), ([5], [5, 6], 9), ([0], [5], 9), ([5], [5], 0)],
)
def test_estimates_of_nothing_are_refused(
    widths: list[int], heights: list[int], n_samples: int
) -> None:
    """No images, unequal columns, empty images, no draws."""
    with pytest.raises(ValueError, match=r"expected|positive"):
        estimate_rejection_fallback_rate(widths, heights, SCALE, RATIO, n_samples)
