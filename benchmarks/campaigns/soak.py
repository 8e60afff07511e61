"""Random loader operations for minutes: memory, descriptors and threads stay where they were.

Loaders over one cache are made with random options, iterated whole or in part, left in the middle,
resumed, kept, shut down or just dropped, several at once and from several threads. After a warm-up
the process is measured again and again: threads and descriptors must come back to what they were,
and the memory's trend must be flat. Then one loader does some epochs more, and is measured after
each of them.

    python benchmarks/campaigns/soak.py --seconds 600
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import random
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from outcome import end

from slipstream_decoders import DecodeCenterCrop, DecodeRandomResizedCrop, Normalize
from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader.prepare import prepare_cache
from slipstream_loader.sample_images import write_sample_folder
from slipstream_ssl_pipelines import simclr

_MAX_GROWTH_BYTES = 32 << 20
"""Of random operations: a thread of a pool takes some with its first task."""
_MAX_EPOCHS_GROWTH_BYTES = 4 << 20
_PIPELINES: dict[str, Callable[[], Any]] = {
    "raw": lambda: None,
    "crop": lambda: {"image": [DecodeRandomResizedCrop(48), Normalize()]},
    "center": lambda: {"image": [DecodeCenterCrop(32)]},
    "simclr": lambda: simclr(size=32),
}


class Soak:
    """Operations that a training script might do, in any order."""

    def __init__(self, cache: Path, rng: random.Random) -> None:
        self.cache, self.rng = cache, rng
        self.loaders: list[SlipstreamLoader] = []
        self.kept: list[Any] = []
        self.done: Counter[str] = Counter()

    def step(self) -> None:
        """Do something."""
        actions = [self.make, self.epoch, self.part, self.two_at_once, self.resume, self.in_thread]
        action = self.rng.choice([*actions, self.epoch, self.forget, self.fail])
        if action != self.make and not self.loaders:
            action = self.make
        self.done[action.__name__] += 1
        action()

    def make(self) -> None:
        """A loader with random options; of more than three, the oldest is dropped as it is."""
        loader = SlipstreamLoader(
            self.cache,
            batch_size=self.rng.choice([1, 3, 8, 16]),
            seed=self.rng.randrange(5),
            shuffle=self.rng.random() < 0.7,
            drop_last=self.rng.random() < 0.5,
            batches_ahead=self.rng.choice([1, 3, 5]),
            num_threads=self.rng.choice([1, 2]),
            on_error=self.rng.choice(["raise", "skip", "zero"]),
            pipelines=_PIPELINES[self.rng.choice(sorted(_PIPELINES))](),
            verbose=False,
        )
        self.loaders.append(loader)
        del self.loaders[:-3]

    def epoch(self) -> None:
        """A whole epoch; a few batches are kept for a while."""
        for batch in self.rng.choice(self.loaders):
            if self.rng.random() < 0.05:
                self.kept.append(batch)
        del self.kept[:-5]

    def part(self) -> None:
        """Some batches, and then the iterator is closed, or left to the collector."""
        iterator = iter(self.rng.choice(self.loaders))
        for _ in range(self.rng.randrange(3)):
            next(iterator, None)

    def two_at_once(self) -> None:
        """Two loaders in turns."""
        for _ in zip(self.rng.choice(self.loaders), self.rng.choice(self.loaders), strict=False):
            pass

    def resume(self) -> None:
        """A state of the middle of an epoch goes to the same loader again."""
        loader = self.rng.choice(self.loaders)
        next(iter(loader), None)
        loader.load_state_dict(loader.state_dict())
        next(iter(loader), None)

    def in_thread(self) -> None:
        """An epoch in a thread of its own."""
        thread = threading.Thread(target=lambda loader: list(loader), args=[self.loaders[-1]])
        thread.start()
        thread.join()

    def forget(self) -> None:
        """Shut a loader down, or just drop it."""
        loader = self.loaders.pop(self.rng.randrange(len(self.loaders)))
        if self.rng.random() < 0.5:
            loader.shutdown()

    def fail(self) -> None:
        """A stage fails in the middle of an epoch."""

        def failing(images: torch.Tensor) -> torch.Tensor:
            if self.rng.random() < 0.3:
                raise ZeroDivisionError("on purpose")
            return images

        stages: dict[str, Any] = {"image": [DecodeCenterCrop(16), failing]}
        loader = SlipstreamLoader(self.cache, batch_size=4, pipelines=stages, verbose=False)
        try:
            for _ in loader:
                pass
        except RuntimeError as error:
            if not isinstance(error.__cause__, ZeroDivisionError):
                raise


def measured(process: psutil.Process) -> dict[str, int]:
    """What must not grow; without what has been freed and the allocator keeps."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    memory = process.memory_full_info()
    return {
        "threads": process.num_threads(),
        "descriptors": process.num_fds(),
        "private_bytes": memory.uss,
        "open_files": len(process.open_files()),
    }


def soaked(soak: Soak, seconds: float, period: float) -> list[dict[str, int]]:
    """Do things for so long; what was measured once a period."""
    process, found = psutil.Process(), []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        until = time.monotonic() + period
        while time.monotonic() < until:
            soak.step()
        soak.loaders.clear()
        soak.kept.clear()
        found.append(measured(process))
    return found


def epochs(cache: Path, number: int) -> list[int]:
    """Private bytes after each of so many epochs of one loader."""
    pipelines = _PIPELINES["crop"]()
    loader = SlipstreamLoader(cache, batch_size=8, pipelines=pipelines, verbose=False)
    process, found = psutil.Process(), []
    for _ in range(number):
        for _ in loader:
            pass
        found.append(measured(process)["private_bytes"])
    loader.shutdown()
    return found


def growth(values: list[int]) -> float:
    """Median of the second half less the median of the first."""
    half = len(values) // 2
    return statistics.median(values[half:]) - statistics.median(values[:half])


def main() -> None:
    """Write one JSON object; exit code 1 if something grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--epochs", type=int, default=50, help="of one loader, after that")
    parser.add_argument("--warm-up", type=float, default=0.25, help="share of the time")
    parser.add_argument("--measurements", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        write_sample_folder(photos, num_classes=3, images_per_class=20, seed=0)
        cache = prepare_cache(SlipstreamDataset(photos, cache_dir=folder)).cache_dir
        soak = Soak(cache, random.Random(options.seed))
        found = soaked(soak, options.seconds, options.seconds / options.measurements)
        after_epochs = epochs(cache, options.epochs)
    begin = max(1, round(options.warm_up * len(found)))
    grown = {name: growth([one[name] for one in found[begin:]]) for name in found[0]}
    # A pool may start its last thread late; a leak would start many.
    limits = {"threads": 1, "descriptors": 0, "open_files": 0, "private_bytes": _MAX_GROWTH_BYTES}
    failures = [name for name, limit in limits.items() if grown[name] > limit]
    epochs_growth = growth(after_epochs)
    failures += ["epochs"] if epochs_growth > _MAX_EPOCHS_GROWTH_BYTES else []
    result = {
        "seconds": options.seconds,
        "operations": dict(soak.done),
        "private_megabytes": [round(one["private_bytes"] / 1e6) for one in found],
        "first": found[begin],
        "last": found[-1],
        "growth_of_medians": grown,
        "epochs": {
            "number": options.epochs,
            "private_megabytes": [round(value / 1e6, 1) for value in after_epochs],
            "growth_of_medians": epochs_growth,
        },
        "failures": failures,
    }
    end(result, found=failures)


if __name__ == "__main__":
    main()
