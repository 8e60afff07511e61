"""Evaluation in the order of time, tile by tile; classic order is one tile that holds everything.

A step of an evaluation goes through three phases: the stages that no kernel feeds, whose tiles are
independent and may run on several threads; the kernels, in the order of time, on the thread that
asks; and the stages behind them.
"""

from __future__ import annotations

import contextvars
import time
import tracemalloc
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

from sqrtspace_streams._calls import StageCall
from sqrtspace_streams._demand import Demand, demand, nothing_found
from sqrtspace_streams._graph import CompiledGraph
from sqrtspace_streams._kernel_run import KernelHistory, KernelRun
from sqrtspace_streams._memory import RowCache
from sqrtspace_streams._params import Parameters
from sqrtspace_streams._rows import Array, Range, Rows, windows_of
from sqrtspace_streams._stage import INPUT, Stage
from sqrtspace_streams.config import Settings
from sqrtspace_streams.errors import WindowExpiredError
from sqrtspace_streams.sources.base import Source

_NO_LIMIT = 1 << 61


@dataclass
class Counts:
    """What an evaluation did."""

    rows: Counter[str] = field(default_factory=Counter)
    """Windows that each stage computed."""
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Processor time that each stage took on the threads that ran it."""
    needed: Counter[str] = field(default_factory=Counter)
    """Windows of each stage that the answer is made of."""
    found: Counter[str] = field(default_factory=Counter)
    """Windows of each stage that came from a cache."""
    row_bytes: dict[str, int] = field(default_factory=dict)
    """Bytes of a row of each stage."""
    work_bytes: Counter[str] = field(default_factory=Counter)
    """The most memory that a call of each stage took besides its output, where it was measured."""

    def add(self, other: Counts) -> None:
        """Add what another step did."""
        self.rows.update(other.rows)
        self.needed.update(other.needed)
        self.found.update(other.found)
        self.row_bytes.update(other.row_bytes)
        for name, seconds in other.seconds.items():
            self.seconds[name] += seconds
        for name, size in other.work_bytes.items():
            self.work_bytes[name] = max(size, self.work_bytes[name])

    def copy(self) -> Counts:
        """A snapshot."""
        copy = Counts()
        copy.add(self)
        return copy

    def since(self, before: Counts) -> Counts:
        """Rows and seconds since a snapshot was taken."""
        later = Counts(self.rows - before.rows, row_bytes=dict(self.row_bytes))
        for name, seconds in self.seconds.items():
            later.seconds[name] = seconds - before.seconds[name]
        return later

    def recompute_ratio(self) -> float:
        """Time spent on windows beyond the needed ones, as a share of the rest.

        Source: the ratio of executed to unique nodes of a checkpointed sweep, weighted by cost.
        """
        spent = needed = 0.0
        for name, count in self.rows.items():
            spent += self.seconds[name]
            needed += self.seconds[name] * min(1.0, self.needed[name] / count)
        return spent / needed - 1.0 if needed else 0.0


@dataclass
class Step:
    """One tile on its way through the phases."""

    emit: Range | None
    demand: Demand
    keep: Demand
    limit: int
    live: dict[str, Rows]
    uses: Counter[str]
    counts: Counts = field(default_factory=Counts)


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
        cache: RowCache | None = None,
        untried: set[str] | None = None,
    ) -> None:
        self.compiled, self.source, self.settings = compiled, source, settings
        self.counts = Counts()
        self._arguments, self._histories = arguments, histories
        self._cache = cache
        self._untried = set() if untried is None else untried
        self._calls = {
            stage.name: StageCall(stage, arguments[stage.name], settings.block_rows, settings.seed)
            for stage in compiled.order
            if not stage.kernel
        }
        self.kernels: dict[str, KernelRun] = {}
        self.measures_memory = False
        self.replayed = 0
        """Windows that kernels stepped over to get to the first one."""
        self._positions: dict[str, int] = {}  # of the kernels, after the last planned step
        self.emitted = 0
        """One past the last window that was yielded."""
        self._started: int | None = None  # the first window of the first run
        self.reads_from = 0
        """The first window of the input that windows from ``emitted`` on need."""

    def run(
        self, t0: int, t1: int | None, tile: int | None, workers: int = 1
    ) -> Iterator[tuple[int, Array]]:
        """Yield ``(first window, rows of the target)`` until ``t1`` or the end of the stream.

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
                t1 = self._ready(t1)[0]  # one step gives all: its rows may be in a cache
            if self._started is None or t0 != self.emitted:
                self._start_kernels(t0, t1, tile, stack)
                self._started = t0
            steps = self._steps(t0, t1, tile)
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
                if INPUT in step.keep.rows:
                    self.reads_from = step.keep.rows[INPUT][0]
                    self.source.release(self.reads_from * self.settings.hop)
        self._count_needed()

    def _start_kernels(self, t0: int, t1: int | None, tile: int | None, stack: ExitStack) -> None:
        """Put each kernel that is needed where it can start from."""
        self.kernels.clear()
        self._positions.clear()
        first = (t0, t0 + 1)
        if t1 is not None and t0 < t1 and (tile is None or t1 - t0 <= tile):
            first = (t0, t1)

        def start(stage: Stage, wanted: Range | None) -> int | None:
            if wanted is None:
                return None
            history = self._histories[stage.name]
            begin = history.best(wanted[0])
            if history.ring and begin.t and history.ring.load(begin.t - 1):
                stack.enter_context(history.ring.pinned(begin.t - 1))
            arguments = self._arguments[stage.name]
            self.kernels[stage.name] = KernelRun(stage, arguments, begin, history.ring)
            self._positions[stage.name] = begin.t
            self.replayed = max(self.replayed, wanted[0] - begin.t)
            return begin.t

        limit = max(self.num_windows(first[1] + self.compiled.lookahead[INPUT]), first[1])
        demand(
            self.compiled,
            first,
            t0,
            limit,
            start,
            self._cache.find if self._cache else nothing_found,
        )

    def _steps(self, t0: int, t1: int | None, tile: int | None) -> Iterator[Step]:
        """Plan the steps, one after another; reads the samples of each."""
        ahead = self.compiled.lookahead
        first = min([t0, *(t - ahead[name] for name, t in self._positions.items())])
        lo = max(first, 0)
        while t1 is None or lo < t1:
            hi = t1
            if tile is not None and (t1 is None or lo < t0 or t1 - t0 > tile):
                end = lo - lo % tile + tile
                hi = min(end, t0) if lo < t0 else end if t1 is None else min(end, t1)
            hi, limit = self._ready(hi)
            if hi <= lo:
                return
            emit = (max(lo, t0), hi) if hi > t0 else None
            yield self._planned(emit, hi, limit, t0)
            lo = hi

    def _ready(self, hi: int | None) -> tuple[int, int]:
        """How far the target can be computed towards ``hi``, and how far windows exist."""
        ahead = self.compiled.lookahead[INPUT]
        is_live = self.source.is_live  # before its end is looked at: more may come meanwhile
        limit = self.num_windows(None if hi is None else hi + ahead)
        ready = limit - ahead if is_live else limit
        return ready if hi is None else min(hi, ready), limit

    def num_windows(self, upto: int | None) -> int:
        """Windows that exist, at least as far as ``upto`` if there are so many."""
        window, hop = self.settings.window, self.settings.hop
        wanted = _NO_LIMIT if upto is None else max(upto - 1, 0) * hop + window
        have = self.source.reach(wanted)
        return 0 if have < window else (have - window) // hop + 1

    def _planned(self, emit: Range | None, hi: int, limit: int, t0: int) -> Step:
        def position(stage: Stage, _wanted: Range | None) -> int | None:
            return self._positions.get(stage.name)

        lookup = self._cache.find_on_the_way if self._cache else nothing_found
        needs = demand(self.compiled, emit, hi, limit, position, lookup)
        for name, (_, stop) in needs.steps.items():
            self._positions[name] = stop
        after = max(hi, t0)
        keep = demand(self.compiled, (after, after + 1), after + 1, _NO_LIMIT, position)
        live = dict(needs.found)
        if INPUT in needs.rows:
            live[INPUT] = self._input(*needs.rows[INPUT])
        uses = Counter([self.compiled.target])
        for stage in self.compiled.order:
            if needs.computes(stage):
                uses.update(stage.inputs)
        return Step(emit, needs, keep, limit, live, uses)

    def _input(self, lo: int, hi: int) -> Rows:
        window, hop = self.settings.window, self.settings.hop
        if lo * hop < self.source.oldest:
            oldest = -(-self.source.oldest // hop)
            raise WindowExpiredError(
                f"window {lo} is needed, and the oldest one that is kept is {oldest}: ask for "
                "later windows, keep more of the stream, or bind a source that can be read again"
            )
        samples = self.source.read(lo * hop, (hi - 1) * hop + window)
        return Rows(lo, windows_of(samples, hi - lo, window, hop))

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
        for stage in self.compiled.before:
            if step.demand.computes(stage):
                self._compute(stage, step)
        return step

    def _finish(self, step: Step) -> Step:
        self._between(step)
        return self._end(step)

    def _between(self, step: Step) -> None:
        for stage in self.compiled.between:
            if stage.kernel and stage.name in step.demand.rows:
                self._advance(stage, step)
            elif step.demand.computes(stage):
                self._compute(stage, step)

    def _end(self, step: Step) -> Step:
        for stage in self.compiled.after:
            if step.demand.computes(stage):
                self._compute(stage, step)
        return step

    def _advance(self, stage: Stage, step: Step) -> None:
        kernel, began = self.kernels[stage.name], time.thread_time()
        stop = step.demand.steps.get(stage.name, (0, kernel.position))[1]
        count = stop - kernel.position
        inputs = [step.live[name] for name in stage.inputs] if count else []
        keep = step.keep.rows.get(stage.name, (stop, stop))[0]
        with self._memory_of(stage, step):
            rows = kernel.advance(inputs, stop, keep)
        self._computed(stage, step, rows, count, began)

    def _compute(self, stage: Stage, step: Step) -> None:
        began = time.thread_time()
        lo, hi = step.demand.rows[stage.name]
        inputs = [step.live[name] for name in stage.inputs]
        call = self._calls[stage.name]
        with self._memory_of(stage, step):
            array = call.rows(inputs, lo, hi, step.limit)
        if stage.name in self._untried:
            self._untried.discard(stage.name)
            first = min(hi, lo + self.settings.block_rows)
            call.try_purity(inputs, lo, first, array[: first - lo])
        self._computed(stage, step, Rows(lo, array), hi - lo, began)

    @contextmanager
    def _memory_of(self, stage: Stage, step: Step) -> Iterator[None]:
        """Note the most memory that a stage held at once, where that is measured."""
        if not self.measures_memory:
            yield
            return
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        yield
        after, peak = tracemalloc.get_traced_memory()
        step.counts.work_bytes[stage.name] = max(peak - max(after, before), 0)

    def _computed(self, stage: Stage, step: Step, rows: Rows, count: int, began: float) -> None:
        """Note what a stage gave, and let go of inputs that nobody else reads."""
        step.counts.rows[stage.name] += count
        step.counts.seconds[stage.name] += time.thread_time() - began
        step.counts.row_bytes[stage.name] = rows.array.nbytes // len(rows.array)
        if rows.array.flags.writeable:
            rows.array.flags.writeable = False
        if self._cache is not None and step.emit:
            self._cache.admit(stage, rows)
        if step.uses[stage.name] and (stage.name != self.compiled.target or step.emit):
            step.live[stage.name] = rows
        if stage.kernel and not step.demand.computes(stage):
            return
        for name in stage.inputs:
            step.uses[name] -= 1
            if not step.uses[name]:
                del step.live[name]

    def _tally(self, step: Step) -> None:
        self.counts.add(step.counts)
        for name, rows in step.demand.found.items():
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
