"""Evaluation in the order of time, tile by tile; classic order is one tile that holds everything.

A step of an evaluation goes through three phases: the stages that no kernel feeds, whose tiles are
independent and may run on several threads; the kernels, in the order of time, on the thread that
asks; and the stages behind them.
"""

from __future__ import annotations

import contextvars
import time
import tracemalloc
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import TypeVar

import numpy as np

from sqrtspace_streams._calls import StageCall
from sqrtspace_streams._demand import demand, nothing_found
from sqrtspace_streams._graph import CompiledGraph
from sqrtspace_streams._kernel_run import KernelHistory, KernelRun
from sqrtspace_streams._memory import RowCache
from sqrtspace_streams._params import Parameters
from sqrtspace_streams._rows import Array, Range, Rows
from sqrtspace_streams._stage import INPUT, Stage
from sqrtspace_streams._steps import Step, StepPlanner
from sqrtspace_streams.adapters import NumpyBackend
from sqrtspace_streams.config import Settings
from sqrtspace_streams.counts import Counts
from sqrtspace_streams.sources.base import Source

T = TypeVar("T")


class Sweep:
    """One evaluation of one target.

    Parameters
    ----------
    compiled : CompiledGraph
    arguments : dict of str to dict
        Keyword arguments of each stage.
    source : Source
    settings : Settings
    histories : dict of str to KernelHistory
        Of the kernels of the target.
    backend : NumpyBackend
        What stages are given.
    cache : RowCache, optional
        Finds rows that need no computing, and is offered those that are computed.
    untried : set of str
        Stages whose purity has not been tried; emptied on the way.
    """

    def __init__(
        self,
        compiled: CompiledGraph,
        arguments: Parameters,
        source: Source,
        settings: Settings,
        histories: dict[str, KernelHistory],
        *,
        backend: NumpyBackend,
        cache: RowCache | None = None,
        untried: set[str] | None = None,
    ) -> None:
        self.compiled, self.source, self.settings = compiled, source, settings
        self.counts = Counts()
        self.kernels: dict[str, KernelRun] = {}
        self.measures = False
        """Whether memory is measured, and processor time in place of time."""
        self.releases = True
        """Whether the source is told on the way which samples will not be read again."""
        self.replayed = 0
        """Windows that kernels stepped over to get to the first one."""
        self.emitted = 0
        """One past the last window that was yielded."""
        self.reads_from = 0
        """The first window of the input that windows from ``emitted`` on need."""
        self._arguments, self._histories = arguments, histories
        self._cache = cache
        self._untried = set() if untried is None else untried
        self._planner = StepPlanner(compiled, source, settings, cache)
        self._started: int | None = None  # the first window of the first run
        self._kept: dict[str, Rows] = {}  # rows that the next step reads again
        self._calls = {
            stage.name: StageCall(
                stage, arguments[stage.name], settings.block_rows, settings.seed, backend
            )
            for stage in compiled.order
            if not stage.kernel
        }

    def run(
        self, t0: int, t1: int | None, tile: int | None, workers: int = 1
    ) -> Iterator[tuple[int, Array]]:
        """Yield ``(first window, rows of the target)`` until ``t1`` or the end of the stream.

        Another run may go on where the last one ended.

        Parameters
        ----------
        t0, t1 : int
            Windows; ``t1=None`` goes on to the end.
        tile : int, optional
            Windows in a step; None takes all at once.
        workers : int
            Threads.
        """
        with ExitStack() as stack:
            if t1 is not None and (tile is None or t1 - t0 <= tile):
                t1 = self._planner.ready(t1)[0]  # one step gives all: its rows may be in a cache
            if self._started is None or t0 != self.emitted:
                first = (t0, t0 + 1)
                if t1 is not None and t0 < t1 and (tile is None or t1 - t0 <= tile):
                    first = (t0, t1)
                self._start_kernels(first, stack)
                self._started = t0
            steps = self._planner.steps(t0, t1, tile, keeps=workers == 1)
            if workers == 1:
                done: Iterator[Step] = (self._finish(self._begin(step)) for step in steps)
            else:
                pool = stack.enter_context(ThreadPoolExecutor(workers, "sqrtspace"))
                stack.callback(pool.shutdown, wait=False, cancel_futures=True)
                done = self._parallel(steps, pool, workers)
            for step in done:
                self._tally(step)
                if step.emit:
                    yield step.emit[0], step.live.pop(self.compiled.target).part(*step.emit)
                first_read = step.keep_from(INPUT)
                if first_read is not None:
                    self.reads_from = first_read
                if first_read is not None and self.releases:
                    self.source.release(first_read * self.settings.hop)
        self._count_needed()

    def _start_kernels(self, first: Range, stack: ExitStack) -> None:
        """Put each kernel that the first windows need where it can start from."""
        self.kernels.clear()
        self._planner.begin()
        self._kept.clear()

        def start(stage: Stage, wanted: Range | None) -> int | None:
            if wanted is None or not stage.kernel:
                return None
            history = self._histories[stage.name]
            begin = history.best(wanted[0])
            if history.ring and begin.t and history.ring.load(begin.t - 1):
                stack.enter_context(history.ring.pinned(begin.t - 1))
            arguments = self._arguments[stage.name]
            self.kernels[stage.name] = KernelRun(stage, arguments, begin, history.ring)
            self._planner.positions[stage.name] = begin.t
            self.replayed = max(self.replayed, wanted[0] - begin.t)
            return begin.t

        limit = self._planner.num_windows(first[1] + self.compiled.lookahead[INPUT])
        lookup = self._cache.find if self._cache else nothing_found
        demand(self.compiled, first, first[0], max(limit, first[1]), start, lookup)

    def _parallel(
        self, steps: Iterator[Step], pool: ThreadPoolExecutor, workers: int
    ) -> Iterator[Step]:
        """Run the steps with at most ``workers + 1`` of them begun and not yielded."""
        begun: deque[Future[Step]] = deque()
        ending: deque[Future[Step]] = deque()

        def submit(work: Callable[[], Step]) -> Future[Step]:
            return pool.submit(contextvars.copy_context().run, work)

        while True:
            while len(begun) + len(ending) <= workers:
                step = next(steps, None)
                if step is None:
                    break
                begun.append(submit(partial(self._begin, step)))
            if not begun and not ending:
                return
            if begun and (not ending or not ending[0].done()):
                step = begun.popleft().result()
                self._between(step)
                ending.append(submit(partial(self._end, step)))
            else:
                yield ending.popleft().result()

    def _begin(self, step: Step) -> Step:
        for stage in step.pattern.before:
            self._compute(stage, step)
        return step

    def _finish(self, step: Step) -> Step:
        self._between(step)
        return self._end(step)

    def _between(self, step: Step) -> None:
        for stage in step.pattern.between:
            if stage.kernel:
                self._advance(stage, step)
            else:
                self._compute(stage, step)

    def _end(self, step: Step) -> Step:
        for stage in step.pattern.after:
            self._compute(stage, step)
        return step

    def _advance(self, stage: Stage, step: Step) -> None:
        kernel, steps = self.kernels[stage.name], step.pattern.demand.steps.get(stage.name)
        stop = step.base + steps[1] if steps else kernel.position
        count = stop - kernel.position
        inputs = [step.live[name] for name in stage.inputs] if count else []
        keep = step.keep_from(stage.name)
        advance = partial(kernel.advance, inputs, stop, stop if keep is None else keep)
        rows = self._measured(stage, step, advance)
        self._computed(stage, step, rows, count)

    def _compute(self, stage: Stage, step: Step) -> None:
        name, live = stage.name, step.live
        lo, hi = step.computed(stage)
        inputs = [live[read] for read in stage.inputs]
        call = self._calls[name]
        if self.measures:
            work = partial(call.rows, inputs, lo, hi, step.limit)
            array = self._measured(stage, step, work)
        else:
            began = time.perf_counter()
            array = call.rows(inputs, lo, hi, step.limit)
            step.counts.seconds[name] += time.perf_counter() - began
        if name in self._untried and call.try_purity(Rows(lo, array), inputs):
            self._untried.discard(name)
        rows = self._with_kept(name, Rows(lo, array), step.rows(stage)[0])
        self._computed(stage, step, rows, hi - lo)

    def _with_kept(self, name: str, rows: Rows, lo: int) -> Rows:
        """The rows from ``lo`` on, with those that were kept; and keep what the next step reads."""
        if lo < rows.lo:
            kept = self._kept[name].part(lo, rows.lo)
            rows = Rows(lo, np.concatenate([kept, rows.array]))
        keeps = self._planner.keeps(name)
        if keeps is not None:
            self._kept[name] = Rows(keeps[0], rows.part(*keeps).copy())
        return rows

    def _measured(self, stage: Stage, step: Step, work: Callable[[], T]) -> T:
        """Do the work of a stage, and note its time and, where that is asked for, its memory."""
        clock = time.thread_time if self.measures else time.perf_counter
        if self.measures and tracemalloc.is_tracing():
            tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0] if self.measures else 0
        began = clock()
        result = work()
        step.counts.seconds[stage.name] += clock() - began
        if self.measures:
            after, peak = tracemalloc.get_traced_memory()
            step.counts.work_bytes[stage.name] = max(peak - max(after, before), 0)
        return result

    def _computed(self, stage: Stage, step: Step, rows: Rows, count: int) -> None:
        """Note what a stage gave, and let go of inputs that nobody else reads."""
        name, counts, uses = stage.name, step.counts, step.uses
        counts.rows[name] += count
        counts.row_bytes[name] = rows.array.nbytes // len(rows.array)
        rows.array.setflags(write=False)
        if self._cache is not None and step.emit:
            self._cache.admit(stage, rows)
        if uses.get(name) and (name != self.compiled.target or step.emit):
            step.live[name] = rows
        if stage.kernel and name not in step.pattern.demand.steps:
            return
        for read in stage.inputs:
            uses[read] -= 1
            if not uses[read]:
                del step.live[read]

    def _tally(self, step: Step) -> None:
        self.counts.add(step.counts)
        for name, rows in step.pattern.demand.found.items():
            self.counts.found[name] += len(rows.array)
        if step.emit:
            self.emitted = step.emit[1]

    def _count_needed(self) -> None:
        """Count the windows that the answer so far is made of."""
        t0 = self._started
        if t0 is None or self.emitted <= t0:
            return
        limit = self.emitted + self.compiled.lookahead[INPUT]

        def own(_stage: Stage, wanted: Range | None) -> int | None:
            return wanted[0] if wanted else None

        needs = demand(self.compiled, (t0, self.emitted), t0, limit, own)
        self.counts.needed = Counter({n: hi - lo for n, (lo, hi) in needs.rows.items()})
