"""Ask the system for the images of coming batches, when reading is seen to wait for the disk.

Data that is in memory is read through its map for nothing, and asking for it would cost time. Data
that is not is read one page fault after another, unless the system was asked before. Major page
faults, which the system counts, tell the one from the other; no permission is needed for that.
Images that came from the disk leave the page tables after use: memory is soon free for others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_FAULTS_OF_DISK = 16
"""So many between two batches are not by chance."""
_BATCHES_AT_START = 8
"""Asking takes time even where nothing is missing; data that is not in memory shows soon."""
_BATCHES_AFTER_FAULTS = 64
"""When what was asked for is there in time, there are no faults: go on for so many batches."""
_MIN_BATCHES = 4
_MIN_SAMPLES = 256
"""Ahead of the batch that is made: enough requests at once for the disk."""


def major_faults() -> int:
    """Page faults of this process so far that had to wait for a disk; 0 on Windows."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt


class ReadAhead:
    """Decides when to ask, and for which batches. Called from the threads that make batches.

    Parameters
    ----------
    prefetch : callable
        Asks for the samples of these ids, without waiting for them; returns how many of their
        images were not in memory.
    unmap : callable
        Takes the samples of these ids out of the page tables.
    batch_size : int
    count_faults : callable
        Major page faults so far.
    """

    def __init__(
        self,
        prefetch: Callable[[NDArray[np.int64]], int],
        unmap: Callable[[NDArray[np.int64]], None],
        batch_size: int,
        count_faults: Callable[[], int] = major_faults,
    ) -> None:
        self._prefetch, self._unmap, self._count_faults = prefetch, unmap, count_faults
        self._reach = max(_MIN_BATCHES, -(-_MIN_SAMPLES // batch_size))
        self._faults = count_faults()
        self._batches_left = _BATCHES_AT_START
        self._from_disk: set[int] = set()

    def before(
        self, number: int, num_batches: int, ids_of: Callable[[int], NDArray[np.int64]]
    ) -> None:
        """Ask for the batches that come next, if it is worth it.

        Parameters
        ----------
        number : int
            The batch that is about to be made.
        num_batches : int
            Of the epoch.
        ids_of : callable
            Sample ids of a batch by its number.
        """
        faults = self._count_faults()
        was_asking = self._batches_left > 0
        if number == 0:  # what came before was not the reading of batches
            self._from_disk.clear()
        elif faults - self._faults >= _FAULTS_OF_DISK:
            self._batches_left = _BATCHES_AFTER_FAULTS
        # Two threads may count at once: then a batch is asked for twice, or not at all.
        self._faults = faults
        done = number - self._reach  # made, or its pages are mapped again
        if done in self._from_disk:
            self._from_disk.discard(done)
            self._unmap(ids_of(done))
        if self._batches_left == 0:
            return
        self._batches_left -= 1
        first = number + self._reach if was_asking and number > 0 else number
        for coming in range(first, min(number + self._reach + 1, num_batches)):
            if self._prefetch(ids_of(coming)):
                self._from_disk.add(coming)
