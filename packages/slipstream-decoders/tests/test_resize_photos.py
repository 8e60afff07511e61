"""resize_planar on real photos against Pillow's decode, crop and resize."""

from __future__ import annotations

import ctypes
import ctypes.util
import io
import math
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from slipstream_decoders._kernels.planar_output import UINT8_PIXELS
from slipstream_decoders._kernels.resize_planar import planar_workspace_size, resize_planar
from slipstream_decoders._kernels.status import OK

_SIZE = 224
_RATIOS = [(1, 1), (1, 2), (2, 2), (0, 0), (2, 1), (1, 4)]  # (down, across), as TJSAMP counts


def _photos() -> list[Path]:
    default = Path(__file__).parents[3] / ".." / "shared" / "data" / "photos"
    folder = Path(os.environ.get("SLIPSTREAM_TEST_PHOTOS", default))
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg"})
    if len(files) < 100:
        pytest.skip("needs 100 photos or more in the folder SLIPSTREAM_TEST_PHOTOS")
    return files


def _library() -> Any:
    name = ctypes.util.find_library("turbojpeg") or "libturbojpeg.so.0"
    try:
        library = ctypes.CDLL(name)
    except OSError:
        pytest.skip("needs libturbojpeg, to decode JPEGs to planes")
    library.tjInitDecompress.restype = ctypes.c_void_p
    return library


class _PlaneDecoder:
    """JPEG bytes -> (Y, Cb, Cr), chroma ratio."""

    def __init__(self) -> None:
        self._library = _library()
        self._handle = ctypes.c_void_p(self._library.tjInitDecompress())

    def __call__(self, data: bytes) -> tuple[list[NDArray[np.uint8]], tuple[int, int]]:
        size = ctypes.c_ulong(len(data))
        width, height, sampling, space = (ctypes.c_int() for _ in range(4))
        numbers = [ctypes.byref(number) for number in (width, height, sampling, space)]
        assert self._library.tjDecompressHeader3(self._handle, data, size, *numbers) == 0
        ratio = _RATIOS[sampling.value]
        shapes = [(height.value, width.value)]
        if ratio != (0, 0):
            shapes += [(-(-height.value // ratio[0]), -(-width.value // ratio[1]))] * 2
        # the library writes rows up to a multiple of the sampling factors
        planes = [np.zeros((rows + 4, columns + 8), np.uint8) for rows, columns in shapes]
        pointers = (ctypes.c_void_p * 3)(*(plane.ctypes.data for plane in planes))
        strides = (ctypes.c_int * 3)(*(plane.strides[0] for plane in planes))
        status = self._library.tjDecompressToYUVPlanes(
            self._handle, data, size, pointers, 0, strides, 0, 0
        )
        assert status == 0
        return [p[: s[0], : s[1]] for p, s in zip(planes, shapes, strict=True)], ratio

    def close(self) -> None:
        self._library.tjDestroy(self._handle)


def _random_crop(generator: random.Random, height: int, width: int) -> tuple[int, int, int, int]:
    """8 to 100 % of the area, aspect ratio 3/4 to 4/3."""
    while True:
        area = height * width * generator.uniform(0.08, 1)
        ratio = math.exp(generator.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return generator.randint(0, width - w), generator.randint(0, height - h), w, h


def _resize(
    planes: list[NDArray[np.uint8]], ratio: tuple[int, int], box: tuple[int, int, int, int]
) -> NDArray[np.uint8]:
    luma, blue, red = planes if len(planes) == 3 else [planes[0]] * 3
    x, y, width, height = (float(value) for value in box)
    output = np.empty((_SIZE, _SIZE, 3), np.uint8)
    workspace = np.empty(planar_workspace_size(box[3], box[2], _SIZE, _SIZE), np.uint8)
    status = resize_planar(
        luma.ctypes.data,
        luma.strides[0],
        blue.ctypes.data,
        red.ctypes.data,
        blue.strides[0],
        *ratio,
        luma.shape[0],
        luma.shape[1],
        x,
        y,
        width,
        height,
        *box,
        False,
        UINT8_PIXELS,
        output.ctypes.data,
        output.strides[0],
        _SIZE,
        _SIZE,
        0,
        workspace.ctypes.data,
        workspace.size,
    )
    assert status == OK
    return output


def _reencoded(path: Path) -> bytes:
    stream = io.BytesIO()
    with Image.open(path) as photo:
        photo.convert("RGB").save(stream, "JPEG", quality=90, subsampling="4:2:0")
    return stream.getvalue()


@pytest.mark.parametrize("source", ["original", "quality 90, 4:2:0"])
def test_photos_are_close_to_pillow(source: str) -> None:
    """Mean PSNR >= 48 dB, first percentile >= 40 dB, mean difference <= 0.5 level."""
    decode = _PlaneDecoder()
    generator = random.Random(1)
    psnrs, means = [], []
    for path in _photos():
        data = path.read_bytes() if source == "original" else _reencoded(path)
        with Image.open(io.BytesIO(data)) as opened:
            if opened.format != "JPEG" or opened.mode not in {"RGB", "L"}:
                continue
            photo = opened.convert("RGB")
        box = _random_crop(generator, photo.height, photo.width)
        x, y, width, height = box
        crop = photo.crop((x, y, x + width, y + height))
        pillow = np.asarray(crop.resize((_SIZE, _SIZE), Image.Resampling.BILINEAR))
        difference = _resize(*decode(data), box).astype(np.float64) - pillow
        psnrs.append(10 * math.log10(255**2 / max(float((difference**2).mean()), 1e-9)))
        means.append(float(np.abs(difference).mean()))
    decode.close()
    assert len(psnrs) >= 100
    figures = (np.mean(psnrs), np.percentile(psnrs, 1), np.mean(means))
    assert figures[0] >= 48, figures
    assert figures[1] >= 40, figures
    assert figures[2] <= 0.5, figures
