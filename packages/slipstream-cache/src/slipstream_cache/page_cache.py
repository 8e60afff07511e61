"""The operating system's page cache: what is in it, and asking for more before it is needed.

Reading a map that is not in memory waits for one fault after another. Asked in advance, the system
reads many ranges at once, while the caller does something else.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from slipstream_cache.maps import FileMap
from slipstream_cache.payloads import Blobs, Payloads

_HAS_CALLS: Final = sys.platform != "win32"
_POPULATE_READ: Final = 22
"""``MADV_POPULATE_READ`` of Linux 5.14; ``mmap`` names it from Python 3.14 on, if at all."""
_PREFETCH_THREADS: Final = 16
_PREFETCH_RUN: Final = 4
_PAGE: Final = mmap.PAGESIZE
_READ_BYTES: Final = 8 << 20
_READ_THREADS: Final = 8


@dataclass(frozen=True)
class WarmUp:
    """What ``SampleCache.warm_up`` read."""

    num_bytes: int
    """Bytes of all files that were read."""
    seconds: float
    """How long it took."""


def prefetch(located: Payloads | Blobs, *, only_missing: bool = True) -> int:
    """Ask the system to read values into memory, without waiting for them.

    It takes some microseconds a value, and the reads overlap one another and the caller's work.
    Nothing happens on Windows.

    Parameters
    ----------
    located : Payloads or Blobs
        Values of a cache, a view or a derived field.
    only_missing : bool
        Pass over values that are in memory. Linux says so only to who may write the files, and
        otherwise that all of them are: see ``tells_residency``.

    Returns
    -------
    int
        Values that were asked for.

    Notes
    -----
    Where memory is short, the system leaves some of what it was advised to read. On Linux, threads
    then wait for those pages, so that the caller does not.
    """
    if not _HAS_CALLS:
        return 0
    ranges = _page_ranges(located)
    if only_missing:
        ranges = _missing(ranges)
    madvise = _libc().madvise
    for address, length in ranges:
        madvise(address, length, mmap.MADV_WILLNEED)
    if sys.platform == "linux":
        for begin in range(0, len(ranges), _PREFETCH_RUN):
            _readers().submit(_populate, ranges[begin : begin + _PREFETCH_RUN], located.owner)
    return len(ranges)


def tells_residency(path: Path) -> bool:
    """Whether the system says which pages of a file, or of those in a folder, are in memory.

    If not, it says that all of them are.
    """
    return os.access(path, os.W_OK) or path.stat().st_uid == os.geteuid()


def unmap(located: Payloads | Blobs) -> None:
    """Take values out of this process's page tables; what is in memory stays there.

    Reading them again is right, and costs page faults. Where memory is short, a system that wants
    pages back must first take each mapped one from every thread, which costs more than reading it
    did. Nothing happens on Windows.

    Parameters
    ----------
    located : Payloads or Blobs
        Values of a cache, a view or a derived field, that are not needed for a while.
    """
    if not _HAS_CALLS:
        return
    madvise = _libc().madvise
    for address, length in _page_ranges(located):
        madvise(address, length, mmap.MADV_DONTNEED)


def _page_ranges(located: Payloads | Blobs) -> list[tuple[int, int]]:
    """Address of the first page, and bytes from there to the value's end; empty ones left out."""
    first = located.addresses & -_PAGE
    lengths = located.addresses + located.sizes - first
    wanted = located.sizes > 0
    return list(zip(first[wanted].tolist(), lengths[wanted].tolist(), strict=True))


def _missing(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those of which some page is not in memory."""
    if not hasattr(_libc(), "mincore"):
        return ranges
    mincore = _libc().mincore
    present = bytearray(-(-max((length for _, length in ranges), default=1) // _PAGE))
    place = ctypes.addressof(ctypes.c_char.from_buffer(present))
    return [
        (address, length)
        for address, length in ranges
        if mincore(address, length, place) or 0 in present[: -(-length // _PAGE)]
    ]


def _populate(ranges: list[tuple[int, int]], owner: object) -> None:
    """Read ranges and wait; their owner keeps them mapped meanwhile. Older kernels refuse."""
    del owner
    madvise = _libc().madvise
    for address, length in ranges:
        madvise(address, length, _POPULATE_READ)


@cache
def _readers() -> ThreadPoolExecutor:
    """The process's threads that wait for the disk."""
    return ThreadPoolExecutor(_PREFETCH_THREADS, "slipstream-prefetch")


if hasattr(os, "register_at_fork"):  # a child has no threads of its parent
    os.register_at_fork(after_in_child=_readers.cache_clear)


def resident_bytes(file: FileMap) -> int | None:
    """Return how many bytes of a mapped file are in memory; None where the system cannot tell."""
    if not _HAS_CALLS or not hasattr(_libc(), "mincore"):
        return None
    pages = np.zeros(-(-file.num_bytes // _PAGE), np.uint8)
    if not len(pages):
        return 0
    if _libc().mincore(file.address, file.num_bytes, pages.ctypes.data):
        return None
    present = (pages & 1).astype(bool)
    missing_tail = -file.num_bytes % _PAGE if present[-1] else 0
    return int(present.sum()) * _PAGE - missing_tail


def read_files(paths: Iterable[Path], report: Callable[[int], None]) -> WarmUp:
    """Read whole files with several threads; ``report`` gets numbers of bytes as they are read."""
    started = time.perf_counter()
    with ThreadPoolExecutor(_READ_THREADS, "slipstream-warm-up") as pool:
        total = 0
        for num_bytes in pool.map(_read_file, paths):
            total += num_bytes
            report(num_bytes)
    return WarmUp(total, time.perf_counter() - started)


def _read_file(path: Path) -> int:
    buffer = bytearray(_READ_BYTES)
    total = 0
    with path.open("rb", buffering=0) as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while count := file.readinto(buffer):
            total += count
    return total


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    return libc
