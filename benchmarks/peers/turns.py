"""What the scripts of peers share: they run an epoch whenever they are told to.

A peer runs in an environment of its own, where nothing of ours is installed. On stdin it gets the
line ``epoch``; on stdout it answers with one JSON object: images, seconds, and CPU seconds unless
it works in child processes. It ends with its stdin.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

WORK = ("rrc", "resize_crop", "decode", "normalised_rrc")
"""RandomResizedCrop(224); Resize(256) with CenterCrop(224) or what comes nearest; whole images;
RandomResizedCrop(224) as normalised float32. The last two are for ``gpu/measure.py``."""


def arguments() -> argparse.Namespace:
    """The arguments of every peer: photos, repeat, threads, batch_size, work, device."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--work", choices=WORK, default="rrc")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    return parser.parse_args()


def photo_paths(options: argparse.Namespace) -> list[Path]:
    """The files of one epoch."""
    return sorted(options.photos.rglob("*.jpg")) * int(options.repeat)


def random_resized_box(width: int, height: int) -> tuple[int, int, int, int]:
    """x, y, width, height by torchvision's law, without its fallback of a limited ratio."""
    w, h = width, height
    for _ in range(10):
        area = width * height * random.uniform(0.08, 1.0)
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        wanted = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wanted[0] <= width and 0 < wanted[1] <= height:
            w, h = wanted
            break
    return random.randint(0, width - w), random.randint(0, height - h), w, h


def serve(run_epoch: Callable[[], int], *, has_children: bool = False) -> None:
    """Answer to ``epoch`` until stdin ends; ``run_epoch`` returns the images that it saw."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    for line in sys.stdin:
        if line.strip() == "epoch":
            started, cpu_started = time.perf_counter(), time.process_time()
            images = run_epoch()
            cpu_seconds = None if has_children else time.process_time() - cpu_started
            seconds = time.perf_counter() - started
            answer = {"images": images, "seconds": seconds, "cpu_seconds": cpu_seconds}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
