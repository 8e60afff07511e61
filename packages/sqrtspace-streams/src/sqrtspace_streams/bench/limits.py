"""A limit on the memory of the processes that are measured."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Limit:
    """A limit that processes can be put under."""

    kind: str
    """``"cgroup"``: what is resident, files included; ``"rlimit"``: what is allocated."""
    enter: Callable[[], None]
    """To be called in a new process before Python starts in it."""


@contextmanager
def memory_limit(limit: int) -> Iterator[Limit]:
    """A limit in bytes for processes that enter it.

    A control group (version 1 or 2) beneath that of this process where it may make one, which is
    removed afterwards; else a limit on the data of each process.

    Raises
    ------
    OSError
        On systems that have neither.
    """
    group = _new_group(limit)
    if group is None:
        yield Limit("rlimit", _rlimit(limit))
        return
    procs = group / "cgroup.procs"

    def enter() -> None:
        procs.write_text(str(os.getpid()), encoding="ascii")

    try:
        yield Limit("cgroup", enter)
    finally:
        _remove(group)


def _new_group(limit: int, root: Path = Path("/")) -> Path | None:
    try:
        lines = (root / "proc/self/cgroup").read_text("ascii").split()
    except OSError:
        return None
    places = {line.split(":", 2)[1]: line.split(":", 2)[2].lstrip("/") for line in lines}
    if "memory" in places:
        own, name = root / "sys/fs/cgroup/memory" / places["memory"], "memory.limit_in_bytes"
    elif "" in places:
        own, name = root / "sys/fs/cgroup" / places[""], "memory.max"
    else:
        return None
    group: Path | None = None
    try:
        group = Path(tempfile.mkdtemp(prefix="sqrtspace-", dir=own))
        (group / name).write_text(str(limit), encoding="ascii")
        (group / "cgroup.procs").read_text("ascii")
    except OSError:  # not permitted, or memory is not counted here
        if group is not None:
            group.rmdir()
        return None
    return group


def _remove(group: Path) -> None:
    """Remove a group whose processes have ended, which may take the system a moment."""
    for _ in range(50):
        try:
            group.rmdir()
        except OSError:
            time.sleep(0.02)
        else:
            return
    group.rmdir()


def _rlimit(limit: int) -> Callable[[], None]:
    if sys.platform == "win32":
        raise OSError("no memory limit can be set on this system")
    import resource

    what = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS

    def enter() -> None:
        resource.setrlimit(what, (limit, limit))

    return enter
