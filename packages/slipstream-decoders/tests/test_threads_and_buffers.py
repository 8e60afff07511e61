"""Kernel threads and the pool of buffers."""

from __future__ import annotations

import gc
import multiprocessing
import sys
import threading
import time
from concurrent.futures import Future, wait

import numpy as np
import pytest
import torch

from slipstream_decoders import BufferPool, default_num_threads
from slipstream_decoders.threads import kernel_threads


@pytest.mark.parametrize("num_samples", [0, 1, 7, 256, 1001])
def test_every_sample_is_run_once(num_samples: int) -> None:
    """The ranges cover the batch without overlap."""
    seen = np.zeros(num_samples, int)

    def mark(begin: int, end: int) -> None:
        seen[begin:end] += 1

    kernel_threads(3).run(mark, num_samples)
    assert (seen == 1).all()


def test_a_failure_is_raised_after_all_ranges_have_ended() -> None:
    """The caller may free buffers when run returns, whatever happened."""
    running = threading.Semaphore(0)

    def work(begin: int, end: int) -> None:
        if begin == 0:
            raise LookupError("first range")
        running.release()

    threads = kernel_threads(2)
    with pytest.raises(LookupError, match="first range"):
        threads.run(work, 64)
    assert sum(running.acquire(blocking=False) for _ in range(64)) == 7


def test_an_interrupt_leaves_no_kernel_running(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends ``run`` when the ranges that had begun have ended; the others never begin."""
    begun, ended = threading.Semaphore(0), []
    interrupts = [KeyboardInterrupt]

    def interrupted_wait(futures: list[Future[None]]) -> object:
        if interrupts:
            begun.acquire(timeout=30)
            raise interrupts.pop()
        return wait(futures, timeout=30)

    def work(begin: int, end: int) -> None:
        begun.release()
        time.sleep(0.05)
        ended.append(begin)

    monkeypatch.setattr("slipstream_decoders.threads.wait", interrupted_wait)
    with pytest.raises(KeyboardInterrupt):
        kernel_threads(2).run(work, 256)
    num_ended = len(ended)
    assert 1 <= num_ended < 32
    kernel_threads(2).run(lambda begin, end: None, 256)
    assert len(ended) == num_ended


def test_pools_are_shared_and_sized() -> None:
    """One pool a size; the default is what the process may use."""
    assert kernel_threads(2) is kernel_threads(2)
    assert kernel_threads().num_threads == default_num_threads() >= 1
    with pytest.raises(ValueError, match="num_threads"):
        kernel_threads(0)


def test_local_ranks_share_the_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many ranks as CPUs leave one thread each."""
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "100000")
    assert default_num_threads() == 1


def _run_in_child(queue: multiprocessing.Queue[int]) -> None:
    done = np.zeros(20, int)

    def mark(begin: int, end: int) -> None:
        done[begin:end] = 1

    kernel_threads(2).run(mark, 20)
    queue.put(int(done.sum()))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.timeout(60)
def test_a_forked_child_gets_threads_of_its_own() -> None:
    """The parent's threads do not exist in the child: it must not wait for them."""
    kernel_threads(2).run(lambda begin, end: None, 20)
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[int] = context.Queue()
    child = context.Process(target=_run_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=30) == 20
    child.join(30)


def test_a_buffer_returns_when_the_last_view_is_gone() -> None:
    """Tensors, their views, and NumPy views of either keep it; nothing else does."""
    for hold in (
        lambda array: torch.from_numpy(array)[1:],
        lambda array: torch.from_numpy(array).permute(1, 0).numpy()[2:],
        lambda array: array[1:].reshape(-1)[3:],
    ):
        pool = BufferPool(max_free=2)
        array = pool.lend((4, 6), np.float32)
        address = array.ctypes.data
        held = hold(array)
        del array
        gc.collect()
        assert pool.lend((4, 6), np.float32).ctypes.data != address
        del held
        gc.collect()
        lent = [pool.lend((4, 6), np.float32) for _ in range(3)]
        assert address in [array.ctypes.data for array in lent]


def test_lent_buffers_are_aligned_typed_and_fit() -> None:
    """64-byte aligned, of the asked shape and type; a far larger free buffer is not wasted."""
    pool = BufferPool(max_free=4)
    large = pool.lend((1000, 1000), np.uint8)
    address = large.ctypes.data
    del large
    small = pool.lend((3, 5), np.float16)
    assert small.ctypes.data != address
    assert small.ctypes.data % 64 == 0
    assert (small.shape, small.dtype) == ((3, 5), np.float16)
    assert pool.lend((0,), np.uint8).size == 0


def test_no_python_code_runs_when_a_lent_array_is_gone() -> None:
    """An interrupt that came there would be lost: the interpreter ignores errors of callbacks."""
    pool = BufferPool(max_free=1)
    array = pool.lend((1 << 20,), np.uint8)
    address = array.ctypes.data
    called: list[str] = []
    sys.setprofile(lambda frame, event, _: called.append(event))
    del array
    sys.setprofile(None)
    assert "call" not in called
    assert pool.lend((1 << 20,), np.uint8).ctypes.data == address
