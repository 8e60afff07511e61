"""Samples that come one after another: from a function, an iterator, or whoever pushes them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import DTypeLike

from sqrtspace_streams.errors import ClosedError, SourceError
from sqrtspace_streams.sources.base import FiniteSource, Samples, Source
from sqrtspace_streams.sources.ring import SampleRing


class CallableSource(FiniteSource):
    """Samples that a function computes.

    Parameters
    ----------
    function : callable
        ``function(start, n)`` returns samples ``[start, start + n)``; it is asked for any range,
        and the same range may be asked for again.
    length : int, optional
        Samples in all; without it the stream has no end, and every question needs a ``t_range``.
    dtype : dtype
    item_shape : tuple of int
    """

    def __init__(
        self,
        function: Callable[[int, int], Samples],
        length: int | None = None,
        *,
        dtype: DTypeLike = "float32",
        item_shape: tuple[int, ...] = (),
    ) -> None:
        self._function, self.dtype, self.item_shape = function, np.dtype(dtype), tuple(item_shape)
        self.length = 1 << 62 if length is None else length
        self._is_endless = length is None

    @property
    def num_samples(self) -> int | None:  # type: ignore[override]
        """Samples in all; None without an end."""
        return None if self._is_endless else self.length

    @property
    def can_end(self) -> bool:
        """Whether a length was given."""
        return not self._is_endless

    def read(self, start: int, stop: int) -> Samples:
        """What the function returns, checked.

        Raises
        ------
        SourceError
            If it has another shape or dtype.
        """
        self.check_range(start, stop)
        samples = np.asarray(self._function(start, stop - start))
        shape = (stop - start, *self.item_shape)
        if samples.shape != shape or samples.dtype != self.dtype:
            raise SourceError(
                f"the source function returned {samples.dtype} {samples.shape} for samples "
                f"[{start}, {stop}): expected {self.dtype} {shape}"
            )
        return samples


class IteratorSource(Source):
    """Samples from an iterable of arrays, each of any length; it is read once, as far as needed.

    Parameters
    ----------
    chunks : iterable of ndarray
    keep : int
        Samples that stay readable behind the cursor.
    dtype : dtype
    item_shape : tuple of int
    """

    def __init__(
        self,
        chunks: Iterable[Samples],
        *,
        keep: int = 0,
        dtype: DTypeLike = "float32",
        item_shape: tuple[int, ...] = (),
    ) -> None:
        self.dtype, self.item_shape, self._keep = np.dtype(dtype), tuple(item_shape), keep
        self._chunks = iter(chunks)
        self._ring = SampleRing(self.dtype, self.item_shape)
        self._is_over = False
        self._failure: BaseException | None = None

    @property
    def num_samples(self) -> int | None:
        """Samples in all, once the iterator has ended."""
        return self._ring.stop if self._is_over else None

    @property
    def oldest(self) -> int:
        """The first sample that is kept."""
        return self._ring.start

    def reach(self, stop: int) -> int:
        """Take chunks from the iterator until there are ``stop`` samples.

        Raises
        ------
        SourceError
            If the iterator raised before, or gave something else than samples: what it would go on
            with is not what follows. The first time, that error itself is raised.
        """
        while self._ring.stop < stop and not self._is_over:
            if self._failure is not None:
                raise SourceError(
                    f"the iterator failed after {self._ring.stop} samples, with "
                    f"{type(self._failure).__name__}: bind another one"
                ) from self._failure
            try:
                chunk = np.asarray(next(self._chunks))
                check_samples(chunk, self.dtype, self.item_shape)
                self._ring.append(chunk)
            except StopIteration:
                self._is_over = True
            except BaseException as error:  # an interrupt ends a generator, too
                self._failure = error
                raise
        return min(stop, self._ring.stop)

    def read(self, start: int, stop: int) -> Samples:
        """A copy."""
        return self._ring.read(start, stop)

    def release(self, before: int) -> None:
        """Forget samples more than ``keep`` behind."""
        self._ring.drop(before - self._keep)


class PushSource(Source):
    """Samples that a producer pushes; one thread may push while another evaluates.

    Parameters
    ----------
    capacity : int
        Samples that are kept at most.
    dtype : dtype
    item_shape : tuple of int
    """

    def __init__(
        self,
        capacity: int,
        *,
        dtype: DTypeLike = "float32",
        item_shape: tuple[int, ...] = (),
    ) -> None:
        self.capacity, self.dtype, self.item_shape = capacity, np.dtype(dtype), tuple(item_shape)
        self._ring = SampleRing(self.dtype, self.item_shape)
        self._is_closed = False

    def push(self, samples: Samples) -> bool:
        """Copy samples in, or change nothing and return False where they do not fit now.

        Raises
        ------
        TypeError, ValueError
            For another dtype or shape.
        ClosedError
            After `finish`.
        """
        check_samples(samples, self.dtype, self.item_shape)
        if self._is_closed:
            raise ClosedError("the stream is closed: no more samples can be pushed")
        if len(samples) > self.capacity:
            warnings.warn(
                f"{len(samples)} samples never fit a buffer of {self.capacity}: push smaller "
                "pieces, or set a larger input_buffer_blocks",
                RuntimeWarning,
                stacklevel=3,
            )
        return self._ring.append(samples, self.capacity)

    def finish(self) -> None:
        """Say that no more samples will come."""
        self._is_closed = True

    @property
    def free_samples(self) -> int:
        """Samples that fit now."""
        return self.capacity - len(self._ring)

    @property
    def num_samples(self) -> int | None:
        """Samples in all, once the stream is closed."""
        return self._ring.stop if self._is_closed else None

    @property
    def oldest(self) -> int:
        """The first sample that is kept."""
        return self._ring.start

    @property
    def is_live(self) -> bool:
        """Whether more samples may be pushed."""
        return not self._is_closed

    def reach(self, stop: int) -> int:
        """How many there are so far; it does not wait."""
        return min(stop, self._ring.stop)

    def read(self, start: int, stop: int) -> Samples:
        """A copy."""
        return self._ring.read(start, stop)

    def drop(self, before: int) -> None:
        """Forget samples: their windows were pulled by all who subscribed."""
        self._ring.drop(before)


def check_samples(
    samples: Samples, dtype: np.dtype[np.generic], item_shape: tuple[int, ...]
) -> None:
    """Refuse samples of another type or shape.

    Raises
    ------
    TypeError
        If they are no array of ``dtype``.
    ValueError
        If they have another shape than ``(n, *item_shape)``.
    """
    if not isinstance(samples, np.ndarray):
        raise TypeError(f"samples are a {type(samples).__name__}: expected a NumPy array")
    if samples.dtype != dtype:
        raise TypeError(f"samples of {samples.dtype}: this stream has {dtype}; convert them")
    if samples.ndim < 1 or samples.shape[1:] != item_shape:
        raise ValueError(f"samples of shape {samples.shape}: expected (n, *{item_shape})")
