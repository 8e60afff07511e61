"""Planes of the native decoder: libjpeg-turbo's bit for bit; its RGB pixels: Pillow's."""

from __future__ import annotations

import ctypes
import functools
import io
import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from slipstream_decoders import (
    BatchContext,
    Boxes,
    DecodeStatus,
    EncodedBatch,
    crop_images,
    decode_images,
    find_turbojpeg,
)
from slipstream_decoders.engines.native import NativeDecoder
from slipstream_decoders.seek_points import build_seek_points

Planes = list[NDArray[np.uint8]]

_SAMPLINGS = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2), "gray": (1, 1)}
"""What Pillow writes: luma pixels for one chroma pixel, down and across."""
_TURBOJPEG_SAMPLINGS = {4: (2, 1), 5: (1, 4)}
"""Numbers of turbojpeg.h: 4:4:0 and 4:1:1."""
_OPTIONS: list[dict[str, object]] = [
    {},
    {"optimize": True},
    {"restart_marker_blocks": 1},
    {"restart_marker_blocks": 5, "optimize": True},
    {"restart_marker_rows": 1},
]

_WHOLE = "SLIPSTREAM_WHOLE_FAMILY"

_needs_turbojpeg = pytest.mark.skipif(find_turbojpeg() is None, reason="no TurboJPEG library")


_decoder = functools.cache(NativeDecoder)


def _picture(height: int, width: int, seed: int) -> Image.Image:
    """Smooth, with noise and hard edges: all sizes of coefficients."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 6 + 1, width // 6 + 1, 3), np.uint8)
    kind = Image.Resampling.BICUBIC if seed % 2 else Image.Resampling.NEAREST
    pixels = np.asarray(Image.fromarray(coarse).resize((width, height), kind)).astype(int)
    noise = rng.normal(0, (0, 3, 40)[seed % 3], pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def _jpeg(image: Image.Image, sampling: str, quality: int, options: dict[str, object]) -> bytes:
    file = io.BytesIO()
    if sampling == "gray":
        image.convert("L").save(file, "JPEG", quality=quality, **options)
    else:
        image.save(file, "JPEG", quality=quality, subsampling=sampling, **options)
    return file.getvalue()


_QUALITIES = [1, 20, 75, 90, 97, 100]
_Case = tuple[str, int, dict[str, object], int, int]


def _family() -> Iterator[_Case]:
    """All samplings x sizes x qualities x ways of writing."""
    kinds = itertools.product(_SAMPLINGS, _QUALITIES, _OPTIONS)
    for sampling, quality, options in kinds:
        for height, width in itertools.product(range(1, 41), range(1, 41)):
            yield sampling, quality, options, height, width


def _pairs() -> Iterator[_Case]:
    """Every size with every sampling, each of which sees all of the others many times."""
    ways = list(itertools.product(_QUALITIES, _OPTIONS))
    sizes = itertools.product(range(1, 41), range(1, 41))
    for number, (height, width) in enumerate(sizes):
        for turn, sampling in enumerate(_SAMPLINGS):
            yield sampling, *ways[(number + 8 * turn) % len(ways)], height, width


def _by_turbojpeg(payload: bytes, height: int, width: int, ratio: tuple[int, int]) -> Planes:
    library = find_turbojpeg()
    assert library is not None
    handle = library.new_handle()
    down, across = ratio
    chroma = -(-height // down), -(-width // across)
    shapes = [(chroma[0] * down, chroma[1] * across), chroma, chroma]
    planes = [np.zeros(shape, np.uint8) for shape in shapes]
    to_planes = ctypes.CFUNCTYPE(
        ctypes.c_int,
        *[ctypes.c_void_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_void_p],
        *[ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int],
    )(int(library.addresses[2]))
    addresses = (ctypes.c_void_p * 3)(*[plane.ctypes.data for plane in planes])
    code = to_planes(handle, payload, len(payload), addresses, width, None, height, 0)
    assert code == 0, library.last_message(handle)
    library.free_handle(handle)
    return [planes[0][:height, :width], *planes[1:]]


def _decode(batch: EncodedBatch, window: tuple[int, int, int, int] | None = None) -> Planes:
    status, planes = _decoder().planes(batch, 0, window)
    assert status == DecodeStatus.OK
    return planes


def _check(payload: bytes, ratio: tuple[int, int], generator: random.Random) -> None:
    """Whole planes equal libjpeg-turbo's, windows equal the whole's parts."""
    batch = EncodedBatch.from_payloads([payload])
    height, width = int(batch.heights[0]), int(batch.widths[0])
    whole = _decode(batch)
    expected = _by_turbojpeg(payload, height, width, ratio)
    for plane, reference in zip(whole, expected[: len(whole)], strict=True):
        np.testing.assert_array_equal(plane[: reference.shape[0], : reference.shape[1]], reference)
    points = build_seek_points(batch)
    assert not points.statuses.any()
    pointed = batch.with_seek_points(points.data, points.offsets, points.sizes)
    _check_windows(batch, pointed, whole, generator)
    _check_rgb(payload, batch, pointed, generator)


def _check_rgb(
    payload: bytes, batch: EncodedBatch, pointed: EncodedBatch, generator: random.Random
) -> None:
    """The whole image equals Pillow's, and crops that are not resized equal its parts."""
    with Image.open(io.BytesIO(payload)) as image:
        expected = np.asarray(image.convert("RGB"))
    context = BatchContext(np.arange(1), seed=0)
    (pixels,) = decode_images(batch, context, engine="native")
    np.testing.assert_array_equal(pixels, expected)
    height, width = expected.shape[:2]
    for source in (batch, pointed):
        x, x_end = sorted(generator.sample(range(width + 1), 2))
        y, y_end = sorted(generator.sample(range(height + 1), 2))
        boxes = Boxes.of_crops(np.array([[x, y, x_end - x, y_end - y]], np.int32))
        size = y_end - y, x_end - x
        (crop,) = crop_images(source, boxes, size, context, quality="exact", engine="native")
        np.testing.assert_array_equal(crop, expected[y:y_end, x:x_end])


def _check_windows(
    batch: EncodedBatch, pointed: EncodedBatch, whole: Planes, generator: random.Random
) -> None:
    decoder = _decoder()
    assert decoder.planes(batch, 0)[0] == DecodeStatus.OK
    mcu_rows, mcus_across = int(decoder.header[7]), int(decoder.header[8])
    for _ in range(2):
        x_begin, x_end = sorted(generator.sample(range(mcus_across + 1), 2))
        y_begin, y_end = sorted(generator.sample(range(mcu_rows + 1), 2))
        for source in (batch, pointed):
            parts = _decode(source, (x_begin, y_begin, x_end, y_end))
            for part, plane in zip(parts, whole, strict=True):
                down, across = plane.shape[0] // mcu_rows, plane.shape[1] // mcus_across
                expected = plane[y_begin * down : y_end * down, x_begin * across : x_end * across]
                np.testing.assert_array_equal(part, expected)


def _check_generated(case: tuple[str, int, dict[str, object], int, int]) -> None:
    sampling, quality, options, height, width = case
    image = _picture(height, width, 41 * height + width)
    payload = _jpeg(image, sampling, quality, options)
    _check(payload, _SAMPLINGS[sampling], random.Random(0))


@_needs_turbojpeg
def test_planes_of_a_generated_family_are_libjpeg_turbos() -> None:
    """A sample of all samplings, sizes, qualities, restart intervals and optimised tables."""
    for case in random.Random(1).sample(list(_family()), 250):
        _check_generated(case)


@_needs_turbojpeg
@pytest.mark.slow
def test_planes_of_all_sizes_are_libjpeg_turbos() -> None:
    """Every size from 1 to 40 with every sampling, qualities and ways of writing in turn."""
    found: dict[str, set[object]] = {name: set() for name in _SAMPLINGS}
    for sampling, quality, options, height, width in _pairs():
        _check_generated((sampling, quality, options, height, width))
        found[sampling].add((quality, _OPTIONS.index(options)))
    assert min(map(len, found.values())) == len(_QUALITIES) * len(_OPTIONS)


@_needs_turbojpeg
@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.skipif(not os.environ.get(_WHOLE), reason=f"many minutes: set {_WHOLE}=1")
def test_planes_of_the_whole_generated_family_are_libjpeg_turbos() -> None:
    """Every sampling, size, quality and way of writing."""
    for case in _family():
        _check_generated(case)


@_needs_turbojpeg
def test_planes_of_photos_are_libjpeg_turbos(photos: list[Path]) -> None:
    """Real photos whole, and two random windows of each."""
    generator = random.Random(2)
    for path in photos:
        with Image.open(path) as image:
            layers = image.layer  # type: ignore[attr-defined]
        payload = path.read_bytes()
        ratio = layers[0][2] // layers[-1][2], layers[0][1] // layers[-1][1]
        _check(payload, ratio if len(layers) == 3 else (1, 1), generator)


def _by_turbojpeg_encoder(image: Image.Image, sampling: int) -> bytes:
    library = find_turbojpeg()
    assert library is not None
    dll = ctypes.CDLL(library.path)
    dll.tjInitCompress.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(dll.tjInitCompress())
    pixels = np.ascontiguousarray(image)
    height, width = pixels.shape[:2]
    buffer, size = ctypes.c_void_p(), ctypes.c_ulong()
    source = ctypes.c_void_p(pixels.ctypes.data)
    targets = ctypes.byref(buffer), ctypes.byref(size)
    assert dll.tjCompress2(handle, source, width, 0, height, 0, *targets, sampling, 90, 0) == 0
    payload = ctypes.string_at(buffer, size.value)
    dll.tjFree(buffer)
    dll.tjDestroy(handle)
    return payload


@_needs_turbojpeg
@pytest.mark.parametrize("sampling", list(_TURBOJPEG_SAMPLINGS))
def test_rare_samplings_are_libjpeg_turbos(sampling: int) -> None:
    """4:4:0 and 4:1:1, which Pillow does not write."""
    generator = random.Random(sampling)
    for seed in range(30):
        height, width = generator.randint(1, 70), generator.randint(1, 70)
        payload = _by_turbojpeg_encoder(_picture(height, width, seed), sampling)
        _check(payload, _TURBOJPEG_SAMPLINGS[sampling], generator)


@_needs_turbojpeg
def test_quantisation_tables_of_16_bits_are_libjpeg_turbos() -> None:
    """Extended sequential: factors above 255."""
    table = [1 + 13 * i for i in range(64)]
    file = io.BytesIO()
    _picture(50, 61, 5).save(file, "JPEG", qtables=[table, table])
    payload = file.getvalue()
    assert b"\xff\xc1" in payload
    _check(payload, (2, 2), random.Random(0))


def test_gray_planes_are_pillows() -> None:
    """A check that needs no library: Pillow gives the luma plane as it is."""
    for seed in range(20):
        payload = _jpeg(_picture(7 + 3 * seed, 50 - seed, seed), "gray", 85, {})
        expected = np.asarray(Image.open(io.BytesIO(payload)))
        (plane,) = _decode(EncodedBatch.from_payloads([payload]))
        np.testing.assert_array_equal(plane[: expected.shape[0], : expected.shape[1]], expected)


def test_fill_bytes_and_comments_are_skipped() -> None:
    """Before markers any number of 0xFF may stand, also at the end of the scan."""
    payload = _jpeg(_picture(40, 40, 1), "4:2:0", 80, {"restart_marker_blocks": 2})
    at = payload.index(b"\xff\xdb")
    padded = payload[:at] + b"\xff\xff\xff\xfe\x00\x04hi\xff\xff" + payload[at:-2]
    padded = padded.replace(b"\xff\xd0", b"\xff\xff\xff\xd0") + b"\xff\xff\xff\xd9"
    expected = _decode(EncodedBatch.from_payloads([payload]))
    for plane, reference in zip(
        _decode(EncodedBatch.from_payloads([padded])), expected, strict=True
    ):
        np.testing.assert_array_equal(plane, reference)
