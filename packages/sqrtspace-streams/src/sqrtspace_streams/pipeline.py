"""`SqrtSpacePipeline`: declare stages, then ask for windows of any of them, or push and pull."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from typing_extensions import Unpack

from sqrtspace_streams._allocator import tune_allocator
from sqrtspace_streams._collect import collect
from sqrtspace_streams._memory import Memory
from sqrtspace_streams._question import Question
from sqrtspace_streams._rows import Array
from sqrtspace_streams._stage import Kernel
from sqrtspace_streams.adapters import load_backend
from sqrtspace_streams.config import Config, Settings
from sqrtspace_streams.counts import Counts
from sqrtspace_streams.errors import GraphError, ParameterError, TruncatedRangeWarning
from sqrtspace_streams.plan import Plan
from sqrtspace_streams.reverse import ReverseMethods
from sqrtspace_streams.sources import FiniteSource, PushSource, Source, SourceLike, as_source

__all__ = ["Config", "Kernel", "SqrtSpacePipeline"]


class SqrtSpacePipeline(ReverseMethods):
    """A graph of stages over the windows of a stream.

    Window t is samples ``[t * hop, t * hop + window)``. Results do not depend on the mode, the
    tile, the caches, the workers, or on the pieces in which windows are asked for. One thread may
    push while another evaluates.

    Parameters
    ----------
    **config : Config
        See `Settings` for what each option means.

    Raises
    ------
    TypeError, ValueError
        For an unknown option or a value that it cannot have.
    BackendUnavailableError
        If the library of ``backend`` is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> pipe = SqrtSpacePipeline(window=4, hop=2)
    >>> @pipe.stage("mean")
    ... def mean(x: np.ndarray) -> np.ndarray:
    ...     return x.mean(axis=1)
    >>> pipe.bind(np.arange(8, dtype="float32"))
    >>> pipe.evaluate("mean")
    array([1.5, 3.5, 5.5], dtype=float32)
    """

    def __init__(self, **config: Unpack[Config]) -> None:
        super().__init__()
        self.settings = Settings.of(config)
        self.source: Source = PushSource(self.settings.capacity, dtype=self.settings.dtype)
        self.last_counts = Counts()
        """What the last evaluation did."""
        self.last_plan: Plan | None = None
        """How the last evaluation was done, and why."""
        self._memory = Memory(self.graph, self.settings.lru_bytes, self._untried)
        self._backend = load_backend(self.settings)
        self._pulls: dict[str, _Pull] = {}
        tune_allocator()

    def bind(self, data: SourceLike) -> None:
        """Read from ``data`` from now on, and forget what was computed.

        Parameters
        ----------
        data : ndarray, memmap, path, callable, iterable of ndarray or Source
            A path is a .npy, WAV, FLAC, parquet, CSV or raw file; a callable is
            ``read(start, n)``. Arrays are not copied.

        Raises
        ------
        TypeError
            If samples have another dtype than the one that the pipeline was made with.
        """
        source = as_source(data, self.settings)
        if "dtype" in self.settings.explicit and source.dtype != self.settings.dtype:
            raise TypeError(
                f"the source has samples of {source.dtype}, the pipeline dtype="
                f"{self.settings.dtype}: convert them, or leave dtype out"
            )
        with self._lock:
            self.source = source
            self._pulls.clear()
            self._memory = self._memory.emptied(origin=0)

    def evaluate(
        self,
        target: str,
        t_range: tuple[int, int] | None = None,
        params: dict[str, Any] | None = None,
        *,
        out: Array | None = None,
    ) -> Array:
        """Rows of a stage for a range of windows.

        Parameters
        ----------
        target : str
        t_range : (int, int), optional
            Half-open range of windows; all that can be read by default.
        params : dict, optional
            Parameters of the stages: ``{"name": value}`` for all that declare it,
            ``{"stage.name": value}`` or ``{"stage": {"name": value}}`` for one. Numbers, text,
            arrays and containers of them count by content, other objects by identity: what was
            computed with one is found again, so do not change it in place.
        out : ndarray, optional
            Filled and returned, such as a ``numpy.memmap`` for a result larger than memory.

        Returns
        -------
        ndarray, shape (t1 - t0, ...)
            New, unless ``out`` is given.

        Raises
        ------
        GraphError, ParameterError
            If the target, a stage that it needs, or a parameter is missing or unknown.
        StageError
            If a stage raises; the next question works as if this one had not been asked, but that
            an iterator keeps only the last samples that were read.
        WindowExpiredError
            If the stream does not go back far enough.
        """
        if self._needs_reversal(target):
            rows = self._evaluate_reversed(target, t_range, params, out)
            end, self.last_plan = self.num_windows(), None
            if t_range is not None and end < t_range[1]:
                self._warn_truncated(t_range, max(end, t_range[0]))
            return rows
        with self._lock:
            question = self._question(target, params)
            t0, t1 = self._range(t_range)
            blocks = question.blocks(t0, t1, keeps_result=out is None)
            result = collect(target, blocks, None if t1 is None else t1 - t0, out)
            question.remember("evaluate")
            self.last_counts, self.last_plan = question.counts, question.plan
            end = max(question.emitted, t0)
            if t_range is not None and end < t_range[1]:
                self._warn_truncated(t_range, end)
            return question.no_rows() if result is None else result

    def blocks(
        self,
        target: str,
        t_range: tuple[int, int] | None = None,
        params: dict[str, Any] | None = None,
    ) -> Iterator[tuple[int, Array]]:
        """Yield ``(first window, rows)`` piece by piece, in order: `evaluate` without its result.

        Rows are read-only. Memory does not grow with the range; a consumer may stop at any time.
        """
        with self._lock:
            question = self._question(target, params)
            t0, t1 = self._range(t_range)
            pieces = question.blocks(t0, t1)
        try:
            while True:
                with self._lock:
                    piece = next(pieces, None)
                if piece is None:
                    break
                yield piece
            with self._lock:
                question.remember("evaluate")
                self.last_counts, self.last_plan = question.counts, question.plan
        finally:
            pieces.close()

    def plan(
        self,
        target: str,
        t_range: tuple[int, int] | None = None,
        params: dict[str, Any] | None = None,
    ) -> Plan:
        """How `evaluate` would go about a range, predicted from measuring the first windows of it.

        At most 192 windows are computed for that, or a few blocks where blocks are larger.
        """
        with self._lock:
            question = self._question(target, params)
            return question.measured_plan(*self._range(t_range), keeps_result=True)

    def push_samples(self, x: Array) -> bool:
        """Append samples to the stream.

        Parameters
        ----------
        x : ndarray, shape (n,)
            Of the pipeline's dtype; copied.

        Returns
        -------
        bool
            False, and nothing was taken, where the buffer has no room: pull, then try again.

        Raises
        ------
        TypeError, ValueError
            For another dtype or shape, or a pipeline that reads from something else.
        ClosedError
            After `close`.
        """
        source, settings = self._push_source(), self.settings
        taken = source.push(x)
        waiting = source.capacity - source.free_samples
        if not taken and waiting < settings.window and len(x) <= source.capacity:
            warnings.warn(
                f"{len(x)} samples do not fit beside {waiting} that are no window yet: push at "
                f"most {source.capacity - settings.window + 1} samples, or set input_buffer_blocks",
                RuntimeWarning,
                stacklevel=2,
            )
        return taken

    def push_all(self, x: Array) -> Iterator[int]:
        """Push all of ``x`` in pieces that fit; yield the count so far when the buffer is full.

        The caller pulls at each yield. ::

            for _ in pipe.push_all(x):
                outputs.append(pipe.pull_until(pipe.num_windows()))
        """
        source, done = self._push_source(), 0
        while done < len(x):
            count = min(source.free_samples, len(x) - done)
            if count and source.push(x[done : done + count]):
                done += count
            if done < len(x):
                yield done

    @property
    def free_samples(self) -> int:
        """Samples that can be pushed now."""
        return self._push_source().free_samples

    def num_windows(self) -> int:
        """Full windows of the stream, as far as it is there.

        Raises
        ------
        ValueError
            If the stream has no end.
        """
        source = self.source
        if source.num_samples is None and not source.is_live:
            raise ValueError("the length of this source is not known before its end")
        have = source.reach(1 << 61)
        window, hop = self.settings.window, self.settings.hop
        return 0 if have < window else (have - window) // hop + 1

    def pull_until(
        self, t_target: int, target: str | None = None, params: dict[str, Any] | None = None
    ) -> Array:
        """Rows of the next windows of a stage, up to ``t_target`` or the last full window.

        Each target has a cursor: a window is returned once. It begins at the oldest window whose
        context is still there. Samples are forgotten when all
        targets that were ever pulled have passed them. A target that reads later windows
        (``context``) gets its last windows after `close`.

        Parameters
        ----------
        t_target : int
            One past the last window.
        target : str, optional
            The only stage that no other one reads, by default.
        params : dict, optional
            As in `evaluate`.

        Raises
        ------
        GraphError
            If several stages could be meant.
        ParameterError
            If parameters of a kernel changed on the way: `reset` begins anew.
        WindowExpiredError
            If a kernel would have to begin at windows that are gone: `reset` begins anew.
        StageError
            If a stage raises; nothing is lost, the same pull can be tried again.
        """
        if t_target < 0:
            raise ValueError(f"t_target={t_target}: expected a count of windows")
        with self._lock:
            question = self._question(self._only_sink() if target is None else target, params)
            pull = self._pulls.get(question.target)
            if pull is None:
                start = -(-self.source.oldest // self.settings.hop)
                if start:  # before it there is nothing that a context could be padded with
                    start += question.compiled.lookback
                pull = _Pull(start, start, question.digest)
                self._pulls[question.target] = pull
            elif pull.digest != question.digest and question.compiled.kernels:
                raise ParameterError(
                    f"parameters of {question.target!r} changed after window {pull.cursor}, and "
                    "kernels depend on them: call reset() to begin anew with others"
                )
            pull.digest = question.digest
            stop = max(t_target, pull.cursor)
            is_lasting = isinstance(self.source, FiniteSource)  # samples can be read again
            blocks = question.blocks(pull.cursor, stop, may_probe=False, releases=is_lasting)
            rows = collect(question.target, blocks, None, None)
            if rows is None:
                return question.no_rows()
            question.remember(f"pull:{question.target}")
            pull.cursor, pull.reads_from = question.emitted, question.reads_from
            self.last_counts, self.last_plan = question.counts, question.plan
            first = min(p.reads_from for p in self._pulls.values()) * self.settings.hop
            if isinstance(self.source, PushSource):
                self.source.drop(first)
            elif not is_lasting:
                self.source.release(first)
            return rows

    def reset(self) -> None:
        """Forget all results, kernel states and cursors; kernels begin at the oldest window."""
        with self._lock:
            self._pulls.clear()
            oldest = -(-self.source.oldest // self.settings.hop)
            self._memory = self._memory.emptied(origin=oldest)

    def close(self) -> None:
        """Say that no more samples will be pushed, or close the file that is bound."""
        with self._lock:
            if isinstance(self.source, PushSource):
                self.source.finish()
            else:
                self.source.close()

    def t_index(self, seconds: float, sr: float) -> int:
        """The last window that starts at or before a time, at ``sr`` samples a second."""
        return int(seconds * sr // self.settings.hop)

    def _question(self, target: str, params: dict[str, Any] | None) -> Question:
        return Question(
            self.graph, target, params, self.source, self.settings, self._memory, self._backend
        )

    def _range(self, t_range: tuple[int, int] | None) -> tuple[int, int | None]:
        """The windows to compute; the end is None where only the end of the stream tells."""
        source = self.source
        known = source.num_samples is not None or source.is_live
        if t_range is None:
            if not known and not source.can_end:
                raise ValueError("this source has no end: give a t_range")
            oldest = -(-source.oldest // self.settings.hop)
            return oldest, max(self.num_windows(), oldest) if known else None
        t0, t1 = t_range
        if not 0 <= t0 <= t1:
            raise ValueError(f"t_range={t_range}: expected 0 <= t0 <= t1")
        return t0, min(t1, max(self.num_windows(), t0)) if known else t1

    def _warn_truncated(self, t_range: tuple[int, int], end: int) -> None:
        warnings.warn(
            f"windows {list(t_range)} were asked for, and the stream has full windows up to {end}",
            TruncatedRangeWarning,
            stacklevel=3,
        )

    def _push_source(self) -> PushSource:
        if not isinstance(self.source, PushSource):
            kind = type(self.source).__name__
            raise ValueError(f"this pipeline reads from a {kind}: bind a PushSource to push")
        return self.source

    def _only_sink(self) -> str:
        sinks = self.graph.sinks()
        if len(sinks) != 1:
            raise GraphError(f"which stage? pull_until needs target=, one of {sorted(sinks)}")
        return sinks[0]


class _Pull:
    """How far a target was pulled."""

    def __init__(self, cursor: int, reads_from: int, digest: bytes) -> None:
        self.cursor, self.reads_from, self.digest = cursor, reads_from, digest
