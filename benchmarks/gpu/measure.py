"""Images per second of every way to decode and crop on a device; ``run.py`` starts this.

Contestants run in turns, one epoch each, after one to warm up. What each part could do alone says
which of them is the bound: the CPU's part, the copy to the device, or the kernel. What cannot run
here, for want of a device or of a package, is left out with its reason.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peer_process import PEERS, PeerProcess, installed_peers
from PIL import Image
from rounds import Turn

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
from slipstream_decoders.stages.device.nvimgcodec import nvimgcodec_of
from slipstream_decoders.stages.device.patches import Patches
from slipstream_decoders.stages.device.planes import planes_on_device
from slipstream_decoders.stages.device.resample import new_images, resample
from slipstream_decoders.views import View
from slipstream_loader import SlipstreamDataset, SlipstreamLoader
from slipstream_loader.machine import machine_info
from slipstream_loader.transfer import PinnedBuffers
from slipstream_ssl_pipelines import simclr

Epoch = Callable[[], Turn]
"""Runs an epoch to its end, the GPU's work included."""

REASONS = (ImportError, OSError, RuntimeError)
"""Why something is left out: not installed, or not able to run here."""


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
    if shutil.which(command[0]) is None:
        yield
        return
    process = subprocess.Popen([*command, "-lms", "100"], stdout=subprocess.PIPE, text=True)
    samples: list[float] = []

    def read() -> None:
        for line in process.stdout or ():
            if line.strip().isdigit():
                samples.append(float(line))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        process.terminate()
        process.wait()
        reader.join()
        if process.stdout is not None:
            process.stdout.close()
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
                    turn = row.epoch()
            except REASONS as error:
                left_out[row.work] = str(error)
                continue
            print(f"{row.work}: {turn.images / turn.seconds:,.0f} images/s", flush=True)
            if number:
                row.rates.append(turn.images / turn.seconds)
                row.cpu_seconds.append((turn.cpu_seconds or 0) / turn.images)
                row.busy += busy
    return left_out


class Contest:
    """The contestants on some images; a context manager."""

    def __init__(self, options: argparse.Namespace, folder: Path, work: Path) -> None:
        self.options = options
        self.device = torch.device(options.device)
        self.folder = folder
        self.payloads = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))]
        self.repeats = 1 if options.quick else max(1, 40 * options.batch_size // len(self.payloads))
        self.dataset = SlipstreamDataset(folder, cache_dir=work)
        self.batch = EncodedBatch.from_payloads(self.payloads[: options.batch_size])
        points = build_seek_points(self.batch)
        self.batch = self.batch.with_seek_points(points.data, points.offsets, points.sizes)
        self._installed = installed_peers(Path(sys.executable))
        self._peers = ExitStack()

    def __enter__(self) -> Contest:
        return self

    def __exit__(self, *error: object) -> None:
        self._peers.close()

    def rows(self) -> list[Row]:
        """All of them."""
        rows = [
            Row("decode only, CPU", partial(self._timed, self._decoded_on_cpu)),
            Row("decode only, nvimgcodec", partial(self._timed, self._decoded_on_gpu)),
            Row("decode only, torchvision", partial(self._timed, self._decoded_by_torchvision)),
            Row("decode only, DALI", self._peer("dali", "decode")),
        ]
        crop = [DecodeRandomResizedCrop(224), Normalize()]
        for engine in ("planes", "nvimgcodec", "cpu"):
            rows.append(self._loader_row(f"RRC-224, jpeg, {engine}", crop, engine))
        rows.append(Row("RRC-224, jpeg, DALI", self._peer("dali", "normalised_rrc")))
        for engine in ("planes", "cpu"):
            rows.append(self._loader_row(f"RRC-224, yuv420, {engine}", crop, engine, "yuv420"))
        for engine in ("planes", "nvimgcodec", "cpu"):
            (stages,) = simclr(device=self.device).values()
            rows.append(self._loader_row(f"SimCLR, jpeg, {engine}", stages, engine))
        return rows

    def _loader_row(self, work: str, stages: Any, engine: str, image_format: str = "jpeg") -> Row:
        loader = self._loader(stages, engine, image_format)
        return Row(work, partial(self._timed, partial(self._epoch_of, loader)))

    def _timed(self, epoch: Callable[[], int]) -> Turn:
        started, cpu_started = time.perf_counter(), time.process_time()
        images = epoch()
        self._wait()
        seconds = time.perf_counter() - started
        return Turn(images, seconds, time.process_time() - cpu_started)

    def _peer(self, name: str, work: str) -> Epoch:
        """A peer of this Python, which has a process of its own from its first epoch on."""
        started: list[PeerProcess] = []

        def epoch() -> Turn:
            if name not in self._installed:
                raise ImportError(f"not carried: {PEERS[name]} cannot be imported")
            if not started:
                options = ("--work", work, "--device", self.device.type, "--repeat", self.repeats)
                more = ("--batch-size", self.options.batch_size, "--threads", self.options.threads)
                process = PeerProcess(name, Path(sys.executable), self.folder, options + more)
                started.append(self._peers.enter_context(process))
            return started[0]()

        return epoch

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

    def _epoch_of(self, loader: SlipstreamLoader) -> int:
        return sum(len(batch["_indices"]) for batch in loader)

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
        return self.repeats * len(self.batch)

    def _decoded_by_torchvision(self) -> int:
        from torchvision.io import ImageReadMode, decode_jpeg

        encoded = [
            torch.frombuffer(bytearray(payload), dtype=torch.uint8)
            for payload in self.payloads[: self.options.batch_size]
        ]
        with warnings.catch_warnings():  # torchvision says that it will be another package's work
            warnings.filterwarnings("ignore", "The image decoding", DeprecationWarning)
            for _ in range(self.repeats):
                decode_jpeg(encoded, ImageReadMode.RGB, device=self.device)
        return self.repeats * len(encoded)

    def bounds(self) -> tuple[dict[str, float], dict[str, str]]:
        """Images per second of each part of a random resized crop, alone; and what is left out."""
        parts: dict[str, Callable[[], Callable[[], Any]]] = {}
        context = BatchContext(np.arange(len(self.batch)), 0, num_threads=self.options.threads)
        threads = f"{self.options.threads} threads"
        for name, batch in (("jpeg", self.batch), ("yuv420", as_yuv420(self.batch, context))):
            parts[f"{name}: planes on the CPU, {threads}"] = partial(self._planes, batch, "cpu")
            parts[f"{name}: copy of planes to the device"] = partial(self._copy, batch)
            parts[f"{name}: resize of planes on the device"] = partial(self._resize, batch)
        parts["jpeg: regions by nvimgcodec"] = lambda: self._regions
        parts["jpeg: resize of regions on the device, normalised"] = self._resize_regions
        parts["jpeg: resize of regions by CV-CUDA, bytes"] = self._resize_by_cvcuda
        found: dict[str, float] = {}
        left_out: dict[str, str] = {}
        for name, part in parts.items():
            try:
                found[name] = self._rate(part(), len(self.batch))
            except REASONS as error:
                left_out[name] = str(error)
        return found, left_out

    def _context(self) -> BatchContext:
        on_gpu = self.device.type == "cuda"
        buffers = {"buffers": PinnedBuffers()} if on_gpu else {}
        ids = np.arange(len(self.batch))
        return BatchContext(ids, 0, num_threads=self.options.threads, **buffers)

    def _view(self, batch: EncodedBatch) -> View:
        output = Normalize().fold(Output(), "Normalize") or Output()
        return DecodeRandomResizedCrop(224).view(batch, self._context(), output.form)

    def _planes(self, batch: EncodedBatch, device: Any) -> Callable[[], Patches]:
        views, context = [self._view(batch)], self._context()
        rows = np.arange(len(batch))
        return partial(planes_on_device, batch, views, rows, torch.device(device), context)

    def _copy(self, batch: EncodedBatch) -> Callable[[], Any]:
        if self.device.type != "cuda":
            raise RuntimeError("needs a CUDA device")
        data = self._planes(batch, "cpu")().data.pin_memory()
        return partial(data.to, self.device, non_blocking=True)

    def _resize(self, batch: EncodedBatch) -> Callable[[], Any]:
        return self._resampled(self._planes(batch, self.device)(), self._view(batch))

    def _resampled(self, patches: Patches, view: View) -> Callable[[], Any]:
        out = new_images(len(self.batch), view, self.device)
        return partial(resample, patches, view, out, self._context().buffers)

    def _regions(self) -> Patches:
        codec = nvimgcodec_of(self.device, self.options.threads)
        return codec.patches(self.batch, [self._view(self.batch)], np.arange(len(self.batch)))

    def _resize_regions(self) -> Callable[[], Any]:
        return self._resampled(self._regions(), self._view(self.batch))

    def _resize_by_cvcuda(self) -> Callable[[], Any]:
        """The antialiased resize alone, of whole regions: a few pixels more than the crops."""
        if self.device.type != "cuda":
            raise RuntimeError("needs a CUDA device")
        import cvcuda

        patches = self._regions()
        regions = cvcuda.TensorBatch(len(patches.rows))
        for (_x, _y, width, height), layout in zip(patches.regions, patches.layout, strict=True):
            pixels = patches.data[layout[0] : layout[0] + 3 * width * height]
            regions.pushback(cvcuda.as_tensor(pixels.view(height, width, 3), "HWC"))
        options = {"antialias": True, "interpolation": cvcuda.Interp.LINEAR}
        return partial(cvcuda.hq_resize, regions, [(224, 224)] * len(patches.rows), **options)

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
        with Contest(options, options.photos or folder, Path(directory)) as contest:
            rows = contest.rows()
            left_out = take_turns(rows, rounds)
            bounds, more_left_out = contest.bounds()
        figures = {
            "machine": machine_info(),
            "device": options.device,
            "images": facts(contest.payloads),
            "batch_size": options.batch_size,
            "threads": options.threads,
            "rounds": rounds,
            "results": [row.as_json() for row in rows if row.rates],
            "left_out": left_out | more_left_out,
            "bounds": bounds,
        }
    options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
