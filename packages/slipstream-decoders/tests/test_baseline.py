"""Lossless conversion to baseline: the same pixels to the bit, for the native engine."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from slipstream_decoders import (
    BackendUnavailableError,
    DecodeOnly,
    EncodedBatch,
    convert_to_baseline,
    find_turbojpeg,
    native_header_statuses,
)
from slipstream_decoders._turbojpeg import library
from slipstream_decoders.status import DecodeStatus

pytestmark = pytest.mark.timeout(240)
needs_turbojpeg = pytest.mark.skipif(find_turbojpeg() is None, reason="no TurboJPEG library")


def picture(height: int, width: int, mode: str = "RGB", **options: object) -> bytes:
    """A progressive JPEG of noise on a gradient."""
    rng = np.random.default_rng(height * 1000 + width)
    ramp = np.add.outer(np.arange(height), np.arange(width)) % 256
    pixels = (ramp[..., None] + rng.integers(0, 60, (height, width, 3))).clip(0, 255)
    file = io.BytesIO()
    image = Image.fromarray(pixels.astype(np.uint8)).convert(mode)
    image.save(file, "JPEG", **{"progressive": True, **options})
    return file.getvalue()


@needs_turbojpeg
def test_pixels_are_the_same_to_the_bit() -> None:
    """Samplings, odd sizes, qualities, gray: Pillow decodes the converted file to equal pixels."""
    payloads = [
        picture(height, width, subsampling=subsampling, quality=quality)
        for height, width in ((1, 1), (17, 9), (40, 33), (120, 87))
        for subsampling in ("4:4:4", "4:2:2", "4:2:0")
        for quality in (30, 95)
    ]
    payloads += [picture(50, 31, "L"), picture(64, 64, comment=b"left out")]
    batch = EncodedBatch.from_payloads(payloads)
    assert (native_header_statuses(batch) == DecodeStatus.UNSUPPORTED).all()
    made = convert_to_baseline(batch)
    assert (made.sizes > 0).all()
    assert made.sizes.sum() == made.data.size
    ends = np.cumsum(made.sizes).tolist()
    converted = [
        made.data[end - size : end].tobytes()
        for end, size in zip(ends, made.sizes.tolist(), strict=True)
    ]
    assert (native_header_statuses(EncodedBatch.from_payloads(converted)) == 0).all()
    expected, found = (DecodeOnly(engine="pillow")(files) for files in (payloads, converted))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


@needs_turbojpeg
def test_nothing_is_made_of_what_needs_or_bears_no_conversion() -> None:
    """Baseline files, damaged ones, RGB and CMYK JPEGs, and what is no JPEG stay as they are."""
    whole = picture(60, 70)
    payloads = [
        picture(60, 70, progressive=False),
        whole[: len(whole) // 2],
        whole[: len(whole) // 2] + b"\xff\xd9",
        picture(60, 70, keep_rgb=True),
        picture(60, 70, "CMYK"),
        b"no image",
    ]
    assert convert_to_baseline(EncodedBatch.from_payloads(payloads)).sizes.tolist() == [0] * 6


def test_without_a_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no other way to convert."""
    monkeypatch.setattr(library, "find_turbojpeg", lambda: None)
    with pytest.raises(BackendUnavailableError, match="libturbojpeg0"):
        convert_to_baseline(EncodedBatch.from_payloads([picture(8, 8)]))
