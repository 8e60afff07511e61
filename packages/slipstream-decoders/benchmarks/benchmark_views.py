"""Several crops from one decode beside a decode for each; fused output beside separate stages.

CPU time on one thread. The two sides of a comparison take turns, so that what else the machine does
falls on both; a ratio is the median over the rounds of the separate side's time over the other's in
the same round.

    python benchmarks/benchmark_views.py --photos FOLDER --rounds 15
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from slipstream_decoders import (
    BatchContext,
    BufferPool,
    DecodeMultiRandomResizedCrop,
    DecodeRandomResizedCrop,
    EncodedBatch,
    Normalize,
    Output,
    Stage,
    apply_stage,
    build_seek_points,
    named_stages,
    run_stages,
)

_Crops = dict[str, dict[str, Any]]

_TWO: _Crops = {"view_0": {"size": 224}, "view_1": {"size": 224}}
_DINO: _Crops = {
    **{f"global_{i}": {"size": 224, "scale": (0.4, 1.0)} for i in range(2)},
    **{f"local_{i}": {"size": 96, "scale": (0.05, 0.4)} for i in range(6)},
}
_SMALL: _Crops = {f"local_{i}": {"size": 96, "scale": (0.05, 0.1)} for i in range(2)}


class _Flip(Stage):
    """A horizontal flip of half of the images, as a stage and as the decoder's work."""

    def _flips(self, context: BatchContext) -> NDArray[np.bool_]:
        return context.uniforms(1)[:, 0] < 0.5

    def apply(self, batch: torch.Tensor, context: BatchContext) -> torch.Tensor:
        rows = torch.from_numpy(np.flatnonzero(self._flips(context)))
        batch[rows] = batch[rows].flip(3)
        return batch

    def fold(self, output: Output, name: str) -> Output:
        return output.mirrored(name, self._flips)


class _Bench:
    """Photos, with seek points and without."""

    def __init__(self, payloads: list[bytes]) -> None:
        plain = EncodedBatch.from_payloads(payloads)
        points = build_seek_points(plain)
        pointed = plain.with_seek_points(points.data, points.offsets, points.sizes)
        self.batches = {"seek points": pointed, "no seek points": plain}
        self._pool = BufferPool(32)

    def context(self, epoch: int) -> BatchContext:
        """One thread; other boxes in each round."""
        ids = np.arange(len(self.batches["seek points"]))
        return BatchContext(ids, seed=1, epoch=epoch, buffers=self._pool, num_threads=1)

    def views(self, crops: _Crops, batch: EncodedBatch) -> list[Callable[[int], Any]]:
        """A decode for each view, and one for all."""
        multi = DecodeMultiRandomResizedCrop(crops)
        name = type(multi).__name__

        def separate(epoch: int) -> Any:
            context = self.context(epoch).in_stage(name)
            return [crop.apply(batch, context.in_view(view)) for view, crop in multi.crops.items()]

        return [separate, lambda epoch: multi.apply(batch, self.context(epoch).in_stage(name))]

    def fused(self, after: list[Stage], batch: EncodedBatch) -> list[Callable[[int], Any]]:
        """Every stage in a pass of its own, and one pass."""
        stages = [DecodeRandomResizedCrop(224), *after]

        def separate(epoch: int) -> Any:
            value: Any = batch
            for name, stage in named_stages(stages):
                value = apply_stage(name, stage, value, self.context(epoch))
            return value

        return [separate, lambda epoch: run_stages(stages, batch, self.context(epoch))]

    def cases(self) -> dict[str, list[Callable[[int], Any]]]:
        """Name -> the two sides."""
        cases = {}
        for name, crops in {"2 x 224": _TWO, "2 x 224 + 6 x 96": _DINO, "2 small": _SMALL}.items():
            for points, batch in self.batches.items():
                cases[f"{name}, {points}"] = self.views(crops, batch)
        batch = self.batches["seek points"]
        half = Normalize(dtype=torch.float16)
        cases["normalise to float32"] = self.fused([Normalize()], batch)
        cases["normalise to float16"] = self.fused([half], batch)
        cases["flip, normalise to float32"] = self.fused([_Flip(), Normalize()], batch)
        cases["flip, normalise to float16"] = self.fused([_Flip(), half], batch)
        return cases


def _measure(sides: list[Callable[[int], Any]], rounds: int, num_images: int) -> dict[str, Any]:
    times: list[list[float]] = [[], []]
    for epoch in range(-1, rounds):
        for side, seconds in zip(sides, times, strict=True):
            start = time.process_time()
            side(epoch)
            seconds.append((time.process_time() - start) / num_images * 1e6)
    separate, together = (np.array(seconds[1:]) for seconds in times)
    ratios = separate / together
    return {
        "separate_us": round(statistics.median(separate), 1),
        "together_us": round(statistics.median(together), 1),
        "ratio": round(float(np.median(ratios)), 3),
        "ratio_10_90": np.quantile(ratios, [0.1, 0.9]).round(2).tolist(),
    }


def _payloads(folder: Path, count: int, quality: int) -> list[bytes]:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg"})
    payloads = []
    for path in files[:: max(1, len(files) // count)][:count]:
        file = io.BytesIO(path.read_bytes())
        if quality:
            image = Image.open(file).convert("RGB")
            file = io.BytesIO()
            image.save(file, "JPEG", quality=quality)
        payloads.append(file.getvalue())
    return payloads


def main() -> None:
    """Measure and write JSON: microseconds for one image."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos")
    parser.add_argument("--quality", type=int, default=0, help="re-encode; 0: as they are")
    parser.add_argument("--count", type=int, default=64, help="photos to use at most")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    payloads = _payloads(arguments.photos, arguments.count, arguments.quality)
    bench = _Bench(payloads)
    result: dict[str, Any] = {"images": len(payloads), "rounds": arguments.rounds}
    for name, sides in bench.cases().items():
        result[name] = _measure(sides, arguments.rounds, len(payloads))
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
