"""The samples of a stream that are still needed, in one array."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from sqrtspace_streams.errors import WindowExpiredError
from sqrtspace_streams.sources.base import Samples


class SampleRing:
    """Samples ``[start, stop)`` of a stream: appended at one end, dropped at the other.

    One thread may append while another reads and drops. The array has twice the room that is
    needed, so samples move to its front only after as many were dropped.

    Parameters
    ----------
    dtype : numpy.dtype
    item_shape : tuple of int
    """

    def __init__(self, dtype: np.dtype[Any], item_shape: tuple[int, ...] = ()) -> None:
        self._array: Samples = np.empty((0, *item_shape), dtype)
        self._first = 0  # position of sample `start` in the array
        self._lock = threading.Lock()
        self.start = self.stop = 0

    def __len__(self) -> int:
        return self.stop - self.start

    def append(self, samples: Samples, capacity: int | None = None) -> bool:
        """Copy samples in; False and no change where more than ``capacity`` would be kept."""
        with self._lock:
            kept = len(self)
            if capacity is not None and kept + len(samples) > capacity:
                return False
            if self._first + kept + len(samples) > len(self._array):
                self._make_room(kept + len(samples))
            end = self._first + kept
            self._array[end : end + len(samples)] = samples
            self.stop += len(samples)
            return True

    def read(self, start: int, stop: int) -> Samples:
        """A copy of samples ``[start, stop)``.

        Raises
        ------
        WindowExpiredError
            If some were dropped.
        ValueError
            If some have not come yet.
        """
        with self._lock:
            if stop > self.stop:
                raise ValueError(f"samples to {stop} are asked for; {self.stop} have come")
            if start < self.start:
                raise WindowExpiredError(
                    f"samples from {start} on are asked for, and those before {self.start} are "
                    "no longer kept"
                )
            first = self._first + start - self.start
            samples: Samples = self._array[first : first + stop - start].copy()
            return samples

    def drop(self, before: int) -> None:
        """Forget samples before ``before``."""
        with self._lock:
            count = min(before, self.stop) - self.start
            if count > 0:
                if self._array.dtype.hasobject:
                    self._array[self._first : self._first + count] = np.zeros(1, self._array.dtype)
                self._first += count
                self.start += count

    def _make_room(self, needed: int) -> None:
        """Move the samples to the front, of a larger array where they fill more than half."""
        kept = self._array[self._first : self._first + len(self)]
        if 2 * needed > len(self._array):
            array = np.empty((2 * needed, *self._array.shape[1:]), self._array.dtype)
        else:
            array = self._array
        array[: len(kept)] = kept
        self._array, self._first = array, 0
