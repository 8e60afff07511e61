"""What a run leaves alone: the disk, the page tables, memory from epoch to epoch."""

from __future__ import annotations

import platform
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from sqrtspace_streams.demos import audio, ml

_OPENED_TO_WRITE = """
import os, sys
from sqrtspace_streams import demos
opened = []
def hook(event, arguments):
    if event == "open" and isinstance(arguments[2], int):
        if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            opened.append(arguments[0])
demo = demos.load("logs")
pipe = demo.pipeline(window=16, hop=16, mode="sqrt", max_workers=2)
sys.addaudithook(hook)
with open(sys.argv[1], "ab"):
    pass
assert opened == [sys.argv[1]], "the hook sees what is opened"
pipe.bind(sys.argv[1])
rows = pipe.evaluate("alerts")
again = pipe.evaluate("alerts", (400, 410))
assert len(rows) == 625 and again.tobytes() == rows[400:410].tobytes()
print(opened[1:])
"""

_FAULTS_OF_TILES = """
import resource
import numpy as np
from sqrtspace_streams import demos
demo = demos.load("audio")
pipe = demo.pipeline(window=4096, hop=1024, mode="sqrt", tile=32, max_workers=1)
pipe.bind(np.random.default_rng(0).standard_normal(1024 * 8000).astype("float32"))
blocks = pipe.blocks("classify", params=demo.params(4096))
def faults(tiles):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(tiles):
        next(blocks)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(40)
print(faults(200))
"""


def output_of(code: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_an_evaluation_writes_no_file(tmp_path: Path) -> None:
    """Checkpoints and caches are in memory: nothing is opened to be written to."""
    path = tmp_path / "access.log"
    path.write_bytes(b'h - - [t] "GET /api/x HTTP/1.1" 200 1 1\n' * 10_000)
    assert output_of(_OPENED_TO_WRITE, str(path)) == "[]"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc keeps freed blocks for us")
def test_tiles_reuse_memory() -> None:
    """Two hundred tiles after the first ones take less than one new page for every four."""
    assert int(output_of(_FAULTS_OF_TILES)) < 50


@pytest.mark.parametrize("workers", [1, 3])
def test_a_tile_leaves_nothing_behind(workers: int) -> None:
    """Of the common stages: less than 64 KiB in 60 tiles, and no more tiles at once than threads.

    One more may wait for a thread.
    """
    pipe = audio.pipeline(window=1024, hop=256, mode="sqrt", tile=32, max_workers=workers)
    pipe.bind(np.random.default_rng(0).standard_normal(256 * 4000).astype("float32"))
    params = audio.params(1024)

    def traced(tiles: int) -> tuple[int, int]:
        tracemalloc.reset_peak()
        for _ in range(tiles):
            next(blocks)
        return tracemalloc.get_traced_memory()

    tracemalloc.start()
    try:
        pipe.evaluate("classify", (0, 32), params)
        alone = tracemalloc.get_traced_memory()[1]
        blocks = pipe.blocks("classify", params=params)
        before, _ = traced(20)
        after, peak = traced(60)
    finally:
        tracemalloc.stop()
    if workers == 1:
        assert after - before < 64 << 10
    assert peak < (1 if workers == 1 else workers + 1) * alone + (256 << 10)


def test_memory_stays_flat_over_epochs(tmp_path: Path) -> None:
    """Three passes of a loader peak at the same bytes, far below the features of all images."""
    pytest.importorskip("torch")
    from sqrtspace_streams.adapters.pytorch_windows import window_loader

    ml.write_images(tmp_path / "images.npy", 64)
    pipe = ml.DEMO.pipeline(window=1, hop=1, mode="sqrt", tile=4, max_workers=1)
    pipe.bind(tmp_path / "images.npy")
    loader = window_loader(pipe, "augment", batch_size=4)
    peaks = []
    for _ in range(4):
        tracemalloc.start()
        size = sum(batch.numel() * 4 for batch in loader)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(peaks[1:]) < 1.05 * min(peaks[1:])
    assert max(peaks[1:]) < size / 4
