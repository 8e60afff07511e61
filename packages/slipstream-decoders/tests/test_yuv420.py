"""Planar YUV420: from JPEGs of every kind and from pixels, and back to pixels."""

from __future__ import annotations

import ctypes
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from slipstream_decoders import (
    BatchContext,
    CorruptImageError,
    DecodeStatus,
    EncodedBatch,
    YUV420NumbaBatchDecoder,
    as_yuv420,
    build_yuv420,
    find_turbojpeg,
    rgb_to_yuv420,
    yuv420_encoding,
    yuv420_planes,
    yuv420_size,
    yuv420_to_rgb,
    yuv420_to_yuv,
)

SIZES = [(height, width) for height in range(1, 10) for width in range(1, 10)]
SIZES += [(16, 31), (33, 64), (47, 50)]
_FAST_UPSAMPLING = 256  # TJFLAG_FASTUPSAMPLE
_Pixels = NDArray[np.uint8]


def noise(height: int, width: int, seed: int = 0) -> _Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def jpeg(pixels: _Pixels, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **{"quality": 90, **options})
    return file.getvalue()


def planes_of(payload: bytes) -> tuple[_Pixels, _Pixels, _Pixels]:
    batch = EncodedBatch.from_payloads([payload])
    images = build_yuv420(batch)
    assert images.statuses[0] == DecodeStatus.OK, images.reasons
    return yuv420_planes(images.payloads[0], int(batch.heights[0]), int(batch.widths[0]))


def ycbcr_of(payload: bytes) -> NDArray[np.float64]:
    """Pillow's pixels before the conversion to RGB, shape (height, width, 3)."""
    with Image.open(io.BytesIO(payload)) as image:
        image.draft("YCbCr", image.size)
        return np.asarray(image, np.float64)


def halved(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of 2 x 2 pixels; the last row and column of odd sizes count twice."""
    even = np.pad(plane, ((0, plane.shape[0] % 2), (0, plane.shape[1] % 2)), mode="edge")
    mean: NDArray[np.float64] = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2).mean(
        axis=(1, 3)
    )
    return mean


def rgb_of(yuv: NDArray[np.float64]) -> NDArray[np.float64]:
    """BT.601 full range."""
    y, u, v = yuv[..., 0], yuv[..., 1] - 128, yuv[..., 2] - 128
    rgb = [y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u]
    return np.clip(np.stack(rgb, axis=-1), 0, 255)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
def test_luma_is_that_of_the_jpeg_whatever_its_sampling(subsampling: str) -> None:
    """To the bit, at odd sizes too; of 4:4:4, chroma is the mean of its four samples."""
    for height, width in SIZES:
        payload = jpeg(noise(height, width, 1), subsampling=subsampling)
        y, u, v = planes_of(payload)
        assert u.shape == v.shape == ((height + 1) // 2, (width + 1) // 2)
        expected = ycbcr_of(payload)
        np.testing.assert_array_equal(y, expected[..., 0])
        if subsampling == "4:4:4":
            for plane, channel in ((u, expected[..., 1]), (v, expected[..., 2])):
                assert np.abs(plane - halved(channel)).max() <= 0.5


def turbojpeg_rgb(payload: bytes, height: int, width: int) -> _Pixels:
    """libjpeg-turbo's pixels without smooth upsampling."""
    library = find_turbojpeg()
    assert library is not None
    decompress = ctypes.CDLL(library.path).tjDecompress2
    decompress.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_void_p] + [
        ctypes.c_int
    ] * 5
    out = np.empty((height, width, 3), np.uint8)
    handle = library.new_handle()
    size = len(payload)
    code = decompress(
        handle, payload, size, out.ctypes.data, width, 3 * width, height, 0, _FAST_UPSAMPLING
    )
    library.free_handle(handle)
    assert code == 0
    return out


@pytest.mark.skipif(find_turbojpeg() is None, reason="no TurboJPEG library")
def test_planes_of_420_jpegs_give_libjpeg_turbos_pixels(photos: list[Path]) -> None:
    """Without smooth upsampling, to the bit: planes, colours and repeated chroma."""
    payloads = [jpeg(noise(*size, 2), subsampling="4:2:0") for size in SIZES]
    payloads += [jpeg(np.asarray(Image.open(p).convert("RGB"))) for p in photos[::25]]
    batch = EncodedBatch.from_payloads(payloads)
    images = build_yuv420(batch)
    for row, payload in enumerate(payloads):
        height, width = int(batch.heights[row]), int(batch.widths[row])
        found = yuv420_to_rgb(images.payloads[row], height, width)
        np.testing.assert_array_equal(found, turbojpeg_rgb(payload, height, width))


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2"])
def test_averaged_chroma_has_no_bias(subsampling: str) -> None:
    """Its mean is that of the samples that it replaces, to a fiftieth of a level."""
    payload = jpeg(noise(256, 256, 3), subsampling=subsampling)
    _, u, v = planes_of(payload)
    finest = native_planes(payload)
    assert abs(u.mean() - finest[1].mean()) < 0.02
    assert abs(v.mean() - finest[2].mean()) < 0.02


def native_planes(payload: bytes) -> list[_Pixels]:
    """The planes as they are in the file."""
    from slipstream_decoders.engines.native import NativeDecoder

    return NativeDecoder().planes(EncodedBatch.from_payloads([payload]), 0)[1]


def test_progressive_jpegs_have_the_planes_of_baseline_ones() -> None:
    """The same coefficients in another order; an engine other than the native one takes them."""
    if find_turbojpeg() is None:
        pytest.skip("no TurboJPEG library")
    for height, width in ((9, 7), (40, 51)):
        pixels = noise(height, width, 4)
        for one, other in zip(
            planes_of(jpeg(pixels)), planes_of(jpeg(pixels, progressive=True)), strict=True
        ):
            np.testing.assert_array_equal(one, other)


def test_pillow_takes_what_others_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progressive and RGB files come by way of RGB where there is no libjpeg-turbo."""
    monkeypatch.setattr(yuv420_encoding, "find_turbojpeg", lambda: None)
    smooth = Image.fromarray(noise(6, 7, 5)).resize((45, 33), Image.Resampling.BICUBIC)
    pixels = np.asarray(smooth)
    for options in ({"progressive": True}, {"keep_rgb": True}):
        y, u, v = planes_of(jpeg(pixels, quality=95, **options))
        assert np.abs(y - ycbcr_of(jpeg(pixels, quality=95))[..., 0]).mean() < 2
        assert u.shape == v.shape == (17, 23)


def test_gray_jpegs_and_pixels() -> None:
    """Gray has chroma 128; stored RGB becomes what ``rgb_to_yuv420`` makes of it."""
    pixels = noise(5, 7, 6)
    y, u, v = planes_of(jpeg(pixels[..., 0]))
    expected = np.asarray(Image.open(io.BytesIO(jpeg(pixels[..., 0]))))
    np.testing.assert_array_equal(y, expected)
    assert (u == 128).all()
    assert (v == 128).all()
    batch = stored([pixels.tobytes()], [5], [7], codec=2)
    (payload,) = build_yuv420(batch).payloads
    np.testing.assert_array_equal(payload, rgb_to_yuv420(pixels))


def stored(payloads: list[bytes], heights: list[int], widths: list[int], codec: int) -> Any:
    return EncodedBatch.from_mapping(
        {
            "data": np.frombuffer(b"".join(payloads), np.uint8),
            "sizes": [len(payload) for payload in payloads],
            "heights": heights,
            "widths": widths,
            "codecs": [codec] * len(payloads),
        }
    )


def test_pixels_to_planes_and_back() -> None:
    """Both ways are the formulas, rounded to nearest, at every small size."""
    for height, width in SIZES:
        rgb = noise(height, width, 7)
        payload = rgb_to_yuv420(rgb)
        assert payload.size == yuv420_size(height, width)
        y, u, v = yuv420_planes(payload, height, width)
        r, g, b = np.moveaxis(rgb.astype(np.float64), -1, 0)
        luma = 0.299 * r + 0.587 * g + 0.114 * b
        assert np.abs(y - luma).max() <= 0.501
        assert np.abs(u - halved(128 + (b - luma) / 1.772)).max() <= 0.51
        assert np.abs(v - halved(128 + (r - luma) / 1.402)).max() <= 0.51

        yuv = yuv420_to_yuv(payload, height, width)
        np.testing.assert_array_equal(yuv[..., 0], y)
        for channel, plane in ((1, u), (2, v)):
            full = plane.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
            np.testing.assert_array_equal(yuv[..., channel], full)
        pixels = yuv420_to_rgb(payload, height, width)
        assert np.abs(pixels - rgb_of(yuv.astype(np.float64))).max() <= 0.505


def test_wrong_sizes_are_refused() -> None:
    """Conversions check what they are given before a kernel sees it."""
    payload = np.zeros(yuv420_size(3, 5), np.uint8)
    for convert in (yuv420_to_rgb, yuv420_to_yuv, yuv420_planes):
        with pytest.raises(ValueError, match="expected 27 bytes"):
            convert(payload[:-1], 3, 5)
    with pytest.raises(ValueError, match="H, W, 3"):
        rgb_to_yuv420(payload)


def test_round_trip_of_the_batch_decoder() -> None:
    """Against a conversion that cuts decimals off: at most one level, as documented."""
    sizes = [(31, 45), (40, 64), (7, 3)]
    payloads = [rgb_to_yuv420(noise(*size, 8)) for size in sizes]
    heights, widths = np.array(sizes).T
    lengths = np.array([payload.size for payload in payloads])
    decoder = YUV420NumbaBatchDecoder(num_threads=2)
    padded = np.zeros((3, lengths.max()), np.uint8)
    for row, payload in enumerate(payloads):
        padded[row, : payload.size] = payload
    for data in (np.concatenate(payloads), padded):
        rgb = decoder.decode_batch(data, lengths, heights, widths)
        yuv = decoder.decode_batch_yuv_fullres(data, lengths, heights, widths)
        planes = decoder.decode_batch_yuv_planes(data, lengths, heights, widths)
        for row in range(3):
            cut = rgb_of(yuv[row].astype(np.float64)).astype(np.uint8)
            assert np.abs(rgb[row].astype(int) - cut).max() <= 1
            np.testing.assert_array_equal(planes[row][0], yuv[row][..., 0])
    with pytest.raises(CorruptImageError, match="expected"):
        decoder.decode_batch(data, lengths - 1, heights, widths)
    decoder.shutdown()


def test_damaged_images_are_told_and_harm_no_other() -> None:
    """Every truncation, a wrong size, no image at all: a status and no bytes."""
    good = jpeg(noise(24, 30, 9))
    whole = build_yuv420(EncodedBatch.from_payloads([good])).payloads[0]
    cuts = [good[:length] for length in range(0, len(good) - 2, 97)]
    batch = EncodedBatch.from_payloads([good, *cuts, b"no image", good])
    images = build_yuv420(batch, num_threads=2)
    assert images.statuses[0] == images.statuses[-1] == DecodeStatus.OK
    assert images.statuses[1:-1].all()
    assert all(payload.size == 0 for payload in images.payloads[1:-1])
    for row in (0, -1):
        np.testing.assert_array_equal(images.payloads[row], whole)
    short = stored([bytes(10), bytes(27), bytes(44)], [3, 3, 3], [5, 5, 5], codec=1)
    assert build_yuv420(short).statuses.tolist() == [1, 0, 1]
    assert build_yuv420(stored([bytes(44)], [3], [5], codec=2)).statuses.tolist() == [1]


def test_mutated_files_get_one_verdict() -> None:
    """Flipped and missing bytes anywhere: a whole payload or none, the same twice."""
    rng = np.random.default_rng(10)
    kinds: list[dict[str, Any]] = [{}, {"subsampling": "4:4:4"}, {"progressive": True}]
    payloads = []
    for number in range(240):
        data = bytearray(jpeg(noise(17, 22, number), **kinds[number % 3]))
        for at in rng.integers(2, len(data), 1 + number % 4):
            data[at] = rng.integers(0, 256)
        payloads.append(bytes(data[: len(data) - int(rng.integers(0, 30)) * (number % 2)]))
    batch = EncodedBatch.from_mapping(
        {
            "data": np.frombuffer(b"".join(payloads), np.uint8),
            "sizes": [len(payload) for payload in payloads],
            "heights": [17] * len(payloads),
            "widths": [22] * len(payloads),
        }
    )
    first, second = build_yuv420(batch, num_threads=3), build_yuv420(batch, num_threads=1)
    np.testing.assert_array_equal(first.statuses, second.statuses)
    assert 0 < np.count_nonzero(first.statuses) < len(batch)
    for status, one, other in zip(first.statuses, first.payloads, second.payloads, strict=True):
        assert one.size == (yuv420_size(17, 22) if status == DecodeStatus.OK else 0)
        np.testing.assert_array_equal(one, other)


def test_a_batch_is_brought_to_planes() -> None:
    """Planes stay where they are; failures are raised, or noted and marked."""
    good = stored([bytes(range(27))], [3], [5], codec=1)
    assert as_yuv420(good, BatchContext.standalone(1)) is good
    payloads = [jpeg(noise(9, 9)), jpeg(noise(9, 9))[:-20], b"nothing"]
    mixed = EncodedBatch.from_payloads(payloads)
    context = BatchContext(np.array([7, 8, 9]), seed=0)
    with pytest.raises(CorruptImageError) as caught:
        as_yuv420(mixed, context)
    assert caught.value.sample_ids == [8, 9]
    failures: dict[int, str] = {}
    found = as_yuv420(mixed, BatchContext(np.array([7, 8, 9]), seed=0, failures=failures))
    assert found.codecs.tolist() == [1, 255, 255]
    assert sorted(failures) == [1, 2]
    assert "truncated" in failures[1]


def test_the_bytes_do_not_depend_on_threads() -> None:
    """One thread or several, alone or in a batch."""
    payloads = [jpeg(noise(20 + n, 40 - n, n), subsampling="4:4:4") for n in range(12)]
    batch = EncodedBatch.from_payloads(payloads)
    one, three = (build_yuv420(batch, num_threads=number).payloads for number in (1, 3))
    for row, payload in enumerate(payloads):
        (alone,) = build_yuv420(EncodedBatch.from_payloads([payload])).payloads
        np.testing.assert_array_equal(one[row], alone)
        np.testing.assert_array_equal(three[row], alone)
