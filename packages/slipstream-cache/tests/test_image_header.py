"""What the headers of image files say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipstream_cache.image_header import (
    ImageHeaderError,
    has_jpeg_end,
    read_jpeg_header,
    sniff_image_format,
)
from slipstream_cache.testing import make_jpeg

PHOTOS = Path(
    os.environ.get("SLIPSTREAM_TEST_PHOTOS", Path(__file__).parents[4] / "shared/data/photos")
)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (make_jpeg(1, 1), "jpeg"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"GIF89a..", "gif"),
        (b"RIFF1234WEBPVP8 ", "webp"),
        (b"II*\0....", "tiff"),
        (b"MM\0*....", "tiff"),
        (b"BM" + bytes(12) + b"\x28\0\0\0", "bmp"),
        (b"BMI of 23 is fine, they say", None),
        (b"", None),
        (b"\xff\xd8", None),
    ],
)
def test_formats_are_told_by_their_first_bytes(data: bytes, kind: Any) -> None:
    """The known formats are told apart, and text is none of them."""
    assert sniff_image_format(data) == kind


@given(
    height=st.integers(1, 65535),
    width=st.integers(1, 65535),
    num_components=st.integers(1, 4),
    precision=st.sampled_from([8, 12]),
    process=st.sampled_from([0, 1, 2, 3, 9, 10]),
    orientation=st.integers(0, 8),
    adobe_transform=st.sampled_from([None, 0, 1, 2]),
)
def test_header_round_trip(height: int, width: int, **settings: Any) -> None:
    """All that the header says is read."""
    data = make_jpeg(height, width, **settings)
    header = read_jpeg_header(data)
    assert (header.height, header.width) == (height, width)
    assert {name: getattr(header, name) for name in settings} == settings
    assert header.is_progressive == (settings["process"] == 2)
    plain = settings["process"] <= 2 and settings["precision"] == 8
    assert header.is_plain == (plain and settings["num_components"] in (1, 3))
    assert has_jpeg_end(data, header)


def test_every_cut_is_told() -> None:
    """A file cut anywhere has no header, or no end."""
    data = make_jpeg(10, 20, orientation=6, adobe_transform=1)
    for size in range(len(data)):
        try:
            assert not has_jpeg_end(data[:size], read_jpeg_header(data[:size]))
        except ImageHeaderError:
            continue


@given(st.binary(max_size=200))
def test_any_bytes_after_the_start_are_read_or_refused(noise: Any) -> None:
    """Hostile bytes give a header or ImageHeaderError, nothing else."""
    for data in (noise, b"\xff\xd8" + noise, make_jpeg(3, 4, orientation=1)[:30] + noise):
        try:
            header = read_jpeg_header(data)
        except ImageHeaderError:
            continue
        assert header.height > 0
        assert header.width > 0


def test_bytes_around_the_image_do_not_matter() -> None:
    """Fill bytes before a marker are skipped, and padding after the end is allowed."""
    data = make_jpeg(10, 20)
    assert read_jpeg_header(data[:2] + b"\xff\xff" + data[2:]).height == 10
    padded = data + bytes(1000)
    assert has_jpeg_end(padded, read_jpeg_header(padded))


def test_an_end_inside_a_thumbnail_is_no_end() -> None:
    """The end of a thumbnail in the EXIF data does not make a cut image whole."""
    thumbnail = b"\xff\xe1" + (2 + 8).to_bytes(2, "big") + b"thumb.\xff\xd9"
    data = make_jpeg(10, 20)
    cut = data[:2] + thumbnail + data[2:-2]
    assert not has_jpeg_end(cut, read_jpeg_header(cut))


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="no real photos: set SLIPSTREAM_TEST_PHOTOS")
def test_real_photos_agree_with_pillow() -> None:
    """Sizes of real photos are Pillow's, and all of them have an end."""
    image_module = pytest.importorskip("PIL.Image")
    paths = sorted(PHOTOS.rglob("*.JPEG"))
    assert paths
    for path in paths:
        data = path.read_bytes()
        header = read_jpeg_header(data)
        with image_module.open(path) as image:
            assert (header.width, header.height) == image.size
            assert header.num_components == len(image.getbands())
        assert has_jpeg_end(data, header)
