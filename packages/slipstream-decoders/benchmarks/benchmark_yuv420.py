"""Milliseconds for one image: making planes of JPEGs, and crops of planes, on one core.

The methods take turns, so that what else the machine does falls on all of them, and CPU time is
counted. Crops are RandomResizedCrop's. The reference for the planes is libjpeg-turbo's decode of
the same JPEG to planes; a ratio is the median over the rounds of its time over the method's.

    python benchmarks/benchmark_yuv420.py --photos FOLDER --quality 90 --rounds 15
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

from slipstream_decoders import (
    BatchContext,
    BufferPool,
    DecodeOnly,
    DecodeRandomResizedCrop,
    DecodeYUVRandomResizedCrop,
    EncodedBatch,
    as_yuv420,
    build_yuv420,
)
from slipstream_decoders._kernels.c_call import call_c
from slipstream_decoders._turbojpeg.library import load_turbojpeg

_SIZE = 224
_REFERENCE = "libjpeg-turbo, to planes"

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
    planes: int,
) -> int:
    failures = 0
    for row in range(addresses.size):
        width, height = np.int64(widths[row]), np.int64(heights[row])
        arguments = (handle, addresses[row], sizes[row], planes, width, 0, height, 0)
        failures += call_c(to_planes, arguments)
    return failures


def _methods(batch: EncodedBatch) -> dict[str, Callable[[], Any]]:
    library = load_turbojpeg()
    handle = library.new_handle()
    third = int(((batch.heights.astype(np.int64) + 4) * (batch.widths + 4)).max())
    memory = np.empty(3 * third, np.uint8)

    def reference() -> None:
        planes = memory.ctypes.data + third * np.arange(3)
        failures = _turbojpeg_loop(
            int(library.addresses[2]),
            handle,
            batch.addresses,
            batch.sizes,
            batch.heights,
            batch.widths,
            planes.ctypes.data,
        )
        assert failures == 0

    ids, buffers = np.arange(len(batch), dtype=np.int64), BufferPool(2)
    context = BatchContext(ids, seed=9, num_threads=1, buffers=buffers)
    stored = as_yuv420(batch, context)

    def apply(stage: Any) -> Callable[[], Any]:
        return lambda: stage.apply(stored, context)

    return {
        _REFERENCE: reference,
        "planes made": lambda: build_yuv420(batch, num_threads=1),
        "RRC-224 of planes": apply(DecodeRandomResizedCrop(_SIZE)),
        "RRC-224 of planes, exact": apply(DecodeRandomResizedCrop(_SIZE, quality="exact")),
        "RRC-224 of planes, in YUV": apply(DecodeYUVRandomResizedCrop(_SIZE)),
        "whole image of planes": apply(DecodeOnly()),
    }


def _measure(batch: EncodedBatch, rounds: int) -> dict[str, Any]:
    methods = _methods(batch)
    for method in methods.values():
        method()
    times: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(rounds):
        for name, method in methods.items():
            start = time.process_time()
            method()
            times[name].append((time.process_time() - start) / len(batch) * 1e3)
    reference = np.array(times[_REFERENCE])
    result: dict[str, Any] = {}
    for name, values in times.items():
        ratios = reference / np.array(values)
        result[name] = {
            "milliseconds": round(statistics.median(values), 4),
            "ratio": round(float(np.median(ratios)), 3),
            "ratio_10_90": np.quantile(ratios, [0.1, 0.9]).round(2).tolist(),
        }
    return result


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos")
    parser.add_argument("--quality", type=int, default=90, help="re-encode; 0: as they are")
    parser.add_argument("--count", type=int, default=120, help="photos to use at most")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    payloads = photo_payloads(arguments.photos, arguments.count, arguments.quality)
    batch = EncodedBatch.from_payloads(payloads)
    result = _measure(batch, arguments.rounds)
    pixels = batch.heights.astype(np.int64) * batch.widths
    result["images"] = len(payloads)
    result["mean_pixels"] = round(float(pixels.mean()))
    result["bits_per_pixel"] = round(8 * float(batch.sizes.sum()) / float(pixels.sum()), 2)
    result["bytes_of_planes_to_jpeg"] = round(1.5 * float(pixels.sum() / batch.sizes.sum()), 2)
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
