"""Crops of the native engine: equal to libjpeg-turbo's, with and without seek points."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slipstream_decoders import (
    BatchContext,
    Boxes,
    CorruptImageError,
    EncodedBatch,
    UnsupportedImageError,
    crop_images,
    find_turbojpeg,
    random_resized_boxes,
    whole_image_boxes,
)
from slipstream_decoders.engines.base import Quality
from slipstream_decoders.engines.choose import EngineName
from slipstream_decoders.seek_points import build_seek_points


def _picture(height: int, width: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def _jpeg(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **{"quality": 90, **options})
    return file.getvalue()


def _random_boxes(batch: EncodedBatch) -> Boxes:
    ids = np.arange(len(batch), dtype=np.int64)
    return random_resized_boxes(
        batch.heights, batch.widths, (0.08, 1.0), (3 / 4, 4 / 3), 9, ids, np.zeros_like(ids)
    )


def _crops(
    batch: EncodedBatch, boxes: Boxes, engine: EngineName, quality: Quality = "fast"
) -> np.ndarray:
    context = BatchContext(np.arange(100, 100 + len(batch)), seed=1)
    return crop_images(batch, boxes, (64, 48), context, engine=engine, quality=quality)


def _with_points(batch: EncodedBatch) -> EncodedBatch:
    points = build_seek_points(batch)
    assert not points.statuses.any()
    return batch.with_seek_points(points.data, points.offsets, points.sizes)


@pytest.mark.skipif(find_turbojpeg() is None, reason="no TurboJPEG library")
def test_crops_of_photos_equal_libjpeg_turbos(photos: list[Path]) -> None:
    """To the bit, from the start of the scan and from seek points."""
    batch = EncodedBatch.from_payloads([path.read_bytes() for path in photos[::6]])
    boxes = _random_boxes(batch)
    expected = _crops(batch, boxes, "turbojpeg")
    np.testing.assert_array_equal(_crops(batch, boxes, "native"), expected)
    np.testing.assert_array_equal(_crops(_with_points(batch), boxes, "native"), expected)


def test_exact_crops_of_photos_equal_pillows(photos: list[Path]) -> None:
    """To the bit, from the start of the scan and from seek points."""
    batch = EncodedBatch.from_payloads([path.read_bytes() for path in photos[::4]])
    boxes = _random_boxes(batch)
    expected = _crops(batch, boxes, "pillow", "exact")
    np.testing.assert_array_equal(_crops(batch, boxes, "native", "exact"), expected)
    np.testing.assert_array_equal(_crops(_with_points(batch), boxes, "native", "exact"), expected)


def test_seek_points_change_nothing_but_speed() -> None:
    """Restart intervals, odd sizes, every kind of sampling that Pillow writes, gray."""
    options: list[dict[str, object]] = [
        {},
        {"subsampling": "4:4:4"},
        {"subsampling": "4:2:2", "restart_marker_blocks": 3},
        {"restart_marker_rows": 1, "optimize": True},
        {"quality": 100},
    ]
    payloads = [
        _jpeg(image, **option)
        for option in options
        for image in (_picture(203, 317), _picture(203, 317).convert("L"), _picture(16, 400))
    ]
    batch = EncodedBatch.from_payloads(payloads)
    boxes = _random_boxes(batch)
    without = _crops(batch, boxes, "native")
    np.testing.assert_array_equal(_crops(_with_points(batch), boxes, "native"), without)
    pillow = _crops(batch, boxes, "pillow").astype(int)
    assert np.abs(pillow - without).mean() < 1


def test_seek_points_of_other_images_are_ignored() -> None:
    """Whatever lies where they should: the header of the points does not fit, or they are short."""
    batch = EncodedBatch.from_payloads([_jpeg(_picture(90, 120, seed)) for seed in range(3)])
    boxes = _random_boxes(batch)
    points = build_seek_points(batch)
    turned = batch.with_seek_points(points.data, points.offsets[[1, 2, 0]], points.sizes[[1, 2, 0]])
    short = batch.with_seek_points(points.data, points.offsets, points.sizes // 2)
    expected = _crops(batch, boxes, "native")
    for other in (turned, short):
        np.testing.assert_array_equal(_crops(other, boxes, "native"), expected)


def test_columns_of_seek_points_follow_the_rows() -> None:
    """``take`` takes them along; columns outside of the data are refused."""
    batch = _with_points(
        EncodedBatch.from_payloads([_jpeg(_picture(40 + seed, 60)) for seed in range(4)])
    )
    taken = batch.take(np.array([2, 0]))
    assert batch.seek_sizes is not None
    assert taken.seek_sizes is not None
    np.testing.assert_array_equal(taken.seek_sizes, batch.seek_sizes[[2, 0]])
    with pytest.raises(ValueError, match="seek points"):
        batch.with_seek_points(np.zeros(10, np.uint8), np.zeros(4, np.int64), np.full(4, 11))


def test_what_the_engine_does_not_take_is_unsupported() -> None:
    """Progressive and CMYK; with ``auto`` the next engine takes them."""
    payloads = [
        _jpeg(_picture(40, 50), progressive=True),
        _jpeg(_picture(40, 50).convert("CMYK")),
        _jpeg(_picture(40, 50), keep_rgb=True),
    ]
    batch = EncodedBatch.from_payloads(payloads)
    boxes = whole_image_boxes(batch.heights, batch.widths)
    with pytest.raises(UnsupportedImageError) as caught:
        _crops(batch, boxes, "native")
    assert caught.value.sample_ids == [100, 101, 102]
    auto = _crops(batch, boxes, "auto").astype(int)
    assert np.abs(auto - _crops(batch, boxes, "pillow")).mean() < 1


def test_truncated_images_are_named() -> None:
    """Alone and as the first of several engines; the good image is not."""
    good = _jpeg(_picture(90, 120))
    batch = EncodedBatch.from_payloads([good, good[: len(good) // 2], good[:-2]])
    boxes = whole_image_boxes(batch.heights, batch.widths)
    with pytest.raises(CorruptImageError) as caught:
        _crops(batch, boxes, "native")
    assert caught.value.sample_ids == [101, 102]
    np.testing.assert_array_equal(build_seek_points(batch).statuses, [0, 1, 1])
