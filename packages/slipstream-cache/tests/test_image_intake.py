"""How images are taken in at build."""

from __future__ import annotations

from typing import Any

import pytest

from slipstream_cache import (
    Codec,
    Condition,
    ImageFlag,
    StorageOptions,
    StoredImage,
    UnsupportedImageError,
)
from slipstream_cache.image_intake import take_image
from slipstream_cache.testing import make_jpeg

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.mark.parametrize("num_components", [1, 3])
@pytest.mark.parametrize("process", [0, 1, 2])
def test_plain_jpegs_are_stored_verbatim(num_components: Any, process: Any) -> None:
    """No byte of a plain JPEG changes, and the transcode is not asked."""
    data = make_jpeg(5, 7, num_components=num_components, process=process, orientation=6)
    image = take_image(data, StorageOptions(), transcode=lambda *_: pytest.fail("asked"))
    assert image == StoredImage(
        data,
        5,
        7,
        Codec.JPEG,
        orientation=6,
        flags=int(ImageFlag.PROGRESSIVE) if process == 2 else 0,
    )


OTHERS = [
    PNG,
    make_jpeg(5, 7, num_components=4, adobe_transform=2),
    make_jpeg(5, 7, precision=12),
    make_jpeg(5, 7, process=9),
    make_jpeg(5, 300),
]


@pytest.mark.parametrize("data", OTHERS)
def test_other_images_go_to_the_transcode(data: bytes) -> None:
    """What not every decoder takes is stored as the transcode says."""
    stored = StoredImage(b"pixels", 1, 2, Codec.RGB, flags=int(ImageFlag.TRANSCODED))
    asked = []

    def transcode(given: Any, options: Any) -> Any:
        asked.append((given, options))
        return stored

    options = StorageOptions(max_size=256)
    assert take_image(data, options, transcode) is stored
    assert asked == [(data, options)]


@pytest.mark.parametrize("data", OTHERS)
def test_without_a_transcode_they_are_refused(data: bytes) -> None:
    """A readable image is never stored in a form that decoders do not know."""
    with pytest.raises(UnsupportedImageError, match="slipstream-loader"):
        take_image(data, StorageOptions(max_size=256))


@pytest.mark.parametrize("data", [b"", b"<html>", b"\xff\xd8\xff", make_jpeg(5, 7)[:25]])
def test_unreadable_bytes_are_kept_and_flagged(data: bytes) -> None:
    """Bytes without a readable header are stored verbatim, as UNKNOWN and UNREADABLE."""
    image = take_image(data, StorageOptions())
    assert (image.payload, image.codec, image.height, image.width) == (data, Codec.UNKNOWN, 0, 0)
    assert image.condition == Condition.UNREADABLE
    assert image.problem


def test_a_cut_jpeg_is_damaged() -> None:
    """A JPEG without its end is stored verbatim, as DAMAGED."""
    data = make_jpeg(5, 7)[:-2]
    image = take_image(data, StorageOptions())
    assert (image.payload, image.codec, image.height) == (data, Codec.JPEG, 5)
    assert image.condition == Condition.DAMAGED
    assert "cut off" in str(image.problem)


@pytest.mark.parametrize(
    "stored",
    [
        StoredImage(bytes(5), 1, 2, Codec.RGB),
        StoredImage(bytes(15), 3, 3, Codec.YUV420),
        StoredImage(b"x", -1, 3, Codec.JPEG),
        StoredImage(b"x", 1, 1 << 32, Codec.JPEG),
        StoredImage(b"x", 1, 1, Codec.JPEG, orientation=9),
    ],
)
def test_impossible_results_of_a_transcode_are_refused(stored: StoredImage) -> None:
    """Sizes that contradict the payload never get into a cache."""
    with pytest.raises(UnsupportedImageError):
        take_image(PNG, StorageOptions(), lambda *_: stored)


def test_odd_sizes_of_planes() -> None:
    """Chroma planes are rounded up."""
    stored = StoredImage(bytes(9 + 2 * 4), 3, 3, Codec.YUV420)
    assert take_image(PNG, StorageOptions(), lambda *_: stored) is stored
