"""Loads that missed the last-level cache, counted by the processor; Linux only."""

from __future__ import annotations

import ctypes
import os
import platform
import sys

_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
_TYPE_HW_CACHE = 3
_LAST_LEVEL_READ_MISS = 2 | 0 << 8 | 1 << 16
_DISABLED, _INHERIT, _EXCLUDE_KERNEL, _EXCLUDE_HV = 1 << 0, 1 << 1, 1 << 5, 1 << 6
_ENABLE, _DISABLE = 0x2400, 0x2401


class _Attributes(ctypes.Structure):
    """The first version of ``struct perf_event_attr`` (64 bytes)."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("config", ctypes.c_uint64),
        ("sample_period", ctypes.c_uint64),
        ("sample_type", ctypes.c_uint64),
        ("read_format", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
        ("wakeup_events", ctypes.c_uint32),
        ("bp_type", ctypes.c_uint32),
        ("bp_addr", ctypes.c_uint64),
    )


class CacheMissCounter:
    """Counts the misses of this process and of threads that it starts.

    Attributes
    ----------
    reason : str
        Why it cannot count: many virtual machines have no counters, and many systems do not let
        their users see them. Empty if it can.
    """

    def __init__(self) -> None:
        self._file, self.reason = _open_counter()

    def start(self) -> None:
        """Count from now on."""
        if self._file is not None:
            self._control(_ENABLE)

    def stop(self) -> int | None:
        """The count, or None; the counter is closed."""
        if self._file is None:
            return None
        try:
            self._control(_DISABLE)
            return int.from_bytes(os.read(self._file, 8), sys.byteorder)
        finally:
            os.close(self._file)
            self._file = None

    def _control(self, request: int) -> None:
        import fcntl

        assert self._file is not None
        fcntl.ioctl(self._file, request, 0)


def _open_counter() -> tuple[int | None, str]:
    """File of a counter that is off; None and the reason where there is none."""
    call = _PERF_EVENT_OPEN.get(platform.machine())
    if not sys.platform.startswith("linux") or call is None:
        return None, f"not counted on {sys.platform} {platform.machine()}"
    attributes = _Attributes(
        type=_TYPE_HW_CACHE,
        size=ctypes.sizeof(_Attributes),
        config=_LAST_LEVEL_READ_MISS,
        flags=_DISABLED | _INHERIT | _EXCLUDE_KERNEL | _EXCLUDE_HV,
    )
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    number, this_process, any_cpu, no_group = (ctypes.c_long(n) for n in (call, 0, -1, -1))
    file = libc.syscall(
        number, ctypes.byref(attributes), this_process, any_cpu, no_group, ctypes.c_ulong(0)
    )
    if file < 0:
        return None, f"the system has no counter for us: {os.strerror(ctypes.get_errno())}"
    return int(file), ""
