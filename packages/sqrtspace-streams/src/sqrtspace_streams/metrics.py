"""What a run took: peak memory, page faults, bytes read and written, cache misses, time.

The peak of a process never goes down, and a child starts with that of its parent's memory; so runs
that are compared are each a process of their own, which measures itself with a `Meter` and prints
its `Usage` (see `run_child`).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqrtspace_streams._cache_misses import CacheMissCounter

_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Usage:
    """What a run took; None where the system does not tell."""

    peak_bytes: int
    """Highest resident memory, of the whole process."""
    floor_bytes: int
    """Resident memory before the run."""
    minor_faults: int | None
    """Page faults that needed no reading."""
    major_faults: int | None
    """Page faults that did."""
    read_bytes: int | None
    """From storage; pages that were in memory do not count."""
    write_bytes: int | None
    llc_misses: int | None
    """Loads of user code that missed the last-level cache."""
    llc_reason: str
    """Why there is no such count; empty if there is one."""
    cpu_seconds: float
    seconds: float

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Usage:
        """The inverse of `to_json`."""
        return cls(**json.loads(text))


class Meter:
    """Context manager around a run; `usage` is there after it.

    On Linux the peak is the kernel's high-water mark, which is reset on entry (where
    ``/proc/self/clear_refs`` may not be written, it is that of the whole process); elsewhere it is
    always that of the whole process.

    Examples
    --------
    >>> with Meter() as meter:
    ...     block = bytearray(50_000_000)
    >>> meter.usage.peak_bytes - meter.usage.floor_bytes > 45_000_000
    True
    """

    usage: Usage

    def __enter__(self) -> Meter:
        self._misses = CacheMissCounter()
        _reset_peak()
        self._floor, self._io, self._faults = _resident_bytes(), _io_bytes(), _faults()
        self._misses.start()
        self._cpu, self._began = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        cpu, seconds = time.process_time() - self._cpu, time.perf_counter() - self._began
        misses = self._misses.stop()
        minor, major = _increase(self._faults, _faults())
        read, written = _increase(self._io, _io_bytes())
        self.usage = Usage(
            max(_peak_bytes(), self._floor),
            self._floor,
            minor,
            major,
            read,
            written,
            misses,
            self._misses.reason,
            cpu,
            seconds,
        )


def run_child(
    module: str, arguments: Sequence[str], *, before: Callable[[], None] | None = None
) -> str:
    """Run ``python -m module arguments`` with one BLAS thread; return what it printed.

    ``before`` is called in the new process before Python starts in it.

    Raises
    ------
    ChildError
        If it fails, with the end of what it wrote to standard error.
    """
    command = [sys.executable, "-m", module, *arguments]
    run = subprocess.run(
        command,
        env={**os.environ, **_ONE_THREAD},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=before,
    )
    if run.returncode:
        raise ChildError(module, arguments, run.returncode, run.stderr)
    return run.stdout


class ChildError(RuntimeError):
    """A process that should have measured a run failed.

    Attributes
    ----------
    status : int
        Negative where a signal ended it.
    ran_out_of_memory : bool
        Whether it was killed, as a control group does, or raised MemoryError.
    """

    def __init__(self, module: str, arguments: Sequence[str], status: int, errors: str) -> None:
        super().__init__(
            f"{module} {' '.join(arguments)} ended with status {status}:\n{errors[-2000:]}"
        )
        self.status = status
        refused = ("MemoryError", "Cannot allocate memory", "failed to map segment")
        self.ran_out_of_memory = status == -9 or any(word in errors for word in refused)


_Pair = tuple[int | None, int | None]


def _increase(before: _Pair, after: _Pair) -> _Pair:
    first, second = (
        None if a is None or b is None else b - a for a, b in zip(before, after, strict=True)
    )
    return first, second


def _process() -> Any:
    import psutil

    return psutil.Process()


def _resident_bytes() -> int:
    return int(_process().memory_info().rss)


def _reset_peak() -> None:
    """Let the high-water mark begin anew; without effect where that is not possible."""
    try:
        Path("/proc/self/clear_refs").write_text("5", "ascii")
    except OSError:  # not Linux, or not permitted
        return


def _peak_bytes() -> int:
    try:
        status = Path("/proc/self/status").read_text("ascii", "replace")
    except FileNotFoundError:
        return _peak_elsewhere()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else _peak_elsewhere()


def _peak_elsewhere() -> int:
    if sys.platform == "win32":
        return int(_process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) * (1 if sys.platform == "darwin" else 1024)


def _faults() -> _Pair:
    """Minor and major page faults so far."""
    if sys.platform == "win32":
        return int(_process().memory_info().num_page_faults), None
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_minflt, usage.ru_majflt


def _io_bytes() -> _Pair:
    """Bytes read from and written to storage so far."""
    process = _process()
    if not hasattr(process, "io_counters"):  # macOS
        return None, None
    counters = process.io_counters()
    return int(counters.read_bytes), int(counters.write_bytes)
