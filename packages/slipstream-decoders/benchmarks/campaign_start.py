"""Many processes that start at once on an empty kernel cache: all must be right.

    uv run python packages/slipstream-decoders/benchmarks/campaign_start.py [--processes 100]
        [--kernels few|all]

All processes wait for one moment, and then compile, write and load the same machine code. ``few``
takes the kernels of the random numbers and of channel sums, which compile in seconds; ``all`` the
native decoder's, which take a minute of CPU time in every process. Each result is compared with
NumPy's or Pillow's in the process itself; a second wave then loads what the first has left.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

PROGRAM = """
import hashlib, io, json, sys, time
import numpy as np
from slipstream_decoders import channel_sums, words

def few():
    image = np.random.default_rng(0).integers(0, 256, (37, 41, 3), np.uint8)
    wide = image.reshape(-1, 3).astype(np.int64)
    assert (channel_sums(image) == [wide.sum(0), (wide**2).sum(0)]).all(), "channel_sums"
    return words(7, 50).tobytes()

def native():
    from PIL import Image
    from slipstream_decoders import BatchContext, EncodedBatch, crop_images, whole_image_boxes
    ramp = np.add.outer(np.arange(96), np.arange(128)).astype(np.uint8)
    picture = Image.fromarray(np.stack([ramp, ramp // 2 + 60, 255 - ramp], 2))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    batch = EncodedBatch.from_payloads([file.getvalue()])
    boxes = whole_image_boxes(batch.heights, batch.widths)
    context = BatchContext(np.zeros(1, np.int64), seed=0)
    pixels = crop_images(batch, boxes, (96, 128), context, engine="native")
    decoded = np.asarray(Image.open(file).convert("RGB")).astype(int)
    assert np.abs(pixels[0].astype(int) - decoded).mean() < 2, "crop_images"
    return pixels.tobytes()

while time.time() < float(sys.argv[2]):
    time.sleep(0.001)
result = few() + (native() if sys.argv[1] == "all" else b"")
print(hashlib.sha256(result).hexdigest())
"""


def wave(processes: int, kernels: str, directory: Path, delay: float, limit: float) -> list[str]:
    """Start processes on one kernel cache; what each of them said, or how it failed."""
    environment = {**os.environ, "SLIPSTREAM_KERNEL_CACHE": str(directory)}
    command = [sys.executable, "-c", PROGRAM, kernels, str(time.time() + delay)]
    started = [
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(processes)
    ]
    end = time.monotonic() + limit
    found = []
    for process in started:
        try:
            text, _ = process.communicate(timeout=max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            text = f"not ready after {limit:.0f} s"
        code = process.returncode
        found.append(text.strip() if code == 0 else f"exit {code}: {text.strip()[-300:]}")
    return found


def campaign(
    processes: int, kernels: str = "few", delay: float = 5.0, limit: float = 3000.0
) -> dict[str, Any]:
    """Two waves on one kernel cache, which is empty before the first.

    Returns
    -------
    dict
        ``answers``: what the processes said, and how many of them; one answer if all is right.
        ``is_right``. ``seconds`` of both waves. ``files`` of machine code in the end.
    """
    with tempfile.TemporaryDirectory() as directory:
        answers: Counter[str] = Counter()
        seconds = []
        for _ in range(2):
            began = time.monotonic()
            answers.update(wave(processes, kernels, Path(directory), delay, limit))
            seconds.append(round(time.monotonic() - began, 1))
        files = len(list(Path(directory).rglob("*.nbc")))
    is_right = len(answers) == 1 and len(next(iter(answers))) == 64 and files > 0
    return {"answers": dict(answers), "is_right": is_right, "seconds": seconds, "files": files}


def main() -> None:
    """Run the campaign; exit code 1 if a process was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=100)
    parser.add_argument("--kernels", choices=["few", "all"], default="few")
    parser.add_argument("--delay", type=float, default=30.0, help="until all begin, seconds")
    arguments = parser.parse_args()
    result = campaign(arguments.processes, arguments.kernels, arguments.delay)
    sys.stdout.write(json.dumps({"processes": arguments.processes, **result}, indent=1) + "\n")
    sys.exit(0 if result["is_right"] else 1)


if __name__ == "__main__":
    main()
