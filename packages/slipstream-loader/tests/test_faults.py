"""Interrupts, threads, forks, leaks: the loader leaves nothing behind and never hangs."""

from __future__ import annotations

import gc
import io
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from slipstream_decoders import DecodeRandomResizedCrop
from slipstream_loader import SlipstreamDataset, SlipstreamLoader

pytestmark = pytest.mark.timeout(180)

NUM = 48


def jpeg(number: int) -> bytes:
    """A small JPEG."""
    pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((120, 90)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SlipstreamDataset:
    """Small images."""
    samples = [{"image": jpeg(number), "label": number} for number in range(NUM)]
    return SlipstreamDataset(samples, cache_dir=tmp_path_factory.mktemp("caches"))


def loader(dataset: SlipstreamDataset, **options: Any) -> SlipstreamLoader:
    """A decoding loader."""
    stages = {"image": [DecodeRandomResizedCrop(64)]}
    return SlipstreamLoader(
        dataset, **{"batch_size": 8, "seed": 1, "pipelines": stages, "num_threads": 2, **options}
    )


def fingerprint(run: SlipstreamLoader) -> list[float]:
    """Something that depends on every pixel of an epoch."""
    return [batch["image"].double().mean().item() for batch in run]


def test_two_loaders_in_two_threads(dataset: SlipstreamDataset) -> None:
    """They share the kernel threads and disturb each other in nothing."""
    expected = fingerprint(loader(dataset))
    results: dict[int, list[float]] = {}

    def work(number: int) -> None:
        run = loader(dataset)
        for _ in range(5):
            run.set_epoch(0)
            results[number] = fingerprint(run)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == {0: expected, 1: expected}


@pytest.mark.parametrize("pause", ["consumer", "producer"])
def test_slow_and_fast_consumers_get_the_same(dataset: SlipstreamDataset, pause: str) -> None:
    """Whoever waits for whom."""

    def slow_stage(images: torch.Tensor) -> torch.Tensor:
        time.sleep(0.02 if pause == "producer" else 0)
        return images

    run = loader(dataset, pipelines={"image": [DecodeRandomResizedCrop(64), slow_stage]})
    seen = []
    for batch in run:
        time.sleep(0.02 if pause == "consumer" else 0)
        seen.append(batch["image"].double().mean().item())
    assert seen == fingerprint(loader(dataset))


def test_batches_kept_for_long_do_not_change(dataset: SlipstreamDataset) -> None:
    """Every second batch of several epochs is kept while the others' buffers are used again."""
    run = loader(dataset)
    kept, copies = [], []
    for _ in range(6):
        for number, batch in enumerate(run):
            if number % 2:
                kept.append(batch["image"])
                copies.append(batch["image"].clone())
    assert all(torch.equal(one, other) for one, other in zip(kept, copies, strict=True))


def test_fifty_epochs_leave_nothing_behind(dataset: SlipstreamDataset) -> None:
    """Threads, descriptors and memory are flat."""
    process = psutil.Process()
    run = loader(dataset)

    def measure() -> tuple[int, int, int]:
        gc.collect()
        return threading.active_count(), process.num_fds(), process.memory_info().rss

    for _ in range(10):
        fingerprint(run)
    before = measure()
    for _ in range(50):
        fingerprint(run)
    after = measure()
    assert after[0] <= before[0]
    assert after[1] <= before[1]
    assert after[2] - before[2] < 16 << 20


def _child(dataset: SlipstreamDataset, queue: Any) -> None:
    torch.set_num_threads(1)  # OpenMP's threads, which a fork does not copy, are torch's affair
    queue.put(fingerprint(loader(dataset)))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_of_a_process_that_has_iterated(dataset: SlipstreamDataset) -> None:
    """The child makes threads of its own."""
    expected = fingerprint(loader(dataset))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(dataset, queue), daemon=True)
    child.start()
    try:
        assert queue.get(timeout=60) == expected
        child.join(30)
        assert child.exitcode == 0
    finally:
        child.kill()


def test_a_loader_that_is_sent_to_a_fresh_process(
    dataset: SlipstreamDataset, tmp_path: Path
) -> None:
    """As spawn does it: pickled, and iterated there."""
    run = loader(dataset)
    expected = fingerprint(run)
    run.set_epoch(0)
    (tmp_path / "loader.pickle").write_bytes(pickle.dumps(run))
    code = (
        "import pathlib, pickle, sys\n"
        "run = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "print([batch['image'].double().mean().item() for batch in run])\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "loader.pickle")],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    assert child.stdout.strip() == str(expected)


SCRIPT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
from slipstream_decoders import DecodeRandomResizedCrop
from slipstream_loader import SlipstreamLoader

def stage(images):
    time.sleep(0.2)
    return images

loader = SlipstreamLoader(
    sys.argv[1], batch_size=2, pipelines={"image": [DecodeRandomResizedCrop(64), stage]}
)
try:
    while True:
        for number, batch in enumerate(loader):
            print("batch", number, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    if sys.argv[2] == "go on":
        print("again", len(next(iter(loader))["label"]), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ on Windows")
@pytest.mark.parametrize("after", ["stop", "go on"])
def test_ctrl_c_ends_the_program_at_once(dataset: SlipstreamDataset, after: str) -> None:
    """SIGINT in next(): KeyboardInterrupt reaches the loop; the process ends within seconds."""
    path = loader(dataset).cache.cache_dir
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path), after],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "batch 0\n"
            os.kill(child.pid, signal.SIGINT)
            out, error = child.communicate(timeout=30)
        finally:
            child.kill()
    assert "interrupted" in out
    assert ("again 2" in out) == (after == "go on")
    assert "Traceback" not in error
    assert child.returncode == 0


def test_the_program_ends_while_batches_are_being_made(dataset: SlipstreamDataset) -> None:
    """A script that breaks out of its loop and ends does not hang on the loader's threads."""
    code = SCRIPT.split("try:")[0] + "next(iter(loader))\niterator = iter(loader)\nnext(iterator)\n"
    path = loader(dataset).cache.cache_dir
    run = subprocess.run(
        [sys.executable, "-c", code, str(path), "x"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_a_source_that_fails_leaves_no_cache(tmp_path: Path) -> None:
    """The exception of a source reaches the user unchanged; a second attempt works."""

    class Source:
        dataset_hash = "0123"
        works = False

        def __len__(self) -> int:
            return 12

        def __getitem__(self, index: int) -> dict[str, Any]:
            if index == 9 and not self.works:
                raise LookupError("ninth")
            return {"x": index}

    source = Source()
    dataset = SlipstreamDataset(source, cache_dir=tmp_path)
    with pytest.raises(LookupError, match="ninth"):
        SlipstreamLoader(dataset, batch_size=3)
    assert not (dataset.cache_path / "manifest.json").exists()
    source.works = True
    assert len(list(SlipstreamLoader(dataset, batch_size=3))) == 4
