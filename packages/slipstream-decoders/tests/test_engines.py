"""Pixels of every engine against Pillow, and what becomes of bad payloads."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slipstream_decoders import (
    BatchContext,
    Boxes,
    CorruptImageError,
    DecodeYUVFullRes,
    DecodeYUVPlanes,
    EncodedBatch,
    UnsupportedImageError,
    center_boxes,
    crop_images,
    decode_images,
    find_turbojpeg,
    random_resized_boxes,
    resize_center_boxes,
    whole_image_boxes,
)

ENGINES = [
    pytest.param(
        "turbojpeg",
        marks=pytest.mark.skipif(find_turbojpeg() is None, reason="no TurboJPEG library"),
    ),
    "pillow",
    "native",
    "auto",
]


def textured(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth random picture with some detail, uint8 HWC."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(1, height // 8 + 1), max(1, width // 8 + 1), 3), np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    noise = rng.integers(-12, 13, smooth.shape)
    return np.clip(smooth.astype(int) + noise, 0, 255).astype(np.uint8)


def jpeg(pixels: np.ndarray, **options: object) -> bytes:
    """Encode with Pillow."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **{"quality": 90, **options})
    return file.getvalue()


def context(num: int, num_threads: int | None = None) -> BatchContext:
    """A context whose sample ids start at 100."""
    return BatchContext(np.arange(100, 100 + num), seed=1, num_threads=num_threads)


def by_pillow(payload: bytes, boxes: Boxes, row: int, size: int) -> np.ndarray:
    """Decode, crop to the bounds, resize the window: Pillow alone."""
    image = Image.open(io.BytesIO(payload)).convert("RGB")
    x, y, w, h = boxes.bounds[row].tolist()
    left, top, width, height = boxes.window[row].tolist()
    part = (left - x, top - y, min(left - x + width, w), min(top - y + height, h))
    crop = image.crop((x, y, x + w, y + h))
    return np.asarray(crop.resize((size, size), Image.Resampling.BILINEAR, box=part))


def all_boxes(batch: EncodedBatch) -> dict[str, Boxes]:
    """One set of boxes a law."""
    ids = np.arange(len(batch), dtype=np.int64)
    random = random_resized_boxes(
        batch.heights, batch.widths, (0.08, 1.0), (3 / 4, 4 / 3), 9, ids, np.zeros_like(ids)
    )
    return {
        "random": random,
        "center": center_boxes(batch.heights, batch.widths, 224),
        "resize_center": resize_center_boxes(batch.heights, batch.widths, 256, 224),
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_exact_is_within_one_level_of_pillow_on_photos(engine: str, photos: list[Path]) -> None:
    """Every box law, real photos."""
    payloads = [path.read_bytes() for path in photos[::5]]
    batch = EncodedBatch.from_payloads(payloads)
    for boxes in all_boxes(batch).values():
        ours = crop_images(
            batch, boxes, (224, 224), context(len(batch)), quality="exact", engine=engine
        )
        for row, payload in enumerate(payloads):
            difference = ours[row].astype(int) - by_pillow(payload, boxes, row, 224)
            assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "options",
    [
        {"subsampling": "4:4:4"},
        {"subsampling": "4:2:2"},
        {"subsampling": "4:2:0"},
        {"progressive": True},
        {"optimize": True, "quality": 30},
        {"restart_marker_blocks": 3},
        {"quality": 100},
    ],
    ids=str,
)
def test_exact_is_within_one_level_of_pillow_on_kinds_of_jpeg(
    engine: str, options: dict[str, object]
) -> None:
    """Samplings, progressive mode, restart intervals, odd and tiny sizes."""
    if engine == "native" and "progressive" in options:
        pytest.skip("the native engine takes baseline JPEGs")
    shapes = [(64, 48), (61, 47), (17, 33), (1, 1), (2, 3), (1, 40), (300, 7)]
    payloads = [jpeg(textured(h, w, h), **options) for h, w in shapes]
    batch = EncodedBatch.from_payloads(payloads)
    boxes = whole_image_boxes(batch.heights, batch.widths)
    ours = crop_images(batch, boxes, (32, 32), context(7), quality="exact", engine=engine)
    for row, payload in enumerate(payloads):
        difference = ours[row].astype(int) - by_pillow(payload, boxes, row, 32)
        assert np.abs(difference).max() <= 1, shapes[row]


@pytest.mark.parametrize("engine", ENGINES)
def test_grayscale_becomes_rgb(engine: str) -> None:
    """One-component JPEGs give three equal channels."""
    payload = jpeg(textured(40, 50)[..., 0])
    batch = EncodedBatch.from_payloads([payload])
    (image,) = decode_images(batch, context(1), engine=engine)
    np.testing.assert_array_equal(image, np.asarray(Image.open(io.BytesIO(payload)).convert("RGB")))


@pytest.mark.parametrize("engine", ENGINES)
def test_whole_images_equal_pillows(engine: str) -> None:
    """Decoding alone is Pillow's decoding."""
    payloads = [jpeg(textured(h, w), subsampling="4:4:4") for h, w in [(30, 40), (1, 1), (77, 9)]]
    images = decode_images(EncodedBatch.from_payloads(payloads), context(3), engine=engine)
    for image, payload in zip(images, payloads, strict=True):
        np.testing.assert_array_equal(image, np.asarray(Image.open(io.BytesIO(payload))))


@pytest.mark.parametrize("engine", ENGINES)
def test_bad_payloads_are_named_and_good_ones_are_not(engine: str) -> None:
    """Truncated, garbled and unreadable payloads fail with their sample ids, all at once."""
    good = jpeg(textured(90, 120), subsampling="4:4:4")
    truncated = good[: len(good) // 2]
    payloads = [good, truncated, b"no image at all", good, b""]
    batch = EncodedBatch.from_payloads(payloads)
    boxes = whole_image_boxes(batch.heights, batch.widths)
    with pytest.raises(CorruptImageError, match="sample 101") as caught:
        crop_images(batch, boxes, (32, 32), context(5), engine=engine)
    assert caught.value.sample_ids == [101, 102, 104]
    with pytest.raises(CorruptImageError) as caught:
        decode_images(batch, context(5), engine=engine)
    assert caught.value.sample_ids == [101, 102, 104]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_header_that_contradicts_the_cache_is_an_error(engine: str) -> None:
    """The recorded size decides how much memory is written: another size is never decoded."""
    payload = jpeg(textured(64, 64))
    batch = EncodedBatch.from_mapping(
        {
            "data": np.frombuffer(payload, np.uint8),
            "sizes": [len(payload)],
            "heights": [32],
            "widths": [64],
        }
    )
    boxes = whole_image_boxes(batch.heights, batch.widths)
    with pytest.raises(CorruptImageError, match=r"size|header"):
        crop_images(batch, boxes, (16, 16), context(1), engine=engine)


def test_a_hostile_header_does_not_exhaust_the_memory() -> None:
    """65,500 x 65,500 pixels are refused before anything is allocated."""
    payload = bytearray(jpeg(textured(16, 16)))
    at = payload.index(b"\xff\xc0") + 5
    payload[at : at + 4] = (65500).to_bytes(2, "big") * 2
    batch = EncodedBatch.from_mapping(
        {
            "data": np.frombuffer(bytes(payload), np.uint8),
            "sizes": [len(payload)],
            "heights": [65500],
            "widths": [65500],
        }
    )
    boxes = whole_image_boxes(batch.heights, batch.widths)
    with pytest.raises(UnsupportedImageError, match="sample 100"):
        crop_images(batch, boxes, (16, 16), context(1))
    with pytest.raises(UnsupportedImageError):
        decode_images(batch, context(1))


def test_placeholders_of_hostile_headers_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where failures are noted, an image above the limit of pixels becomes one pixel of zeros."""
    monkeypatch.setattr("slipstream_decoders.decode.MAX_PIXELS", 4000)
    monkeypatch.setattr("slipstream_decoders.yuv420_decoder.MAX_PIXELS", 4000)
    batch = EncodedBatch.from_payloads([jpeg(textured(*sides)) for sides in ((70, 70), (30, 40))])
    noted = replace(context(2), failures={})
    assert [image.shape for image in decode_images(batch, noted)] == [(1, 1, 3), (30, 40, 3)]
    for stage in (DecodeYUVFullRes(), DecodeYUVPlanes()):
        noted = replace(context(2), failures={})
        large, small = stage.apply(batch, noted)
        luma = large[0] if isinstance(large, tuple) else large[..., 0]
        assert luma.shape == (1, 1)
        assert (small[0] if isinstance(small, tuple) else small[..., 0]).shape == (30, 40)
        assert list(noted.failures or ()) == [0]


def test_placeholders_are_turned_as_the_image_would_be() -> None:
    """A failed image of whole images has the shape that it would have had, EXIF applied."""
    good = jpeg(textured(30, 40))
    batch = EncodedBatch.from_payloads([good[:-30], good])
    batch = replace(batch, orientations=np.array([6, 6], np.uint8))
    noted = replace(context(2), failures={})
    images = decode_images(batch, noted, apply_orientation=True)
    assert [image.shape for image in images] == [(40, 30, 3)] * 2
    assert list(noted.failures or ()) == [0]


def test_boxes_outside_of_the_image_are_refused() -> None:
    """A stage's mistake is an error that names the samples, not a read beyond the image."""
    batch = EncodedBatch.from_payloads([jpeg(textured(20, 20))] * 5)
    crops = np.array(
        [[0, 0, 20, 20], [1, 0, 20, 20], [0, -1, 5, 5], [0, 0, 0, 5], [0, 0, 5, 2**31 - 1]],
        np.int32,
    )
    with pytest.raises(CorruptImageError, match="crop") as caught:
        crop_images(batch, Boxes.of_crops(crops), (8, 8), context(5))
    assert caught.value.sample_ids == [101, 102, 103, 104]


@pytest.mark.parametrize("quality", ["exact", "fast"])
@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_pixels_do_not_depend_on_batch_or_threads(quality: str, num_threads: int) -> None:
    """The same bytes whatever the number of threads and the neighbours in the batch."""
    payloads = [jpeg(textured(40 + 3 * i, 90 - 2 * i, i)) for i in range(23)]
    batch = EncodedBatch.from_payloads(payloads)
    boxes = center_boxes(batch.heights, batch.widths, 64)
    whole = crop_images(batch, boxes, (48, 48), context(23, num_threads), quality=quality)
    for row in range(23):
        one = slice(row, row + 1)
        alone = crop_images(
            batch.take(one),
            Boxes(boxes.window[one], boxes.bounds[one]),
            (48, 48),
            context(1, 1),
            quality=quality,
        )
        np.testing.assert_array_equal(whole[row], alone[0])


def _stored(payload: bytes, height: int, width: int, codec: int) -> EncodedBatch:
    return EncodedBatch.from_mapping(
        {
            "data": np.frombuffer(payload, np.uint8),
            "sizes": [len(payload)],
            "heights": [height],
            "widths": [width],
            "codecs": [codec],
        }
    )


def test_stored_rgb_is_given_back() -> None:
    """The codec that holds pixels: whole, and resized as Pillow does."""
    pixels = textured(31, 45)
    batch = _stored(pixels.tobytes(), 31, 45, 2)
    np.testing.assert_array_equal(decode_images(batch, context(1))[0], pixels)
    boxes = whole_image_boxes(batch.heights, batch.widths)
    resized = crop_images(batch, boxes, (20, 20), context(1), quality="exact")[0]
    expected = Image.fromarray(pixels).resize((20, 20), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resized, np.asarray(expected))


def test_stored_yuv420_is_converted() -> None:
    """Planar YUV420 with odd sides: gray stays gray, and the payload's size is checked."""
    luma = textured(5, 7)[..., 0]
    payload = luma.tobytes() + bytes([128]) * (2 * 3 * 4)
    (image,) = decode_images(_stored(payload, 5, 7, 1), context(1))
    np.testing.assert_array_equal(image, luma[..., None].repeat(3, axis=2))
    with pytest.raises(CorruptImageError, match="expected 59"):
        decode_images(_stored(payload[:-1], 5, 7, 1), context(1))


def test_an_unknown_engine_is_refused() -> None:
    """The message lists the engines."""
    batch = EncodedBatch.from_payloads([jpeg(textured(8, 8))])
    with pytest.raises(ValueError, match="turbojpeg"):
        decode_images(batch, context(1), engine="fastest")  # type: ignore[arg-type]
