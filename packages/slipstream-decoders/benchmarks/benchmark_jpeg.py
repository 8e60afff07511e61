"""Microseconds for one JPEG: the native decoder beside libjpeg-turbo, on one core.

The methods take turns, so that what else the machine does falls on all of them, and CPU time is
counted. Crops are RandomResizedCrop's. Ratios are medians over the rounds of libjpeg-turbo's time
for whole images, in the same round, over the method's: to planes, or to RGB where the method makes
RGB at full size.

    python benchmarks/benchmark_jpeg.py --photos FOLDER --quality 90 --rounds 15
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray
from photo_payloads import photo_payloads

from slipstream_decoders import Boxes, EncodedBatch, random_resized_boxes, whole_image_boxes
from slipstream_decoders._kernels.c_call import call_c
from slipstream_decoders._kernels.jpeg.crop import (
    Scratch,
    crop_run,
    layout_planes,
    plane_bytes_for,
    window_of,
)
from slipstream_decoders._kernels.jpeg.parse import (
    HEADER_WORDS,
    MCU_ROWS,
    MCU_WIDTH,
    MCUS_ACROSS,
    parse_header,
)
from slipstream_decoders._kernels.jpeg.planes import (
    Memory,
    Window,
    build_points,
    data_bytes_for,
    decode_planes,
    prepare_workspace,
)
from slipstream_decoders._kernels.jpeg.rgb import Part, PartScratch, decode_part, part_bytes_for
from slipstream_decoders._kernels.jpeg.seek import points_size
from slipstream_decoders._kernels.jpeg.workspace import WORKSPACE_BYTES
from slipstream_decoders._kernels.resize_planar import planar_workspace_size
from slipstream_decoders._kernels.turbojpeg import decode_rgb
from slipstream_decoders._turbojpeg.library import load_turbojpeg
from slipstream_decoders.seek_points import SeekPoints
from slipstream_decoders.views import View, addresses_of, crops_of

_SIZE = 224
_REFERENCE = "libjpeg-turbo, whole"
_RGB_REFERENCE = "libjpeg-turbo, whole to RGB"

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compile(function: _Function) -> _Function:
    return cast(_Function, njit(nogil=True)(function))


@_compile
def _turbojpeg_loop(
    to_planes: int,
    handle: int,
    addresses: NDArray[np.int64],
    sizes: NDArray[np.int64],
    heights: NDArray[np.int32],
    widths: NDArray[np.int32],
    planes: NDArray[np.int64],
) -> int:
    failures = 0
    for row in range(addresses.size):
        width, height = np.int64(widths[row]), np.int64(heights[row])
        target = planes.ctypes.data
        arguments = (handle, addresses[row], sizes[row], target, width, 0, height, 0)
        failures += call_c(to_planes, arguments)
    return failures


@_compile
def _planes_loop(
    addresses: NDArray[np.int64],
    sizes: NDArray[np.int64],
    points: NDArray[np.int64],
    points_sizes: NDArray[np.int64],
    bounds: NDArray[np.int32],
    pixels: int,
    header: NDArray[np.int64],
    memory: Memory,
) -> int:
    """Sum of the statuses; a width of 0 means the whole image."""
    failures = 0
    for row in range(addresses.size):
        failures += parse_header(addresses[row], sizes[row], header)
        x, y, width, height = bounds[row]
        x_end, y_end, x_begin, y_begin = header[MCUS_ACROSS], header[MCU_ROWS], 0, 0
        if width > 0:
            x_begin, y_begin, x_end, y_end = window_of(
                header, np.int64(x), np.int64(y), np.int64(width), np.int64(height)
            )
        window = Window(x_begin, y_begin, x_end, y_end)
        planes, _ = layout_planes(header, window, pixels)
        failures += decode_planes(
            addresses[row],
            sizes[row],
            header,
            window,
            planes,
            points[row],
            points_sizes[row],
            memory,
        )
    return failures


@_compile
def _turbojpeg_rgb_loop(
    functions: NDArray[np.int64],
    handle: int,
    addresses: NDArray[np.int64],
    sizes: NDArray[np.int64],
    heights: NDArray[np.int32],
    widths: NDArray[np.int32],
    header: int,
    pixels: int,
) -> int:
    failures = 0
    for row in range(addresses.size):
        width, height = np.int64(widths[row]), np.int64(heights[row])
        failures += decode_rgb(
            functions, handle, addresses[row], sizes[row], height, width, header, pixels
        )
    return failures


@_compile
def _rgb_loop(
    parts: NDArray[np.int64], header: NDArray[np.int64], pixels: int, scratch: PartScratch
) -> int:
    """Sum of the statuses; a row of ``parts`` has the fields of a ``Part``."""
    failures = 0
    for row in range(parts.shape[0]):
        p = parts[row]
        part = Part(p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9])
        failures += decode_part(part, header, pixels, 3 * part.part_width, scratch)
    return failures


@_compile
def _points_loop(
    addresses: NDArray[np.int64],
    sizes: NDArray[np.int64],
    pixels: int,
    points: NDArray[np.int64],
    points_sizes: NDArray[np.int64],
    header: NDArray[np.int64],
    memory: Memory,
) -> int:
    failures = 0
    for row in range(addresses.size):
        failures += parse_header(addresses[row], sizes[row], header)
        step = max(1, pixels // header[MCU_WIDTH])
        failures += build_points(
            addresses[row], sizes[row], header, step, points[row], points_sizes[row], memory
        )
    return failures


class _Bench:
    """A batch of images, a decoder's memory, and the methods."""

    def __init__(self, batch: EncodedBatch, pixels: int) -> None:
        self.batch, self.pixels = batch, pixels
        ids = np.arange(len(batch), dtype=np.int64)
        self.boxes = random_resized_boxes(
            batch.heights, batch.widths, (0.08, 1.0), (3 / 4, 4 / 3), 9, ids, np.zeros_like(ids)
        )
        self.header = np.zeros(HEADER_WORDS, np.int64)
        self._workspace = np.zeros(WORKSPACE_BYTES, np.uint8)
        prepare_workspace(self._workspace.ctypes.data)
        self._data = np.empty(data_bytes_for(int(batch.sizes.max())), np.uint8)
        self.memory = Memory(self._workspace.ctypes.data, self._data.ctypes.data, self._data.nbytes)
        height, width = int(batch.heights.max()), int(batch.widths.max())
        self._pixels = np.zeros(plane_bytes_for(height, width), np.uint8)
        self._part = np.zeros(part_bytes_for(height, width), np.uint8)
        self._work = np.zeros(planar_workspace_size(height, width, _SIZE, _SIZE), np.uint8)
        self._out = np.zeros((len(batch), _SIZE, _SIZE, 3), np.uint8)
        self.points = self._make_points()

    def _make_points(self) -> SeekPoints:
        sizes = np.zeros(len(self.batch), np.int64)
        for row in range(len(self.batch)):
            address, size = int(self.batch.addresses[row]), int(self.batch.sizes[row])
            assert parse_header(address, size, self.header) == 0
            sizes[row] = points_size(
                self.header, max(1, self.pixels // int(self.header[MCU_WIDTH]))
            )
        data = np.zeros(int(sizes.sum()), np.uint8)
        statuses = np.zeros(len(sizes), np.int32)
        return SeekPoints(data, np.cumsum(sizes) - sizes, sizes, statuses)

    def turbojpeg(self) -> Callable[[], int]:
        library = load_turbojpeg()
        handle, batch = library.new_handle(), self.batch
        third = self._pixels.size // 3
        planes = self._pixels.ctypes.data + third * np.arange(3)
        return lambda: _turbojpeg_loop(
            int(library.addresses[2]),
            handle,
            batch.addresses,
            batch.sizes,
            batch.heights,
            batch.widths,
            planes,
        )

    def turbojpeg_rgb(self) -> Callable[[], int]:
        library = load_turbojpeg()
        handle, batch, header = library.new_handle(), self.batch, np.zeros(64, np.uint8)
        return lambda: _turbojpeg_rgb_loop(
            library.addresses,
            handle,
            batch.addresses,
            batch.sizes,
            batch.heights,
            batch.widths,
            header.ctypes.data,
            self._pixels.ctypes.data,
        )

    def rgb(self, bounds: NDArray[np.int32]) -> int:
        batch = self.batch
        points = self.points.data.ctypes.data + self.points.offsets
        parts = [batch.addresses, batch.sizes, points, self.points.sizes]
        shapes = [batch.heights, batch.widths, *bounds[:, [0, 1, 3, 2]].T]
        return _rgb_loop(
            np.stack([*parts, *(column.astype(np.int64) for column in shapes)], 1),
            self.header,
            self._pixels.ctypes.data,
            PartScratch(self.memory, self._part.ctypes.data, self._part.nbytes),
        )

    def make_points(self) -> int:
        addresses = self.points.data.ctypes.data + self.points.offsets
        return _points_loop(
            self.batch.addresses,
            self.batch.sizes,
            self.pixels,
            addresses,
            self.points.sizes,
            self.header,
            self.memory,
        )

    def planes(self, bounds: NDArray[np.int32], *, from_points: bool) -> int:
        points = self.points.data.ctypes.data + self.points.offsets
        return _planes_loop(
            self.batch.addresses,
            self.batch.sizes,
            points if from_points else np.zeros_like(points),
            self.points.sizes,
            bounds,
            self._pixels.ctypes.data,
            self.header,
            self.memory,
        )

    def crops(self) -> int:
        batch, rows = self.batch, np.arange(len(self.batch))
        out = self._out  # fresh memory would cost page faults, which batches of a loader do not
        statuses = np.zeros(len(batch), np.int32)
        crop_run(
            rows,
            batch.addresses,
            batch.sizes,
            self.points.data.ctypes.data + self.points.offsets,
            self.points.sizes,
            batch.heights,
            batch.widths,
            crops_of([View(self.boxes, (_SIZE, _SIZE))], addresses_of(out)[None]),
            self.header,
            Scratch(
                self.memory,
                self._pixels.ctypes.data,
                self._pixels.nbytes,
                self._work.ctypes.data,
                self._work.nbytes,
                np.empty((1, 4), np.int64),
                np.empty((2, 4), np.int64),
            ),
            statuses,
        )
        return int(statuses.sum())

    def methods(self) -> dict[str, Callable[[], int]]:
        whole = Boxes.of_crops(np.zeros((len(self.batch), 4), np.int32)).bounds
        all_pixels = whole_image_boxes(self.batch.heights, self.batch.widths).bounds
        crops = self.boxes.bounds
        return {
            _REFERENCE: self.turbojpeg(),
            _RGB_REFERENCE: self.turbojpeg_rgb(),
            "whole to RGB": lambda: self.rgb(all_pixels),
            "crop to RGB, from points": lambda: self.rgb(crops),
            "seek points": self.make_points,
            "whole": lambda: self.planes(whole, from_points=False),
            "crop, from points": lambda: self.planes(crops, from_points=True),
            "crop, from the start": lambda: self.planes(crops, from_points=False),
            "crop, from points, resized": self.crops,
        }


def _measure(bench: _Bench, rounds: int) -> dict[str, Any]:
    methods = bench.methods()
    for name, method in methods.items():
        assert method() == 0, name
    times: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(rounds):
        for name, method in methods.items():
            start = time.process_time()
            method()
            times[name].append((time.process_time() - start) / len(bench.batch) * 1e6)
    result: dict[str, Any] = {}
    for name, values in times.items():
        reference = times[_RGB_REFERENCE if "to RGB" in name else _REFERENCE]
        ratios = np.array(reference) / np.array(values)
        result[name] = {
            "microseconds": round(statistics.median(values), 1),
            "ratio": round(float(np.median(ratios)), 3),
            "ratio_10_90": np.quantile(ratios, [0.1, 0.9]).round(2).tolist(),
        }
    return result


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos")
    parser.add_argument("--quality", type=int, default=90, help="re-encode; 0: as they are")
    parser.add_argument("--pixels", type=int, default=64, help="from one seek point to the next")
    parser.add_argument("--count", type=int, default=120, help="photos to use at most")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    payloads = photo_payloads(arguments.photos, arguments.count, arguments.quality)
    bench = _Bench(EncodedBatch.from_payloads(payloads), arguments.pixels)
    result = _measure(bench, arguments.rounds)
    result["pixels_per_seek_point"] = arguments.pixels
    result["images"] = len(payloads)
    result["mean_payload_bytes"] = round(statistics.mean(map(len, payloads)))
    result["bits_per_pixel"] = round(
        8 * sum(map(len, payloads)) / float((bench.batch.heights * bench.batch.widths).sum()), 2
    )
    result["seek_points_share"] = round(bench.points.data.size / sum(map(len, payloads)), 4)
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
