"""What a pipeline reads samples from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqrtspace_streams.errors import SourceError

Samples = NDArray[Any]


class Source(ABC):
    """A stream of samples, numbered from 0.

    Attributes
    ----------
    dtype : numpy.dtype
        Type of a sample.
    item_shape : tuple of int
        Shape of a sample: ``()``, or ``(channels,)``, or that of an image.
    """

    dtype: np.dtype[Any]
    item_shape: tuple[int, ...] = ()

    @abstractmethod
    def reach(self, stop: int) -> int:
        """Make samples before ``stop`` readable if they exist; return how many there are of them.

        Where it returns less than ``stop``, that many are there so far.
        """

    @abstractmethod
    def read(self, start: int, stop: int) -> Samples:
        """Samples ``[start, stop)``, shape (stop - start, *item_shape); not to be written to.

        Raises
        ------
        SourceError
            If they cannot be read.
        WindowExpiredError
            If they are no longer kept.
        """

    @property
    def num_samples(self) -> int | None:
        """Samples in all, or None while that is unknown."""
        return None

    @property
    def oldest(self) -> int:
        """The first sample that can still be read."""
        return 0

    @property
    def is_live(self) -> bool:
        """Whether samples may come that `reach` does not wait for."""
        return False

    @property
    def can_end(self) -> bool:
        """Whether there is a last sample at all."""
        return True

    def release(self, before: int) -> None:  # noqa: B027 most sources keep nothing
        """Say that this pass will not read samples before ``before`` again."""

    def close(self) -> None:  # noqa: B027
        """Let go of files."""


class FiniteSource(Source):
    """A source whose length is known and whose samples can be read in any order."""

    length: int

    @property
    def num_samples(self) -> int:
        """Samples in all."""
        return self.length

    def reach(self, stop: int) -> int:
        """All samples are there."""
        return min(stop, self.length)

    def check_range(self, start: int, stop: int) -> None:
        """Refuse a range outside the source."""
        if not 0 <= start <= stop <= self.length:
            raise SourceError(f"samples [{start}, {stop}) of a source that has {self.length}")
