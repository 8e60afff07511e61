"""The stored form of images that are not plain JPEG files."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, JpegImagePlugin

from slipstream_cache import Codec, Condition, ImageFlag, StorageOptions, StoredImage
from slipstream_decoders import rgb_to_yuv420
from slipstream_loader.errors import ImageDecodeError
from slipstream_loader.image_files import StrictPillow, decode_image
from slipstream_loader.transcode import transcode

HEIGHT, WIDTH = 45, 67


def photo(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> Image.Image:
    """Return a smooth colour image with some texture."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels_of(stored: StoredImage) -> np.ndarray:
    if stored.codec is Codec.RGB:
        flat = np.frombuffer(stored.payload, np.uint8)
        return flat.reshape(stored.height, stored.width, 3)
    assert stored.codec is Codec.JPEG
    image = Image.open(io.BytesIO(stored.payload))
    assert image.size == (stored.width, stored.height)
    return np.asarray(image.convert("RGB"))


RGB = StorageOptions(codec="rgb")

LOSSLESS = {
    "png": encoded(photo(), "PNG"),
    "png palette": encoded(photo().quantize(64), "PNG"),
    "png palette with transparency": encoded(photo().quantize(64), "PNG", transparency=3),
    "png alpha": encoded(Image.merge("RGBA", [*photo().split(), photo().getchannel(0)]), "PNG"),
    "png grey": encoded(photo().convert("L"), "PNG"),
    "png grey alpha": encoded(photo().convert("LA"), "PNG"),
    "png 1 bit": encoded(photo().convert("1"), "PNG"),
    "webp": encoded(photo(), "WEBP", lossless=True),
    "webp alpha": encoded(photo().convert("RGBA"), "WEBP", lossless=True),
    "bmp": encoded(photo(), "BMP"),
    "gif": encoded(photo(), "GIF"),
    "gif animation": encoded(photo(), "GIF", save_all=True, append_images=[photo(seed=1)]),
    "tiff": encoded(photo(), "TIFF"),
    "tiff lzw": encoded(photo(), "TIFF", compression="tiff_lzw"),
    "tiff pages": encoded(photo(), "TIFF", save_all=True, append_images=[photo(seed=1)]),
    "ppm": encoded(photo(), "PPM"),
    "jpeg cmyk": encoded(photo().convert("CMYK"), "JPEG", quality=90),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_pixels_are_those_of_pillow_converted_to_rgb(name: str) -> None:
    """Each format is stored with exactly the pixels of Pillow's convert("RGB")."""
    payload = LOSSLESS[name]
    stored = transcode(payload, RGB)
    expected = np.asarray(Image.open(io.BytesIO(payload)).convert("RGB"))
    assert (stored.codec, stored.condition) == (Codec.RGB, Condition.SOUND)
    assert stored.flags == ImageFlag.TRANSCODED
    assert stored.problem is None
    np.testing.assert_array_equal(pixels_of(stored), expected)


@pytest.mark.parametrize("name", LOSSLESS)
def test_default_codec_is_a_jpeg_close_to_the_original(name: str) -> None:
    """The default codec is a plain 4:4:4 JPEG of quality 100, within 2 levels on average."""
    stored = transcode(LOSSLESS[name], StorageOptions())
    assert stored.codec is Codec.JPEG
    image = Image.open(io.BytesIO(stored.payload))
    assert image.mode in ("RGB", "L")
    if image.mode == "RGB":
        assert JpegImagePlugin.get_sampling(image) == 0  # 4:4:4
    expected = pixels_of(transcode(LOSSLESS[name], RGB)).astype(int)
    difference = np.abs(pixels_of(stored).astype(int) - expected)
    assert difference.mean() < 1
    assert difference.max() <= 6


def test_quality_is_that_of_the_options() -> None:
    """A lower quality gives fewer bytes and is what Pillow writes at that quality."""
    stored = transcode(LOSSLESS["png"], StorageOptions(quality=70))
    assert stored.payload == encoded(photo(), "JPEG", quality=70, subsampling=0)


def test_no_metadata_is_carried_into_the_stored_jpeg() -> None:
    """Comments, profiles and EXIF of the source are not written again."""
    exif = Image.Exif()
    exif[0x0112] = 6
    noisy = encoded(photo(), "PNG", exif=exif, icc_profile=b"profile" * 20, dpi=(300, 300))
    stored = transcode(noisy, StorageOptions())
    assert stored.orientation == 6
    assert stored.payload == transcode(LOSSLESS["png"], StorageOptions()).payload
    commented = encoded(photo(), "GIF", comment=b"hello")
    assert b"hello" not in transcode(commented, StorageOptions()).payload


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_orientation_is_recorded_and_not_applied(orientation: int) -> None:
    """The orientation is recorded and height and width stay as stored, also when shrunk."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    for payload in (
        encoded(photo(), "WEBP", exif=exif),
        encoded(photo().convert("CMYK"), "JPEG", exif=exif),
    ):
        stored = transcode(payload, StorageOptions())
        assert (stored.height, stored.width) == (HEIGHT, WIDTH)
        assert stored.orientation == orientation
    shrunk = transcode(encoded(photo(), "JPEG", exif=exif), StorageOptions(max_size=33))
    assert (shrunk.height, shrunk.width, shrunk.orientation) == (22, 33, orientation)


def test_impossible_orientation_counts_as_none() -> None:
    """An orientation outside 1 to 8 is recorded as 0."""
    exif = Image.Exif()
    exif[0x0112] = 42
    assert transcode(encoded(photo(), "PNG", exif=exif), StorageOptions()).orientation == 0


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_is_scaled(kind: str) -> None:
    """16-bit grey is divided by 257 and rounded, not cut off at 255."""
    wide = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    image = Image.fromarray(wide)
    stored = transcode(encoded(image, kind), RGB)
    expected = np.floor(wide.astype(float) / 257 + 0.5)
    np.testing.assert_array_equal(pixels_of(stored), np.repeat(expected[..., None], 3, axis=2))


def reference_yuv420(rgb: np.ndarray) -> np.ndarray:
    """Chroma of the mean of each 2 x 2 block, in floating point."""
    height, width = rgb.shape[:2]
    ch, cw = (height + 1) // 2, (width + 1) // 2
    full = np.pad(rgb.astype(float), ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    mean = full.reshape(ch, 2, cw, 2, 3).mean(axis=(1, 3))
    y = rgb @ np.array([0.299, 0.587, 0.114])
    u = 128 + mean @ np.array([-0.299, -0.587, 0.886]) / 1.772
    v = 128 + mean @ np.array([0.701, -0.587, -0.114]) / 1.402
    return np.concatenate([plane.ravel() for plane in (y, u, v)])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 6), (5, 1), (4, 6), (7, 9)])
def test_yuv420_planes(height: int, width: int) -> None:
    """Planes have ceil(h/2) x ceil(w/2) chroma and round the BT.601 full-range values."""
    rgb = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    payload = encoded(Image.fromarray(rgb), "PNG")
    stored = transcode(payload, StorageOptions(codec="yuv420"))
    assert (stored.codec, stored.height, stored.width) == (Codec.YUV420, height, width)
    planes = np.frombuffer(stored.payload, np.uint8).astype(float)
    expected = reference_yuv420(rgb)
    assert planes.shape == expected.shape
    assert np.abs(planes - expected).max() <= 0.51


def test_yuv420_of_pure_colours_does_not_wrap() -> None:
    """Saturated colours give chroma of 255 and 0 at most, never a wrapped value."""
    for colour in ((255, 0, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 255, 255)):
        rgb = np.full((3, 3, 3), colour, np.uint8)
        planes = rgb_to_yuv420(rgb).astype(float)
        assert np.abs(planes - np.clip(reference_yuv420(rgb), 0, 255)).max() <= 0.51


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_plain_jpeg_comes_back_unchanged(progressive: bool, mode: str) -> None:
    """A plain JPEG that is not too large keeps its bytes."""
    payload = encoded(photo().convert(mode), "JPEG", progressive=progressive)
    stored = transcode(payload, StorageOptions(max_size=WIDTH, codec="rgb"))
    assert stored.payload == payload
    assert (stored.codec, stored.height, stored.width) == (Codec.JPEG, HEIGHT, WIDTH)
    assert bool(stored.flags & ImageFlag.PROGRESSIVE) == progressive


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(("height", "width"), [(400, 600), (600, 400), (640, 70)])
def test_larger_images_are_shrunk(kind: str, height: int, width: int) -> None:
    """The longer side becomes max_size, the aspect ratio stays, and the picture is antialiased."""
    payload = encoded(photo(height, width), kind)
    stored = transcode(payload, StorageOptions(max_size=64, codec="rgb"))
    scale = 64 / max(height, width)
    sides = max(1, round(height * scale)), max(1, round(width * scale))
    assert (stored.height, stored.width) == sides
    whole = Image.open(io.BytesIO(payload)).convert("RGB")
    expected = whole.resize((stored.width, stored.height), Image.Resampling.LANCZOS)
    difference = pixels_of(stored).astype(float) - np.asarray(expected)
    assert np.sqrt((difference**2).mean()) < 2
    assert not stored.flags & ImageFlag.PROGRESSIVE


def test_shrinking_removes_what_would_alias() -> None:
    """A fine checkerboard shrinks to plain grey."""
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    stored = transcode(
        encoded(Image.fromarray(board), "PNG"), StorageOptions(max_size=32, codec="rgb")
    )
    assert np.abs(pixels_of(stored).astype(int) - 127).max() <= 3


def test_images_too_long_for_jpeg_are_stored_as_rgb() -> None:
    """A side that no JPEG can have falls back to the codec rgb."""
    stored = transcode(encoded(Image.new("RGB", (65_536, 1), "red"), "PNG"), StorageOptions())
    assert (stored.codec, stored.height, stored.width) == (Codec.RGB, 1, 65_536)


def test_one_pixel() -> None:
    """An image of one pixel is stored in every codec."""
    payload = encoded(Image.new("RGB", (1, 1), (10, 200, 30)), "PNG")
    for codec, size in (("jpeg", None), ("rgb", 3), ("yuv420", 3)):
        stored = transcode(payload, StorageOptions(codec=codec))  # type: ignore[arg-type]
        assert (stored.height, stored.width) == (1, 1)
        assert size is None or len(stored.payload) == size


@pytest.mark.parametrize("name", LOSSLESS)
def test_cut_off_files_are_damaged_and_keep_their_bytes(name: str) -> None:
    """A file cut to a third is DAMAGED (or UNREADABLE), with its bytes and a reason."""
    payload = LOSSLESS[name][: len(LOSSLESS[name]) // 3]
    stored = transcode(payload, StorageOptions())
    assert stored.condition in (Condition.DAMAGED, Condition.UNREADABLE)
    assert (stored.payload, stored.codec) == (payload, Codec.UNKNOWN)
    assert stored.problem
    assert (stored.condition is Condition.UNREADABLE) == (stored.height == 0)


def test_damaged_plain_jpeg_keeps_its_codec_and_size() -> None:
    """A plain JPEG that breaks off is DAMAGED, codec JPEG, with the size of its header."""
    payload = encoded(photo(), "JPEG")[:-200]
    stored = transcode(payload, StorageOptions(max_size=32))
    assert (stored.condition, stored.codec) == (Condition.DAMAGED, Codec.JPEG)
    assert (stored.height, stored.width, stored.payload) == (HEIGHT, WIDTH, payload)
    assert stored.problem is not None
    assert "truncated" in stored.problem


@pytest.mark.parametrize("payload", [b"", b"\0" * 100, b"not an image", b"\xff\xd8\xff", b"GIF89a"])
def test_what_is_no_image_is_unreadable(payload: bytes) -> None:
    """Bytes that are no image are kept, UNREADABLE, with a reason free of addresses."""
    stored = transcode(payload, StorageOptions())
    assert (stored.condition, stored.codec) == (Condition.UNREADABLE, Codec.UNKNOWN)
    assert (stored.payload, stored.height, stored.width) == (payload, 0, 0)
    assert stored.problem
    assert "0x" not in stored.problem


def test_drawings_are_refused() -> None:
    """PostScript is not handed to an interpreter."""
    stored = transcode(encoded(photo(), "EPS"), StorageOptions())
    assert stored.condition is Condition.UNREADABLE
    assert "EPS" in str(stored.problem)


def png_header(height: int, width: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 100)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_decompression_bomb_is_a_clear_problem() -> None:
    """An image above Pillow's pixel limit is kept, and the problem says which limit."""
    payload = png_header(20_000, 20_000)
    stored = transcode(payload, StorageOptions())
    assert (stored.condition, stored.payload) == (Condition.UNREADABLE, payload)
    assert "400000000 pixels" in str(stored.problem)
    assert "MAX_IMAGE_PIXELS" in str(stored.problem)


def test_oversized_plain_jpeg_keeps_its_size() -> None:
    """A plain JPEG that Pillow finds too large to shrink is DAMAGED, with size and codec."""
    payload = bytearray(encoded(photo(), "JPEG"))
    frame = payload.index(b"\xff\xc0")
    payload[frame + 5 : frame + 9] = struct.pack(">HH", 20_000, 20_000)
    stored = transcode(bytes(payload), StorageOptions(max_size=64))
    assert (stored.condition, stored.codec) == (Condition.DAMAGED, Codec.JPEG)
    assert (stored.height, stored.width) == (20_000, 20_000)


@pytest.mark.parametrize("name", LOSSLESS)
def test_broken_files_never_raise(name: str) -> None:
    """Whatever bytes change or end, the result is a StoredImage."""
    rng = np.random.default_rng(1)
    for _ in range(60):
        payload = bytearray(LOSSLESS[name])
        for position in rng.integers(0, min(len(payload), 400), 4):
            payload[position] = rng.integers(256)
        cut = bytes(payload[: rng.integers(1, len(payload) + 1)])
        stored = transcode(cut, StorageOptions())
        assert stored.payload == cut or stored.flags & ImageFlag.TRANSCODED
        assert (stored.problem is None) == (stored.condition is Condition.SOUND)


def test_result_is_the_same_from_many_threads() -> None:
    """Threads give the bytes that one thread gives."""
    payloads = list(LOSSLESS.values()) * 3
    alone = [transcode(payload, StorageOptions()) for payload in payloads]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda payload: transcode(payload, StorageOptions()), payloads))
    assert together == alone


def test_global_leniency_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """LOAD_TRUNCATED_IMAGES changes nothing, and is as before afterwards."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    payload = encoded(photo(), "JPEG")[:-200]
    assert transcode(payload, StorageOptions()).condition is Condition.DAMAGED
    with pytest.raises(ImageDecodeError, match="truncated"):
        decode_image(payload)
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_pillow_warnings_do_not_leak() -> None:
    """Pillow's warnings are neither shown nor turned into errors; others still are."""
    warned = encoded(photo().quantize(8), "PNG", transparency=bytes(range(8)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="Palette"):
            Image.open(io.BytesIO(warned)).convert("RGB")
        before = list(warnings.filters)
        assert transcode(warned, StorageOptions()).condition is Condition.SOUND
        assert list(warnings.filters) == before
        with StrictPillow(), StrictPillow(), pytest.raises(UserWarning, match="ours"):
            warnings.warn("ours", stacklevel=1)


def test_the_shorter_side_never_vanishes() -> None:
    """A very narrow image keeps at least one pixel when it is shrunk."""
    stored = transcode(encoded(photo(900, 3), "JPEG"), StorageOptions(max_size=64))
    assert (stored.height, stored.width) == (64, 1)


def png(seed: int, height: int, width: int) -> bytes:
    """A PNG file of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_smart_chooses_by_the_bytes_of_the_pixels() -> None:
    """Up to the threshold pixels are stored, above it JPEG files; after shrinking."""
    options = StorageOptions(codec="smart", smart_threshold=3 * 20 * 30)
    assert transcode(png(0, 20, 30), options).codec is Codec.RGB
    assert transcode(png(0, 20, 31), options).codec is Codec.JPEG
    shrunk = StorageOptions(codec="smart", smart_threshold=3 * 20 * 30, max_size=30)
    assert transcode(png(0, 40, 60), shrunk).codec is Codec.RGB


def test_a_proportion_is_chosen_by_the_image_alone() -> None:
    """About that part of the images are JPEG files, the same ones whenever they are asked for."""
    files = [png(seed, 4, 5) for seed in range(200)]
    for proportion, low, high in ((0.0, 0, 0), (0.3, 40, 82), (1.0, 200, 200)):
        options = StorageOptions(codec="proportion", jpeg_proportion=proportion)
        chosen = [transcode(file, options).codec is Codec.JPEG for file in files]
        assert low <= sum(chosen) <= high
        assert chosen[::-1] == [transcode(f, options).codec is Codec.JPEG for f in files[::-1]]
