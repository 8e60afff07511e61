"""The threads that run kernels: one pool a process and size, shared by every loader.

Kernels release the GIL, so threads are enough. Work is handed out in small runs of samples, and a
second batch's runs queue behind the first's: no thread waits at the end of a batch.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

_MAX_RUN = 8

_lock = threading.Lock()
_pools: dict[int, KernelThreads] = {}


class KernelThreads:
    """A fixed number of threads that run functions over ranges of samples."""

    def __init__(self, num_threads: int) -> None:
        self.num_threads = num_threads
        self._executor = ThreadPoolExecutor(num_threads, thread_name_prefix="slipstream-kernel")

    def run(self, function: Callable[[int, int], None], num_samples: int) -> None:
        """Call ``function(begin, end)`` over ranges that cover ``[0, num_samples)``, and wait.

        One thread is the caller's own.

        Parameters
        ----------
        function : callable
            Called from several threads at once.
        num_samples : int

        Raises
        ------
        Exception
            The first failure, after every range has ended.
        KeyboardInterrupt
            After the ranges that had begun have ended; the others do not begin.
        """
        if self.num_threads == 1:  # the caller waits anyway; callers do not wait for one another
            function(0, num_samples)
            return
        run = max(1, min(_MAX_RUN, -(-num_samples // (4 * self.num_threads))))
        futures: list[Future[None]] = []
        try:
            for begin in range(0, num_samples, run):
                end = min(begin + run, num_samples)
                futures.append(self._executor.submit(function, begin, end))
            wait(futures)
        except BaseException:  # a signal: kernels still write to memory that the caller frees
            for future in futures:
                future.cancel()
            wait(futures)
            raise
        for future in futures:
            future.result()


def default_num_threads() -> int:
    """CPUs that this process may use, divided by the ranks of this node (LOCAL_WORLD_SIZE)."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_cpus()
    if quota is not None:
        cpus = min(cpus, quota)
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, cpus // (int(ranks) if ranks.isdigit() and int(ranks) > 0 else 1))


def _cgroup_cpus() -> int | None:
    """CPU limit of the container (cgroup v2 ``cpu.max``), rounded up; None when there is none."""
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else max(1, -(-int(quota) // int(period)))


def kernel_threads(num_threads: int | None = None) -> KernelThreads:
    """The process's shared threads.

    Parameters
    ----------
    num_threads : int, optional
        Default: ``default_num_threads()``. Each size has one pool.
    """
    size = default_num_threads() if num_threads is None else num_threads
    if size < 1:
        raise ValueError(f"num_threads must be at least 1, got {size}")
    with _lock:
        if size not in _pools:
            _pools[size] = KernelThreads(size)
        return _pools[size]


def _forget_pools() -> None:
    """A forked child has no threads of its parent: it makes new ones."""
    global _lock
    _lock = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pools)
