"""Sources in forked processes, such as the workers of torch's loader: right samples, no waiting."""

from __future__ import annotations

import io
import os
import random
import signal
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from slipstream_loader import transcode
from slipstream_loader.sources import TarSource, kept_file, neighbouring_reads
from slipstream_loader.sources.block_reader import Block, BlockReader
from slipstream_loader.sources.neighbouring_reads import NeighbouringReads

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),  # with threads: the point
    pytest.mark.timeout(120),
]


class Remote:
    """A file that is somewhere else."""

    is_remote = True
    uri = "s3://bucket/file.tar"

    def __init__(self, data: bytes) -> None:
        self._data, self.size = data, len(data)

    def read(self, start: int, stop: int) -> bytes:
        return self._data[start:stop]

    def identity(self) -> str:
        return "etag"


def begin_child(check: Callable[[], bool]) -> int:
    """Fork a process that ends with 0 if the check holds."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if check() else 1)
        finally:
            os._exit(2)
    return child


def end_child(child: int) -> int:
    """The exit status of a process; it has 20 seconds."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError("the child hangs")


def test_children_read_what_was_kept_of_an_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes that read at once get their own samples, not those at another one's position."""
    monkeypatch.setattr(kept_file, "_BLOCK_BYTES", 1000)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for number in range(300):
            info = tarfile.TarInfo(f"c/{number:03}.jpg")
            info.size = 3000
            tar.addfile(info, io.BytesIO(b"%03d" % number * 1000))
    source = TarSource(Remote(file.getvalue()), cache_root=tmp_path)

    all_begun = tmp_path / "all-begun"

    def reads_right(seed: int) -> bool:
        while not all_begun.exists():
            time.sleep(0.001)
        order = random.Random(seed).choices(range(300), k=3000)
        return all(source.read_alone(n)["image"] == b"%03d" % n * 1000 for n in order)

    children = [begin_child(lambda seed=seed: reads_right(seed)) for seed in range(4)]  # type: ignore[misc]
    all_begun.touch()
    assert reads_right(4)
    assert [end_child(child) for child in children] == [0] * 4


def test_children_make_requests_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads that make requests ahead are not there after a fork, and not waited for."""
    monkeypatch.setattr(neighbouring_reads, "_BLOCK_BYTES", 1000)
    data = random.Random(0).randbytes(100_000)
    reads = NeighbouringReads(Remote(data))

    def forward() -> bool:
        return all(reads.read(n, n + 100) == data[n : n + 100] for n in range(0, 50_000, 100))

    assert forward()
    with reads._lock:  # as a thread does at any time
        child = begin_child(forward)
    assert end_child(child) == 0
    assert forward()


def test_children_read_blocks_that_another_thread_was_reading() -> None:
    """Locks that were held at the fork are not waited for."""
    begun, goes_on = threading.Event(), threading.Event()
    parent = os.getpid()

    def is_parent() -> bool:
        return os.getpid() == parent

    def open_stream(block: int) -> Iterator[Block[int]]:
        for number in range(block, 10):
            if threading.current_thread().name.startswith("slipstream-ahead") and is_parent():
                begun.set()
                goes_on.wait(60)
            yield Block(number, [number], 10)

    reader = BlockReader(np.arange(11), np.zeros(1, np.int64), open_stream)
    assert reader[0] == 0
    assert begun.wait(20)
    child = begin_child(lambda: [reader[n] for n in range(10)] == list(range(10)))
    assert end_child(child) == 0
    goes_on.set()
    assert [reader[n] for n in range(10)] == list(range(10))


def test_children_decode_while_a_large_image_is_decoded() -> None:
    """Its turn ends in the parent alone."""

    def decode() -> bool:
        with transcode._turns.turn(1 << 40):
            return True

    with transcode._turns.turn(1 << 40):
        child = begin_child(decode)
        assert end_child(child) == 0
