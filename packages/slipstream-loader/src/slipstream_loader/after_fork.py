"""What has threads or locks begins anew in a forked child, which has no threads of its parent.

A lock that another thread held at the fork would never be released there, and a pool would wait for
threads that are gone. Workers of torch's ``DataLoader`` are such children.
"""

from __future__ import annotations

import os
import weakref
from typing import Any, Protocol


class Restarted(Protocol):
    """What can begin anew, with new locks and without the threads that it had."""

    def restart(self) -> None:
        """Forget what goes on, without waiting for it."""


_restarted: weakref.WeakSet[Any] = weakref.WeakSet()


def restart_now_and_after_fork(thing: Restarted) -> None:
    """Call ``thing.restart()``, and have every forked child call it before anything else."""
    thing.restart()
    _restarted.add(thing)


def _restart_all() -> None:
    for thing in list(_restarted):
        thing.restart()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_all)
