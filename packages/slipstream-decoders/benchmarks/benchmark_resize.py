"""Microseconds for one random crop resized to 224 x 224, by each resizer and by Pillow.

Photos are decoded beforehand: to RGB, and to 4:2:0 planes. The methods take turns on the same
crops, so that what else the machine does falls on all of them; each gives the median over the
rounds of the mean over the crops, on one core. Outputs rotate over 64 buffers, as in a batch.

    python benchmarks/benchmark_resize.py --photos FOLDER --rounds 15
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray
from PIL import Image

from slipstream_decoders._kernels.planar_output import (
    FLOAT16_PIXELS,
    FLOAT32_PIXELS,
    UINT8_PIXELS,
    pixel_size,
)
from slipstream_decoders._kernels.resize_planar import planar_workspace_size, resize_planar
from slipstream_decoders._kernels.resize_rgb import resize_rgb, rgb_workspace_size

_SIZE = 224
_BUFFERS = 64

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compile(function: _Function) -> _Function:
    return cast(_Function, njit(nogil=True)(function))


@dataclass(frozen=True)
class _Photo:
    """One photo in all forms, and the crop to take."""

    image: Image.Image
    rgb: NDArray[np.uint8]
    luma: NDArray[np.uint8]
    chroma: NDArray[np.uint8]
    box: tuple[int, int, int, int]


def _random_crop(generator: random.Random, height: int, width: int) -> tuple[int, int, int, int]:
    """8 to 100 % of the area, aspect ratio 3/4 to 4/3."""
    while True:
        area = height * width * generator.uniform(0.08, 1)
        ratio = math.exp(generator.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return generator.randint(0, width - w), generator.randint(0, height - h), w, h


def _photo(image: Image.Image, generator: random.Random) -> _Photo:
    image = image.convert("RGB").crop((0, 0, image.width // 2 * 2, image.height // 2 * 2))
    luma, *chroma = (np.asarray(plane) for plane in image.convert("YCbCr").split())
    halves = np.stack(chroma).reshape(2, image.height // 2, 2, image.width // 2, 2)
    return _Photo(
        image,
        np.array(image),
        luma.copy(),
        halves.mean(axis=(2, 4)).round().astype(np.uint8),
        _random_crop(generator, image.height, image.width),
    )


def _photos(folder: Path | None, count: int) -> list[_Photo]:
    generator = random.Random(0)
    if folder is None:
        noise = np.random.default_rng(0)
        images = [
            Image.fromarray(noise.integers(0, 256, (375, 500, 3), dtype=np.uint8))
            for _ in range(count)
        ]
        return [_photo(image, generator) for image in images]
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"})
    photos = []
    for path in files[:count]:
        with Image.open(path) as image:
            photos.append(_photo(image, generator))
    return photos


@_compile
def _planar_loop(
    numbers: NDArray[np.int64], kind: int, output: int, scales: int, work: int, work_size: int
) -> int:
    """Sum of the statuses over rows of (luma, blue, red, height, width, box)."""
    failures = 0
    pitch = pixel_size(kind) * _SIZE
    for row in range(numbers.shape[0]):
        luma, blue, red, height, width, x, y, w, h = numbers[row]
        failures += resize_planar(
            luma,
            width,
            blue,
            red,
            width // 2,
            2,
            2,
            height,
            width,
            float(x),
            float(y),
            float(w),
            float(h),
            x,
            y,
            w,
            h,
            row % 2 == 1,
            kind,
            output + row % _BUFFERS * (12 * _SIZE * _SIZE),
            pitch,
            _SIZE,
            _SIZE,
            scales,
            work,
            work_size,
        )
    return failures


@_compile
def _rgb_loop(numbers: NDArray[np.int64], output: int, work: int, work_size: int) -> int:
    """Sum of the statuses over rows of (pixels, height, width, box)."""
    failures = 0
    for row in range(numbers.shape[0]):
        pixels, height, width, x, y, w, h = numbers[row]
        failures += resize_rgb(
            pixels,
            3 * width,
            height,
            width,
            float(x),
            float(y),
            float(w),
            float(h),
            x,
            y,
            w,
            h,
            row % 2 == 1,
            output + row % _BUFFERS * (12 * _SIZE * _SIZE),
            3 * _SIZE,
            _SIZE,
            _SIZE,
            work,
            work_size,
        )
    return failures


def _methods(photos: list[_Photo]) -> dict[str, Callable[[], None]]:
    sides = [photo.box[2:] for photo in photos]
    largest = max(h for _, h in sides), max(w for w, _ in sides)
    work = np.zeros(
        max(size(*largest, _SIZE, _SIZE) for size in (planar_workspace_size, rgb_workspace_size)),
        np.uint8,
    )
    output = np.zeros((_BUFFERS, 12 * _SIZE * _SIZE), np.uint8)
    scales = np.array([1 / 58, 1 / 57, 1 / 57, -2.1, -2.0, -1.8], np.float32)
    planar = np.array(
        [
            (
                photo.luma.ctypes.data,
                photo.chroma[0].ctypes.data,
                photo.chroma[1].ctypes.data,
                *photo.luma.shape,
                *photo.box,
            )
            for photo in photos
        ]
    )
    rgb = np.array([(photo.rgb.ctypes.data, *photo.luma.shape, *photo.box) for photo in photos])

    def run_planar(kind: int) -> None:
        addresses = (output.ctypes.data, scales.ctypes.data, work.ctypes.data)
        assert _planar_loop(planar, kind, *addresses, work.size) == 0

    def run_rgb() -> None:
        assert _rgb_loop(rgb, output.ctypes.data, work.ctypes.data, work.size) == 0

    def run_pillow() -> None:
        for photo in photos:
            x, y, w, h = photo.box
            crop = photo.image.crop((x, y, x + w, y + h))
            crop.resize((_SIZE, _SIZE), Image.Resampling.BILINEAR)

    return {
        "planar, uint8": lambda: run_planar(UINT8_PIXELS),
        "planar, float32 pixels": lambda: run_planar(FLOAT32_PIXELS),
        "planar, float16 pixels": lambda: run_planar(FLOAT16_PIXELS),
        "rgb": run_rgb,
        "Pillow": run_pillow,
    }


def _measure(methods: dict[str, Callable[[], None]], rounds: int, count: int) -> dict[str, float]:
    for method in methods.values():
        method()
    times: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(rounds):
        for name, method in methods.items():
            start = time.perf_counter()
            method()
            times[name].append((time.perf_counter() - start) / count * 1e6)
    return {name: round(statistics.median(values), 1) for name, values in times.items()}


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of photos; noise images without it")
    parser.add_argument("--count", type=int, default=200, help="photos to use at most")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    photos = _photos(arguments.photos, arguments.count)
    pixels = statistics.mean(photo.box[2] * photo.box[3] for photo in photos)
    result = {
        "microseconds": _measure(_methods(photos), arguments.rounds, len(photos)),
        "crops": len(photos),
        "mean_crop_pixels": round(pixels),
    }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
