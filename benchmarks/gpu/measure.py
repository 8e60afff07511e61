"""Images per second of every way to decode and crop on a device; ``run.py`` starts this.

Contestants run in turns, one epoch each, after one to warm up. What each part could do alone says
which of them is the bound: the CPU's part, the copy to the device, or the kernel.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from slipstream_decoders import (
    BatchContext,
    DecodeRandomResizedCrop,
    EncodedBatch,
    GPUDecoder,
    Normalize,
    Output,
    as_yuv420,
    build_seek_points,
    decode_images,
    default_num_threads,
    placed_stage,
)
from slipstream_decoders.stages.device.nvimgcodec import is_nvimgcodec_installed, nvimgcodec_of
from slipstream_decoders.stages.device.planes import planes_on_device
from slipstream_decoders.stages.device.resample import new_images, resample
from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader.machine import machine_info
from slipstream_loader.transfer import PinnedBuffers
from slipstream_ssl_pipelines import simclr

Epoch = Callable[[], int]
"""Runs an epoch to its end, the GPU's work included, and returns its images."""


@dataclass
class Row:
    """One contestant."""

    work: str
    epoch: Epoch
    rates: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Its figures."""
        return {
            "work": self.work,
            "median": statistics.median(self.rates),
            "images_per_second": self.rates,
            "cpu_seconds_per_image": statistics.median(self.cpu_seconds),
            "gpu_busy": statistics.mean(self.busy) if self.busy else None,
        }


def arguments() -> argparse.Namespace:
    """The command line; see ``run.py``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=default_num_threads())
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


def generated(folder: Path, num: int) -> None:
    """Pictures of about ImageNet's sizes with detail like photos', quality 90, 4:2:0."""
    rng = np.random.default_rng(0)
    for number in range(num):
        height, width = (int(side) for side in rng.integers((330, 420), (500, 560)))
        pixels = np.zeros((height, width, 3), np.float32)
        for cells, strength in ((4, 90), (16, 50), (64, 30), (200, 20)):
            noise = rng.integers(-strength, strength, (cells, cells, 3)).astype(np.float32)
            layer = torch.from_numpy(noise).permute(2, 0, 1)[None]
            resized = torch.nn.functional.interpolate(layer, (height, width), mode="bilinear")
            pixels += resized[0].permute(1, 2, 0).numpy()
        image = Image.fromarray((pixels + 128).clip(0, 255).astype(np.uint8))
        image.save(folder / f"{number:04}.jpg", quality=90)


@contextmanager
def gpu_busy(found: list[float]) -> Iterator[None]:
    """Appends the mean share of time in which the GPU ran kernels, as nvidia-smi says."""
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        process = subprocess.Popen([*command, "-lms", "100"], stdout=subprocess.PIPE, text=True)
    except OSError:
        yield
        return
    samples: list[float] = []

    def read() -> None:
        for line in process.stdout or ():
            if line.strip().isdigit():
                samples.append(float(line))

    reader = threading.Thread(target=read)
    reader.start()
    yield
    process.terminate()
    process.wait()
    reader.join()
    if samples:
        found.append(statistics.mean(samples))


def take_turns(rows: list[Row], rounds: int) -> dict[str, str]:
    """Run every contestant once a round; those that fail are left out, with the reason."""
    left_out: dict[str, str] = {}
    for number in range(rounds + 1):
        for row in [row for row in rows if row.work not in left_out]:
            busy: list[float] = []
            try:
                with gpu_busy(busy):
                    started, cpu_started = time.perf_counter(), time.process_time()
                    images = row.epoch()
                    seconds = time.perf_counter() - started
                    cpu_seconds = time.process_time() - cpu_started
            except (ImportError, RuntimeError) as error:
                left_out[row.work] = f"{type(error).__name__}: {error}"
                continue
            print(f"{row.work}: {images / seconds:,.0f} images/s", flush=True)
            if number:
                row.rates.append(images / seconds)
                row.cpu_seconds.append(cpu_seconds / images)
                row.busy += busy
    return left_out


class Contest:
    """The contestants on some images."""

    def __init__(self, options: argparse.Namespace, folder: Path, work: Path) -> None:
        self.options = options
        self.device = torch.device(options.device)
        self.payloads = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))]
        self.repeats = 1 if options.quick else max(1, 40 * options.batch_size // len(self.payloads))
        self.dataset = SlipstreamDataset(folder, cache_dir=work)
        self.batch = EncodedBatch.from_payloads(self.payloads[: options.batch_size])
        points = build_seek_points(self.batch)
        self.batch = self.batch.with_seek_points(points.data, points.offsets, points.sizes)

    def rows(self) -> list[Row]:
        """All of them."""
        engines = ["planes", *(["nvimgcodec"] if is_nvimgcodec_installed() else []), "cpu"]
        rows = [Row("decode only, CPU", self._decoded_on_cpu)]
        if is_nvimgcodec_installed():
            rows.append(Row("decode only, nvimgcodec", self._decoded_on_gpu))
        if self.device.type == "cuda":
            rows.append(Row("decode only, torchvision", self._decoded_by_torchvision))
        crop = [DecodeRandomResizedCrop(224), Normalize()]
        for image_format in ("jpeg", "yuv420"):
            for engine in engines if image_format == "jpeg" else ["planes", "cpu"]:
                loader = self._loader(crop, engine, image_format)
                rows.append(Row(f"RRC-224, {image_format}, {engine}", self._epoch_of(loader)))
        for engine in engines:
            (stages,) = simclr(device=self.device).values()
            loader = self._loader(stages, engine, "jpeg")
            rows.append(Row(f"SimCLR, jpeg, {engine}", self._epoch_of(loader)))
        return rows

    def _loader(self, stages: Any, engine: Any, image_format: Any) -> SlipstreamLoader:
        placed = [placed_stage(stage, self.device, engine) for stage in stages]
        return SlipstreamLoader(
            self.dataset,
            batch_size=self.options.batch_size,
            pipelines={"image": placed},
            seed=0,
            drop_last=False,
            image_format=image_format,
            repeats=self.repeats,
            device=self.device if self.device.type == "cuda" else None,
            num_threads=self.options.threads,
        )

    def _epoch_of(self, loader: SlipstreamLoader) -> Epoch:
        def epoch() -> int:
            images = 0
            for batch in loader:
                images += len(batch["_indices"])
            self._wait()
            return images

        return epoch

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _decoded_on_cpu(self) -> int:
        num = len(self.batch)
        decode_images(self.batch, BatchContext(np.arange(num), 0, num_threads=self.options.threads))
        return num

    def _decoded_on_gpu(self) -> int:
        decoder = GPUDecoder(self.device, self.options.threads)
        for _ in range(self.repeats):
            decoder.decode_batch(self.batch)
        self._wait()
        return self.repeats * len(self.batch)

    def _decoded_by_torchvision(self) -> int:
        from torchvision.io import decode_jpeg

        encoded = [
            torch.frombuffer(bytearray(payload), dtype=torch.uint8)
            for payload in self.payloads[: self.options.batch_size]
        ]
        for _ in range(self.repeats):
            decode_jpeg(encoded, device=self.device)
        self._wait()
        return self.repeats * len(encoded)

    def bounds(self) -> dict[str, float]:
        """Images per second of each part of a random resized crop, alone."""
        num, found = len(self.batch), {}
        on_gpu = self.device.type == "cuda"
        ids, threads = np.arange(num), self.options.threads
        context = BatchContext(ids, 0, num_threads=threads)
        pinned = BatchContext(
            ids, 0, num_threads=threads, **({"buffers": PinnedBuffers()} if on_gpu else {})
        )
        planar = as_yuv420(self.batch, context)
        for name, batch in (("jpeg", self.batch), ("yuv420", planar)):
            output = Normalize().fold(Output(), "Normalize") or Output()
            view = DecodeRandomResizedCrop(224).view(batch, context, output.form)
            on_host = partial(planes_on_device, batch, [view], ids, torch.device("cpu"), pinned)
            found[f"{name}: planes on the CPU, {threads} threads"] = self._rate(on_host, num)
            patches = planes_on_device(batch, [view], ids, self.device, pinned)
            if on_gpu:
                data = patches.data.cpu().pin_memory()
                copy = partial(data.to, self.device, non_blocking=True)
                found[f"{name}: copy of planes to the device"] = self._rate(copy, num)
            out = new_images(num, view, self.device)
            resized = partial(resample, patches, view, out, pinned.buffers)
            found[f"{name}: resize of planes on the device"] = self._rate(resized, num)
        if is_nvimgcodec_installed():
            codec = nvimgcodec_of(self.device, threads)
            view = DecodeRandomResizedCrop(224).view(self.batch, context)
            regions = partial(codec.patches, self.batch, [view], ids)
            found["jpeg: regions by nvimgcodec"] = self._rate(regions, num)
        return found

    def _rate(self, work: Callable[[], Any], num: int) -> float:
        """Images per second: the best of several."""
        best = float("inf")
        for _ in range(2 if self.options.quick else 10):
            self._wait()
            started = time.perf_counter()
            work()
            self._wait()
            best = min(best, time.perf_counter() - started)
        return num / best


def facts(payloads: list[bytes]) -> dict[str, Any]:
    """What figures should be read with."""
    sizes = [Image.open(io.BytesIO(payload)).size for payload in payloads]
    pixels = sum(width * height for width, height in sizes)
    num_bytes = sum(map(len, payloads))
    return {
        "images": len(payloads),
        "mean_pixels": round(pixels / len(payloads)),
        "bits_per_pixel": round(8 * num_bytes / pixels, 2),
    }


def main() -> None:
    """Measure, and write what was found."""
    options = arguments()
    rounds = 1 if options.quick else 3
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "photos"
        folder.mkdir()
        if options.photos is None:
            generated(folder, 2 * options.batch_size)
        contest = Contest(options, options.photos or folder, Path(directory))
        rows = contest.rows()
        left_out = take_turns(rows, rounds)
        figures = {
            "machine": machine_info(),
            "images": facts(contest.payloads),
            "batch_size": options.batch_size,
            "threads": options.threads,
            "rounds": rounds,
            "results": [row.as_json() for row in rows if row.rates],
            "left_out": left_out,
            "bounds": contest.bounds(),
        }
    options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
