"""How decoding grows with threads: crops through the loader, from one thread to all CPUs.

    uv run python benchmarks/benchmark_threads.py PHOTOS [--threads 1 2] [--rounds 5] [--json PATH]

The numbers of threads take turns on one cache of the photos at quality 90, in random order, warm.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from functools import partial
from pathlib import Path

from photo_sets import make_photo_set
from rounds import Contestant, describe, rates, ratio, take_turns, timed_epoch

from slipstream_decoders import DecodeRandomResizedCrop, default_num_threads
from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader.machine import machine_info


def thread_numbers(largest: int) -> list[int]:
    """1, 2, 4, ... and the largest."""
    doubled = [2**power for power in range(largest.bit_length())]
    return sorted({*(number for number in doubled if number <= largest), largest})


def main() -> None:
    """Parse the arguments, measure, print and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--threads", type=int, nargs="+")
    parser.add_argument("--limit", type=int, default=1000, help="photos at most")
    parser.add_argument("--repeat", type=int, default=8, help="times each is in the data set")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cache-dir", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    numbers = options.threads or thread_numbers(default_num_threads())
    with tempfile.TemporaryDirectory(dir=options.cache_dir) as folder:
        photos = make_photo_set("q90", options.photos, Path(folder) / "photos", options.limit)
        paths = sorted(photos.folder.iterdir()) * options.repeat
        samples = [{"image": path.read_bytes()} for path in paths]
        dataset = SlipstreamDataset(samples, cache_dir=Path(folder) / "caches")
        contestants: dict[str, Contestant] = {}
        for image_format in ("jpeg", "yuv420"):
            for number in numbers:
                loader = SlipstreamLoader(
                    dataset,
                    batch_size=64,
                    image_format=image_format,
                    pipelines={"image": [DecodeRandomResizedCrop(224)]},
                    num_threads=number,
                    drop_last=False,
                )
                epoch = partial(timed_epoch, partial(lambda batches: batches, loader), len(samples))
                contestants[f"{image_format} {number}"] = epoch
        turns = take_turns(contestants, options.rounds)
    rows = []
    for name, found in turns.items():
        image_format, number = name.split()
        first = rates(turns[f"{image_format} {numbers[0]}"])
        row = {"image_format": image_format, "threads": int(number), **describe(found)}
        row["speedup"] = ratio(rates(found), first)
        rows.append(row)
        spread = row["images_per_second"]["epochs"]
        print(
            f"{image_format:6} {number:>3} threads: {statistics.median(spread):8,.0f} images/s "
            f"[{min(spread):,.0f} .. {max(spread):,.0f}], {row['speedup']['median']:.2f} x"
        )
    if options.json:
        figures = {**photos.facts(), "rounds": options.rounds, "rows": rows}
        figures["machine"] = machine_info()
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
