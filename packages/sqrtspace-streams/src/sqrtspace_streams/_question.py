"""One question to a pipeline: a target with parameters, over the windows of a source."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import numpy as np

from sqrtspace_streams._collect import no_rows
from sqrtspace_streams._forward import ForwardRun
from sqrtspace_streams._graph import CompiledGraph, Graph
from sqrtspace_streams._hardware import llc_bytes, machine
from sqrtspace_streams._kernel_run import KernelHistory
from sqrtspace_streams._memory import Memory, RowCache
from sqrtspace_streams._params import resolve, signatures
from sqrtspace_streams._rows import Array
from sqrtspace_streams._sweep import Sweep
from sqrtspace_streams.adapters import NumpyBackend
from sqrtspace_streams.autotune import Probe, probe_size
from sqrtspace_streams.config import Settings
from sqrtspace_streams.counts import Counts
from sqrtspace_streams.errors import GraphError
from sqrtspace_streams.plan import CACHE_SHARE, Plan, Planner
from sqrtspace_streams.sources import Source


class Question:
    """A compiled target with its parameters resolved.

    Parameters
    ----------
    graph, target, params
        What is asked.
    source, settings, memory
        Of the pipeline.
    backend : NumpyBackend
        What stages are given.
    """

    def __init__(
        self,
        graph: Graph,
        target: str,
        params: dict[str, Any] | None,
        source: Source,
        settings: Settings,
        memory: Memory,
        backend: NumpyBackend,
    ) -> None:
        self.compiled: CompiledGraph = graph.compile(target)
        self.target = target
        for stage in self.compiled.order:
            if stage.is_reverse:
                raise GraphError(
                    f"{stage.name!r} runs from the last window to the first: ask evaluate or "
                    f"blocks_reversed for {target!r}"
                )
        self.arguments = resolve(graph, self.compiled, params)
        """Keyword arguments of each stage, by name."""
        self._digests = signatures(self.compiled, self.arguments)
        self._source, self._settings, self._memory = source, settings, memory
        self._backend = backend
        self._sweep: Sweep | None = None
        self.plan: Plan | None = None
        """How it is answered, once that is decided."""

    @property
    def digest(self) -> bytes:
        """Differs where the parameters of the target or of what it needs differ."""
        return self._digests[self.target]

    @property
    def counts(self) -> Counts:
        """What was done."""
        return self._sweep.counts if self._sweep else Counts()

    @property
    def emitted(self) -> int:
        """One past the last window that was computed."""
        return self._sweep.emitted if self._sweep else 0

    @property
    def reads_from(self) -> int:
        """The first window of the input that later windows need."""
        return self._sweep.reads_from if self._sweep else 0

    def blocks(
        self,
        t0: int,
        t1: int | None,
        *,
        keeps_result: bool = False,
        may_probe: bool = True,
        releases: bool = True,
    ) -> Generator[tuple[int, Array], None, None]:
        """Compute windows ``[t0, t1)``, or to the end of the stream.

        Parameters
        ----------
        t0, t1 : int
        keeps_result : bool
            Whether all rows will be held at once.
        may_probe : bool
            Whether the first windows may be measured.
        releases : bool
            Whether the source may let go of samples on the way.
        """
        planner, count = Planner(self._settings), None if t1 is None else t1 - t0
        plan = self._plan_at_once(planner, count, keeps_result, may_probe)
        self.plan = plan or planner.without_costs(count, "the first windows are measured", "sqrt")
        is_query = plan is not None and count is not None and count <= plan.tile
        sweep = self._sweep = self._new_sweep(self.plan, is_query)
        sweep.releases = releases
        if plan is None:
            probe = Probe(sweep, probe_size(count, self._settings.block_rows))
            yield from probe.run(t0)
            t0 = max(sweep.emitted, t0)
            costs = probe.costs()
            if costs is not None:
                self._memory.costs[self.digest] = costs
                replay = sweep.replayed
                self.plan = planner.decide(
                    costs,
                    count,
                    machine(),
                    keeps_result=keeps_result,
                    replay=replay,
                    probed=probe.largest,
                )
                self._memory.adopt(self.plan, self.compiled, self._digests)
        if t1 is None or t0 < t1:
            tile = None if self.plan.mode == "classic" else self.plan.tile
            yield from sweep.run(t0, t1, tile, self.plan.workers)

    def measured_plan(self, t0: int, t1: int | None, *, keeps_result: bool) -> Plan:
        """The plan for windows ``[t0, t1)``; nothing is kept but what was measured."""
        planner, count = Planner(self._settings), None if t1 is None else t1 - t0
        plan = self._plan_at_once(planner, count, keeps_result, True)
        if plan is None:
            memory = self._memory.emptied(self._memory.origin)
            histories = memory.histories(self.compiled, self._digests, None)
            sweep = self._sweep_over(self._source, histories)
            sweep.releases = False
            probe = Probe(sweep, probe_size(count, self._settings.block_rows))
            for _ in probe.run(-(-self._source.oldest // self._settings.hop)):
                pass
            costs = probe.costs()
            if costs is None:
                return planner.without_costs(count, "the stream is too short to measure", "sqrt")
            self._memory.costs[self.digest] = costs
            plan = planner.decide(
                costs, count, machine(), keeps_result=keeps_result, probed=probe.largest
            )
        return plan

    def _plan_at_once(
        self, planner: Planner, count: int | None, keeps_result: bool, may_probe: bool
    ) -> Plan | None:
        """A plan, where nothing has to be measured for it."""
        settings = self._settings
        if settings.mode == "classic":
            return planner.without_costs(count, "mode='classic' was asked for", "classic")
        if count is not None and count <= settings.block_rows:
            return planner.for_few(count, self._memory.costs.get(self.digest))
        costs = self._memory.costs.get(self.digest)
        if costs is not None:
            return planner.decide(costs, count, machine(), keeps_result=keeps_result)
        if settings.mode == "sqrt" and {"tile", "max_workers"} <= settings.explicit:
            return planner.without_costs(count, "mode='sqrt' was asked for", "sqrt")
        if not may_probe:
            return planner.without_costs(count, "pulled windows are not measured", "sqrt")
        if count is not None and probe_size(count, settings.block_rows) == 0:
            return self._guess(planner, count, keeps_result)
        return None

    def _guess(self, planner: Planner, count: int, keeps_result: bool) -> Plan:
        """A plan for a range too short to measure: as if every stage kept whole windows."""
        if self._settings.mode == "sqrt":
            return planner.without_costs(count, "mode='sqrt' was asked for", "sqrt")
        if not keeps_result:
            return planner.without_costs(count, "rows are taken piece by piece", "sqrt")
        sample = self._source.dtype.itemsize * int(np.prod(self._source.item_shape))
        size = 2 * count * sample * self._settings.window * (len(self.compiled.order) + 1)
        if size <= CACHE_SHARE * llc_bytes():
            return planner.without_costs(count, "so few windows fit the cache", "classic")
        return planner.without_costs(count, "too few windows to measure", "sqrt")

    def _new_sweep(self, plan: Plan, is_query: bool) -> Sweep:
        is_classic = self._settings.mode == "classic"
        rings = None if is_classic else plan
        histories = self._memory.histories(self.compiled, self._digests, rings)
        self._memory.lru.capacity = plan.lru_bytes
        cache = self._memory.caching(self.compiled, self._digests, is_query)
        self._memory.checkpoint_stage(plan, self._digests)
        untried = self._memory.untried
        return self._sweep_over(
            self._source, histories, cache=None if is_classic else cache, untried=untried
        )

    def _sweep_over(
        self,
        source: Source,
        histories: dict[str, KernelHistory],
        cache: RowCache | None = None,
        untried: set[str] | None = None,
    ) -> Sweep:
        return Sweep(
            self.compiled,
            self.arguments,
            source,
            self._settings,
            histories,
            backend=self._backend,
            cache=cache,
            untried=untried,
        )

    def forward_run(self) -> ForwardRun:
        """A machine for the target, which stands before window 0."""
        return ForwardRun(
            self.compiled,
            self.arguments,
            self._source,
            self._settings,
            self._backend,
            self._memory.origin,
        )

    def remember(self, who: str) -> None:
        """Keep where the kernels stand, so that the next windows need no replay."""
        assert self._sweep is not None
        histories = self._memory.histories(self.compiled, self._digests, None)
        for name, kernel in self._sweep.kernels.items():
            histories[name].marks[who] = kernel.end()

    def no_rows(self) -> Array:
        """An array of no rows, with the shape and type that rows would have."""

        def run(source: Source) -> Iterator[tuple[int, Array]]:
            histories = Memory(Graph(), 0).histories(self.compiled, self._digests, None)
            return self._sweep_over(source, histories).run(0, 1, None)

        return no_rows(self._source, self._settings, run)
