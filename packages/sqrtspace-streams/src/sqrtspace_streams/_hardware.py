"""What the machine has: cache, memory that this process may still take, processors."""

from __future__ import annotations

import functools
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sqrtspace_streams.plan import Machine

UNKNOWN_LLC_BYTES = 32 << 20
_LARGEST_SHARE = 16 << 20  # of a cache, for one processor
_VARIABLE = "SQRTSPACE_LLC_BYTES"
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def machine() -> Machine:
    """What there is to plan with; free memory is that of this second."""
    fresh, ram = fresh_memory_seconds_per_byte(), _ram_in_second(int(time.monotonic()))
    return Machine(llc_bytes(), ram, num_processors(), fresh)


@functools.lru_cache(maxsize=1)
def _ram_in_second(_second: int) -> int:
    return available_ram()


def llc_bytes(folder: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> int:
    """Bytes of the last-level cache; 32 MiB where the system does not say.

    A virtual machine sees the whole cache of its host, of which it has a part: at most 16 MiB
    count for each processor that shares it. ``SQRTSPACE_LLC_BYTES`` in the environment overrides
    all that.
    """
    if given := os.environ.get(_VARIABLE):
        return int(given)
    return _detected_llc_bytes(folder)


@functools.cache
def _detected_llc_bytes(folder: Path) -> int:
    sizes = [size for size in map(_cache_size, sorted(folder.glob("index*"))) if size]
    return max(sizes)[1] if sizes else UNKNOWN_LLC_BYTES


def _cache_size(folder: Path) -> tuple[int, int] | None:
    """Level and bytes of one cache; None for instructions or where files are missing."""
    try:
        if (folder / "type").read_text("ascii").strip() == "Instruction":
            return None
        level = int((folder / "level").read_text("ascii"))
        size = re.fullmatch(r"(\d+)([KMG]?)", (folder / "size").read_text("ascii").strip())
    except (OSError, ValueError):
        return None
    return (level, min(int(size[1]) * _UNITS[size[2]], _share(folder))) if size else None


def _share(folder: Path) -> int:
    """The most of a cache that can be meant for the processors that share it."""
    try:
        text = (folder / "shared_cpu_list").read_text("ascii").strip()
        ranges = [[int(end) for end in part.split("-")] for part in text.split(",")]
    except (OSError, ValueError):
        return sys.maxsize
    return sum(ends[-1] - ends[0] + 1 for ends in ranges) * _LARGEST_SHARE


def available_ram(root: Path = Path("/")) -> int:
    """Bytes that this process can still take: of the machine, its cgroups and its limits."""
    import psutil

    found = [int(psutil.virtual_memory().available), *_cgroup_headrooms(root)]
    if sys.platform != "win32":
        import resource

        taken = psutil.Process().memory_info()
        for kind, used in ((resource.RLIMIT_AS, taken.vms), (resource.RLIMIT_DATA, _data(taken))):
            limit = resource.getrlimit(kind)[0]
            if limit != resource.RLIM_INFINITY:
                found.append(max(limit - int(used), 0))
    return min(found)


def _data(taken: Any) -> int:
    """Bytes of private writable memory, which RLIMIT_DATA counts; where they are not told, 0."""
    return int(getattr(taken, "data", 0))


def _cgroup_headrooms(root: Path) -> Iterator[int]:
    """What is left in each control group of this process, version 1 and 2, up to the root."""
    try:
        lines = (root / "proc/self/cgroup").read_text("ascii").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        mount = root / "sys/fs/cgroup" / controllers
        files = ("memory.max", "memory.current", "inactive_file")
        if controllers:
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        folder = mount / path.lstrip("/")
        for group in [folder, *folder.parents]:
            if mount not in (group, *group.parents):
                break
            headroom = _headroom(group, *files)
            if headroom is not None:
                yield headroom


def _headroom(group: Path, limit_file: str, usage_file: str, cached: str) -> int | None:
    try:
        limit = int((group / limit_file).read_text("ascii"))
        usage = int((group / usage_file).read_text("ascii"))
        stat = (group / "memory.stat").read_text("ascii")
    except (OSError, ValueError):  # no such group here, or no limit: "max"
        return None
    reclaimable = re.search(rf"^{cached} (\d+)$", stat, re.MULTILINE)
    return max(limit - usage + (int(reclaimable[1]) if reclaimable else 0), 0)


def num_processors() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def fresh_memory_seconds_per_byte() -> float:
    """What it costs to touch memory for the first time, beyond writing to it; measured once."""
    size, found = 256 << 10, []
    for _ in range(3):  # other work can only make it longer
        block = np.empty(size + (33 << 20), np.uint8)  # larger than what malloc keeps
        began = time.thread_time()
        block[:size:4096] = 1
        first = time.thread_time()
        block[:size:4096] = 2
        found.append(max((first - began) - (time.thread_time() - first), 0.0) / size)
    return min(found)
