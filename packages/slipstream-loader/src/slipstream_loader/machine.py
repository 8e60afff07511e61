"""What machine and which versions a figure was measured with."""

from __future__ import annotations

import platform
import socket
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from slipstream_decoders import default_num_threads, find_turbojpeg

_DISTRIBUTIONS = ("visionlab-slipstream-loader", "torch", "numpy", "numba", "pillow")


def machine_info() -> dict[str, Any]:
    """Facts about this machine and its software, ready for JSON."""
    import torch  # late: it takes seconds, and only the GPU's name comes from it

    library = find_turbojpeg()
    return {
        "host": socket.gethostname(),
        "system": platform.platform(),
        "processor": _processor(),
        "cpus": default_num_threads(),
        "memory_bytes": int(psutil.virtual_memory().total),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _DISTRIBUTIONS},
        "turbojpeg": library.path if library else None,
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """The CPU's model name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def memcpy_bytes_per_second(num_bytes: int = 64 << 20, repeats: int = 7) -> float:
    """Rate of a large single-threaded copy between buffers that are in no cache: the best of
    ``repeats``, in bytes copied."""
    source = np.ones(num_bytes, np.uint8)
    target = np.zeros_like(source)
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        np.copyto(target, source)
        best = min(best, time.perf_counter() - started)
    return num_bytes / best
