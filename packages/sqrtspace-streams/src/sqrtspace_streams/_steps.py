"""The steps of an evaluation: which windows each computes, of which stages, from which samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqrtspace_streams._demand import Demand, demand, nothing_found
from sqrtspace_streams._graph import CompiledGraph
from sqrtspace_streams._memory import RowCache
from sqrtspace_streams._rows import Range, Rows, windows_of
from sqrtspace_streams._stage import INPUT, Stage
from sqrtspace_streams.config import Settings
from sqrtspace_streams.counts import Counts
from sqrtspace_streams.errors import WindowExpiredError
from sqrtspace_streams.sources.base import Source

_NO_LIMIT = 1 << 61


class Pattern:
    """What a step does, with windows counted from its first one; most steps have the same.

    Attributes
    ----------
    demand : Demand
        What it computes.
    keep : dict of str to int
        The first row of the input and of each kernel that later steps read.
    uses : Counter
        How many of the stages that it computes read each node.
    before, between, after : tuple of Stage
        What it runs of each phase.
    """

    def __init__(self, compiled: CompiledGraph, needs: Demand, keep: Demand) -> None:
        self.demand = needs
        self.keep = {name: lo for name, (lo, _) in keep.rows.items()}
        runs = [stage for stage in compiled.order if needs.computes(stage)]
        self.uses = Counter([compiled.target])
        for stage in runs:
            self.uses.update(stage.inputs)
        self.before = tuple(stage for stage in compiled.before if stage in runs)
        self.between = tuple(
            stage
            for stage in compiled.between
            if stage in runs or (stage.kernel and stage.name in needs.rows)
        )
        self.after = tuple(stage for stage in compiled.after if stage in runs)


@dataclass
class Step:
    """One tile on its way through the phases; its pattern counts windows from ``base``."""

    base: int
    emit: Range | None
    limit: int
    pattern: Pattern
    live: dict[str, Rows]
    uses: dict[str, int]
    counts: Counts = field(default_factory=Counts)

    def rows(self, stage: Stage) -> Range:
        """The windows that a stage computes or gives."""
        lo, hi = self.pattern.demand.rows[stage.name]
        return self.base + lo, self.base + hi

    def computed(self, stage: Stage) -> Range:
        """The windows that a stage without state computes: the others of its rows were kept."""
        lo, hi = self.pattern.demand.computed(stage.name)
        return self.base + lo, self.base + hi

    def keep_from(self, name: str) -> int | None:
        """The first row of a node that later steps read; None where none is."""
        lo = self.pattern.keep.get(name)
        return None if lo is None else self.base + lo


class StepPlanner:
    """Plans the steps one after another and reads the samples of each.

    Parameters
    ----------
    compiled : CompiledGraph
    source : Source
    settings : Settings
    cache : RowCache, optional
    """

    def __init__(
        self,
        compiled: CompiledGraph,
        source: Source,
        settings: Settings,
        cache: RowCache | None,
    ) -> None:
        self.positions: dict[str, int] = {}
        """Where the kernels stand after the last planned step."""
        self._compiled, self._source, self._settings = compiled, source, settings
        self._cache = cache if cache and cache.is_useful else None
        self._kept: dict[str, Range] = {}
        """Rows that stay with the sweep after the last planned step."""
        reread = {name for stage in compiled.order if any(stage.context) for name in stage.inputs}
        self._reread = tuple(
            stage.name for stage in compiled.order if stage.name in reread and not stage.kernel
        )
        self._patterns: dict[tuple[object, ...], Pattern] = {}
        self._back = sum(stage.context[0] for stage in compiled.order)
        self._ahead = compiled.lookahead[INPUT]

    def begin(self) -> None:
        """Forget where kernels stand and which rows were kept."""
        self.positions.clear()
        self._kept.clear()

    def keeps(self, name: str) -> Range | None:
        """The rows of a stage without state that the next step is planned to find."""
        return self._kept.get(name)

    def steps(self, t0: int, t1: int | None, tile: int | None, *, keeps: bool) -> Iterator[Step]:
        """Steps up to window ``t1`` or the end of the stream; the first ones may only replay.

        Where ``keeps``, each is taken before the next is planned, and rows that it shares with the
        next are kept.
        """
        keeps = keeps and self._cache is None
        if not keeps:
            self._kept.clear()
        ahead = self._compiled.lookahead
        first = min([t0, *(t - ahead[name] for name, t in self.positions.items())])
        lo = max(first, 0)
        while t1 is None or lo < t1:
            hi = t1
            if tile is not None and (t1 is None or lo < t0 or t1 - t0 > tile):
                end = lo - lo % tile + tile
                hi = min(end, t0) if lo < t0 else end if t1 is None else min(end, t1)
            hi, limit = self.ready(hi)
            if hi <= lo:
                return
            yield self._step(lo, hi, limit, t0, keeps=keeps)
            lo = hi

    def ready(self, hi: int | None) -> tuple[int, int]:
        """How far the target can be computed towards ``hi``, and how far windows exist."""
        is_live = self._source.is_live  # before its end is looked at: more may come meanwhile
        limit = self.num_windows(None if hi is None else hi + self._ahead)
        ready = limit - self._ahead if is_live else limit
        return ready if hi is None else min(hi, ready), limit

    def num_windows(self, upto: int | None) -> int:
        """Windows that exist, at least as far as ``upto`` if there are so many."""
        window, hop = self._settings.window, self._settings.hop
        wanted = _NO_LIMIT if upto is None else max(upto - 1, 0) * hop + window
        have = self._source.reach(wanted)
        return 0 if have < window else (have - window) // hop + 1

    def _step(self, lo: int, hi: int, limit: int, t0: int, *, keeps: bool) -> Step:
        emit = (max(lo, t0), hi) if hi > t0 else None
        if self._cache is not None:
            pattern, base = self._pattern(0, emit, hi, limit, t0), 0
        else:
            pattern, base = self._known_pattern(lo, emit, hi, limit, t0), lo
        needs = pattern.demand
        for name in self.positions.keys() & needs.steps.keys():
            self.positions[name] = base + needs.steps[name][1]
        if keeps:
            self._keep(pattern, base)
        live = dict(needs.found)
        if INPUT in needs.rows:
            first, last = needs.rows[INPUT]
            live[INPUT] = self._input(base + first, base + last)
        return Step(base, emit, limit, pattern, live, dict(pattern.uses))

    def _known_pattern(self, lo: int, emit: Range | None, hi: int, limit: int, t0: int) -> Pattern:
        """The pattern of a step without caches, which depends on distances alone."""
        far = self._back + self._ahead + 1  # further away, nothing matters
        key = (
            emit and (emit[0] - lo, emit[1] - lo),
            hi - lo,
            min(limit - hi, far),
            min(lo, far),
            min(max(t0 - hi, 0), far),
            *(t - lo for t in self.positions.values()),
            *((name, kept[0] - lo, kept[1] - lo) for name, kept in self._kept.items()),
        )
        pattern = self._patterns.get(key)
        if pattern is None:
            pattern = self._pattern(lo, emit, hi, limit, min(t0, hi + far))
            self._patterns[key] = pattern
        return pattern

    def _keep(self, pattern: Pattern, base: int) -> None:
        """Note which rows of this step the next one will find."""
        for name in self._reread:
            lo, hi = pattern.demand.rows.get(name, (0, 0))
            first = max(pattern.keep.get(name, hi), lo)
            if first < hi:
                self._kept[name] = (base + first, base + hi)
            else:
                self._kept.pop(name, None)

    def _pattern(self, base: int, emit: Range | None, hi: int, limit: int, t0: int) -> Pattern:
        """The pattern of a step, with windows counted from ``base``."""
        positions = dict(self.positions)

        def position(stage: Stage, _wanted: Range | None) -> int | None:
            return positions.get(stage.name)

        def start(stage: Stage, wanted: Range | None) -> int | None:
            kept = self._kept.get(stage.name)
            if kept and wanted and kept[0] <= wanted[0]:
                return kept[1]
            return positions.get(stage.name)

        lookup = self._cache.find_on_the_way if self._cache else nothing_found
        needs = demand(self._compiled, emit, hi, limit, start, lookup)
        for name in positions.keys() & needs.steps.keys():
            positions[name] = needs.steps[name][1]
        after = max(hi, t0)
        keep = demand(self._compiled, (after, after + 1), after + 1, _NO_LIMIT, position)
        return Pattern(self._compiled, needs.counted_from(base), keep.counted_from(base))

    def _input(self, lo: int, hi: int) -> Rows:
        window, hop = self._settings.window, self._settings.hop
        if lo * hop < self._source.oldest:
            oldest = -(-self._source.oldest // hop)
            raise WindowExpiredError(
                f"window {lo} is needed, and the oldest one that is kept is {oldest}: ask for "
                "later windows, keep more of the stream, or bind a source that can be read again"
            )
        samples = self._source.read(lo * hop, (hi - 1) * hop + window)
        return Rows(lo, windows_of(samples, hi - lo, window, hop))
