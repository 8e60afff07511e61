"""CPU cost of each batch transform against torchvision v2's transform, sample by sample.

Both get the same images, with p = 1, in the memory order that each is at home in (channels_last for
ours, planar for torchvision) or with ``--same-order`` both channels_last. Rounds of both alternate;
the medians of CPU seconds are compared, so that other work on the machine matters little.

    uv run python packages/slipstream-ssl-pipelines/benchmarks/benchmark_transforms.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torchvision.transforms import v2

from slipstream_decoders import BatchContext, BufferPool, run_stages
from slipstream_ssl_pipelines import transforms as ours

LINEAR = v2.InterpolationMode.BILINEAR
Pair = tuple[ours.ReplayableStage, Callable[[torch.Tensor], torch.Tensor]]


def pairs() -> dict[str, Pair]:
    """Name -> our transform and torchvision's."""
    jitter = v2.ColorJitter(0.4, 0.4, 0.4, 0.1)
    return {
        "horizontal flip": (ours.RandomHorizontalFlip(1.0), v2.RandomHorizontalFlip(1.0)),
        "vertical flip": (ours.RandomVerticalFlip(1.0), v2.RandomVerticalFlip(1.0)),
        "to grayscale": (ours.ToGrayscale(), v2.Grayscale()),
        "grayscale": (ours.RandomGrayscale(1.0), v2.RandomGrayscale(1.0)),
        "brightness": (ours.RandomBrightness(), v2.ColorJitter(brightness=0.4)),
        "contrast": (ours.RandomContrast(), v2.ColorJitter(contrast=0.4)),
        "saturation": (ours.RandomSaturation(), v2.ColorJitter(saturation=0.4)),
        "hue": (ours.RandomHue(), v2.ColorJitter(hue=0.1)),
        "colour jitter": (ours.RandomColorJitter(1.0, 0.1, 0.4, 0.4, 0.4), jitter),
        "colour jitter YIQ": (ours.RandomColorJitterYIQ(1.0, 36, 0.4, 0.4, 0, 0.4), jitter),
        "blur 7": (ours.RandomGaussianBlur(1.0, 7), v2.GaussianBlur(7, (0.1, 2.0))),
        "blur 23": (ours.RandomGaussianBlur(1.0, 23), v2.GaussianBlur(23, (0.1, 2.0))),
        "solarize": (ours.RandomSolarization(1.0), v2.RandomSolarize(0.5, 1.0)),
        "posterize": (ours.RandomPosterize(1.0, 4), v2.RandomPosterize(4, 1.0)),
        "rotate": (ours.RandomRotate(1.0, 45), v2.RandomRotation(45, LINEAR)),
        "affine": (
            ours.RandomAffine(1.0, 30, (0.1, 0.1), (0.8, 1.2), (-10, 10)),
            v2.RandomAffine(30, (0.1, 0.1), (0.8, 1.2), (-10, 10), LINEAR),
        ),
        "translate": (ours.RandomTranslate(8), v2.RandomCrop(224, padding=8)),
        "zoom": (ours.RandomZoom(1.0), v2.RandomAffine(0, scale=(1, 2), interpolation=LINEAR)),
        "erasing, noise": (
            ours.RandomErasing(1.0, (0.02, 0.33), (0.3, 3.3)),
            v2.RandomErasing(1.0, (0.02, 0.33), (0.3, 3.3), "random"),
        ),
        "erasing, black": (
            ours.RandomErasing(1.0, (0.02, 0.33), (0.3, 3.3), "zeros"),
            v2.RandomErasing(1.0, (0.02, 0.33), (0.3, 3.3)),
        ),
        "RandAugment": (ours.RandAugment(), v2.RandAugment()),
        "TrivialAugment": (ours.TrivialAugment(), v2.TrivialAugmentWide()),
    }


def cpu_seconds(function: Callable[[], object]) -> float:
    """CPU time of one call, all threads together."""
    begin = time.process_time()
    function()
    return time.process_time() - begin


def measure(
    pair: Pair, images: torch.Tensor, planar: torch.Tensor, rounds: int, threads: int
) -> dict[str, float]:
    """Medians of milliseconds an image of both, and the quartiles of the rounds' ratios."""
    stage, theirs = pair
    buffers = BufferPool(4)
    ids = np.arange(len(images))
    threshold = images.dtype == torch.uint8 and isinstance(theirs, v2.RandomSolarize)
    theirs = v2.RandomSolarize(128, 1.0) if threshold else theirs
    times: tuple[list[float], list[float]] = ([], [])
    for epoch in range(rounds + 2):
        context = BatchContext(ids, seed=1, epoch=epoch, buffers=buffers, num_threads=threads)
        mine = cpu_seconds(lambda: run_stages([stage], images, context))  # noqa: B023
        other = cpu_seconds(lambda: torch.stack([theirs(image) for image in planar]))
        if epoch >= 2:
            times[0].append(mine)
            times[1].append(other)
    ratios = sorted(o / m for m, o in zip(*times, strict=True))
    per_image = 1000 / len(images)
    return {
        "ours_ms": statistics.median(times[0]) * per_image,
        "torchvision_ms": statistics.median(times[1]) * per_image,
        "ratio": statistics.median(ratios),
        "ratio_low": ratios[len(ratios) // 4],
        "ratio_high": ratios[-1 - len(ratios) // 4],
    }


def table(results: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The figures as rows of a table in Markdown, those of both types side by side."""
    cells: dict[str, list[str]] = {}
    for found in results:
        cells.setdefault(found["transform"], []).append(
            f" {found['ours_ms']:.2f} | {found['torchvision_ms']:.2f} | "
            f"{found['ratio']:.1f} ({found['ratio_low']:.1f} to {found['ratio_high']:.1f}) |"
        )
    yield "| transform |" + "".join(
        f" {dtype}: ours, ms | torchvision, ms | ratio |" for dtype in ("float32", "uint8")
    )
    yield "|---|" + "---|---|---|" * 2
    for name, columns in cells.items():
        yield f"| {name} |" + "".join(columns)


def main() -> None:
    """Print one line a transform and type, then a table of float32 and uint8."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="names that contain this")
    parser.add_argument("--same-order", action="store_true")
    parser.add_argument("--json", help="write the figures here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shape = (options.batch_size, 3, options.size, options.size)
    results = []
    for dtype in (torch.float32, torch.uint8):
        planar = torch.randint(0, 256, shape, dtype=torch.uint8)
        planar = planar if dtype == torch.uint8 else planar.to(dtype) / 255
        images = planar.contiguous(memory_format=torch.channels_last)
        for name, pair in pairs().items():
            if options.only in name:
                others = images if options.same_order else planar
                figures = measure(pair, images, others, options.rounds, options.threads)
                results.append({"transform": name, "dtype": str(dtype), **figures})
                print(
                    f"{name:18} {dtype!s:14} ours {figures['ours_ms']:7.3f} ms  torchvision "
                    f"{figures['torchvision_ms']:8.3f} ms  ratio {figures['ratio']:6.2f} "
                    f"({figures['ratio_low']:.2f} to {figures['ratio_high']:.2f})",
                    flush=True,
                )
    print("", *table(results), sep="\n")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    with torch.no_grad():
        main()
