"""Decoding through the loader: every step, sequential and shuffled, beside peers.

    uv run python benchmarks/benchmark_decode.py PHOTOS [--sets q90 256] [--threads 2]
        [--rounds 5] [--peers ENVIRONMENT/bin/python] [--cache-dir DIR] [--json PATH]

Three sets are made of the photos: as they are, at quality 90, and 256 pixels small. Ours and the
peers read the same bytes, warm, in turns of one epoch each. What is asked of the rows is in their
``target``; FFCV's rows are there when the peers' environment has FFCV. FFCV has no resize to 256
before its centre crop: it takes the crop of ratio 224 / 256, and averages areas in place of an
antialiased filter.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from peer_process import PeerProcess, installed_peers
from photo_sets import SET_NAMES, PhotoSet, make_photo_set
from rounds import (
    Contestant,
    cpu_seconds_per_image,
    describe,
    print_row,
    ratio,
    ratio_row,
    take_turns,
    timed_epoch,
)

from slipstream_decoders import (
    BatchContext,
    BufferPool,
    DecodeCenterCrop,
    DecodeRandomResizedCrop,
    DecodeResizeCrop,
    Normalize,
    StageLike,
    default_num_threads,
)
from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader.machine import machine_info
from slipstream_loader.seek_points import EncodedImages

STEPS: dict[str, Callable[[], list[StageLike]]] = {
    "raw": list,
    "center_crop": lambda: [DecodeCenterCrop(224)],
    "resize_crop": lambda: [DecodeResizeCrop(256, 224)],
    "rrc": lambda: [DecodeRandomResizedCrop(224)],
    "rrc_exact": lambda: [DecodeRandomResizedCrop(224, quality="exact")],
    "rrc_normalized": lambda: [DecodeRandomResizedCrop(224), Normalize()],
}
PEER_ROWS = (
    ("RRC-224, same JPEG bytes / {peer}", "rrc", "{peer} rrc", 5.0),
    ("RRC-224 from yuv420 / {peer} from JPEG", "yuv420 rrc", "{peer} rrc", 15.0),
    ("resize 256 + CenterCrop-224 / {peer}", "resize_crop", "{peer} resize_crop", 3.5),
)


class Ours:
    """The loaders of one set of photos."""

    def __init__(self, photos: PhotoSet, caches: Path, options: argparse.Namespace) -> None:
        paths = sorted(photos.folder.iterdir()) * options.repeat
        samples = [{"image": path.read_bytes()} for path in paths]
        self.dataset = SlipstreamDataset(samples, cache_dir=caches)
        self.num_images, self.options = len(samples), options
        self.bare_stage = DecodeRandomResizedCrop(224)
        self._buffers = BufferPool(6)

    def loader(self, step: str, **more: Any) -> Contestant:
        """One epoch of a loader with the stages of a step."""
        loader = SlipstreamLoader(
            self.dataset,
            batch_size=self.options.batch_size,
            pipelines={"image": STEPS[step]()} if STEPS[step]() else None,
            num_threads=self.options.threads,
            drop_last=False,
            seed=0,
            **more,
        )
        self.cache = loader.cache
        return partial(timed_epoch, lambda: loader, self.num_images)

    def bare_decoder(self) -> Contestant:
        """Decode and crop batch after batch with all threads, without a loader."""
        images = EncodedImages(self.cache, "image")

        def batches() -> Any:
            order = np.random.default_rng().permutation(self.num_images)
            size = self.options.batch_size
            for ids in np.split(order, range(size, order.size, size)):
                context = BatchContext(
                    ids, seed=0, buffers=self._buffers, num_threads=self.options.threads
                )
                yield self.bare_stage.apply(images.batch(ids), context)

        return partial(timed_epoch, batches, self.num_images)


def measure(photos: PhotoSet, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All contestants on one set of photos."""
    ours = Ours(photos, work / "caches", options)
    contestants: dict[str, Contestant] = {name: ours.loader(name) for name in STEPS}
    contestants["yuv420 rrc"] = ours.loader("rrc", image_format="yuv420")
    contestants["bare decoder rrc"] = ours.bare_decoder()
    for name in ("raw", "rrc"):
        contestants[f"{name}, sequential"] = ours.loader(name, shuffle=False)
    peers = installed_peers(options.peers) if options.peers else []
    (work / "peers").mkdir()
    repeat = ("--repeat", options.repeat, "--threads", options.threads)
    with ExitStack() as stack:
        for peer in peers:
            for job in ("rrc", "resize_crop"):
                process = PeerProcess(
                    peer, options.peers, photos.folder, (*repeat, "--work", job), work / "peers"
                )
                contestants[f"{peer} {job}"] = stack.enter_context(process)
        turns = take_turns(contestants, options.rounds, warm=work)
    rows = [
        ratio_row(title.format(peer=peer), target if peer == "ffcv" else None, turns, one, theirs)
        for peer in peers
        for title, one, other, target in PEER_ROWS
        for theirs in [other.format(peer=peer)]
    ]
    cpu = {name: cpu_seconds_per_image(turns[name]) for name in ("rrc", "bare decoder rrc")}
    rows.append(
        {
            "row": "CPU seconds: loader with decode / bare decoder (at most)",
            "target": 1.03,
            "ratio": ratio(cpu["rrc"], cpu["bare decoder rrc"]),
            **{f"{name} ms": 1000 * float(np.median(values)) for name, values in cpu.items()},
        }
    )
    return {
        "set": photos.name,
        **photos.facts(),
        "images_in_an_epoch": ours.num_images,
        "contestants": {name: describe(found) for name, found in turns.items()},
        "rows": rows,
    }


def main() -> None:
    """Parse the arguments, measure, print and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--sets", nargs="+", choices=SET_NAMES, default=list(SET_NAMES))
    parser.add_argument("--limit", type=int, default=1000, help="photos at most")
    parser.add_argument(
        "--repeat", type=int, help="times each is in the data set; default: 2000 images"
    )
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--threads", type=int, default=default_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", type=Path, help="Python of an environment with other loaders")
    parser.add_argument("--cache-dir", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = []
    for name in options.sets:
        with tempfile.TemporaryDirectory(dir=options.cache_dir) as folder:
            photos = make_photo_set(name, options.photos, Path(folder) / "photos", options.limit)
            options.repeat = options.repeat or math.ceil(2000 / photos.num_photos)
            result = measure(photos, Path(folder), options)
        results.append(result)
        print(f"\n{name}: {json.dumps(photos.facts())}")
        for contestant, found in result["contestants"].items():
            rate, cpu = found["images_per_second"], found["cpu_seconds_per_image"]
            shown = "" if cpu is None else f"  {1000 * cpu:.3f} CPU ms/image"
            print(f"{contestant:24} {rate['median']:9,.0f} images/s{shown}")
        for row in result["rows"]:
            print_row(row)
    if options.json:
        figures = {
            "threads": options.threads,
            "batch_size": options.batch_size,
            "rounds": options.rounds,
            "machine": machine_info(),
            "sets": results,
        }
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
