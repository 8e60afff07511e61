"""What a pipeline remembers between questions: outputs, checkpoints, where kernels stand."""

from __future__ import annotations

from sqrtspace_streams._costs import Costs
from sqrtspace_streams._graph import CompiledGraph, Graph
from sqrtspace_streams._kernel_run import KernelHistory
from sqrtspace_streams._rows import Range, Rows
from sqrtspace_streams._stage import Stage
from sqrtspace_streams.cache import CheckpointRing, LRUCache
from sqrtspace_streams.plan import Plan

_HISTORIES_PER_KERNEL = 4  # parameter sets whose checkpoints are kept
_STAGE_RINGS = 4  # stages without state, with their parameters, whose checkpoints are kept


class RowCache:
    """The caches, as one evaluation sees them.

    Parameters
    ----------
    lru : LRUCache
    stages : set of str
        Those whose rows may be found and kept.
    digests : dict of str to bytes
        Keys of the stages.
    rings : dict of str to CheckpointRing
        Of kernels whose outputs may be taken from a checkpoint.
    checkpoints : dict of bytes to CheckpointRing
        Of stages without state, by key.
    holds : bool
        Whether only what is found at the beginning counts, and then counts to the end.
    """

    def __init__(
        self,
        lru: LRUCache,
        stages: set[str],
        digests: dict[str, bytes],
        rings: dict[str, CheckpointRing],
        checkpoints: dict[bytes, CheckpointRing],
        *,
        holds: bool,
    ) -> None:
        self._lru, self._stages, self._digests = lru, stages, digests
        self._rings, self._checkpoints = rings, checkpoints
        self._held: dict[str, Rows] | None = {} if holds else None

    @property
    def is_useful(self) -> bool:
        """Whether there is a stage whose rows may be found."""
        return bool(self._stages)

    def find(self, stage: Stage, wanted: Range) -> Rows | None:
        """Rows of a stage that cover a range, before anything is computed."""
        if stage.name not in self._stages:
            return None
        lo, hi = wanted
        digest = self._digests[stage.name]
        array = self._lru.get((digest, lo))
        if array is None or len(array) < hi - lo:
            ring = self._rings.get(stage.name, self._checkpoints.get(digest))
            entry = None if ring is None else ring.load(lo)
            array = entry.output if entry else None
        if array is None or len(array) < hi - lo:
            return None
        rows = Rows(lo, array)
        if self._held is not None:
            self._held[stage.name] = rows
        return rows

    def find_on_the_way(self, stage: Stage, wanted: Range) -> Rows | None:
        """The same, for a step of the evaluation."""
        if self._held is None:
            return self.find(stage, wanted)
        rows = self._held.get(stage.name)
        return rows if rows and rows.lo <= wanted[0] and wanted[1] <= rows.hi else None

    def admit(self, stage: Stage, rows: Rows) -> None:
        """Offer rows that were computed."""
        digest = self._digests[stage.name]
        if stage.name in self._stages:
            self._lru.put((digest, rows.lo), rows.array)
        ring = self._checkpoints.get(digest)
        if ring is not None:
            ring.save_rows(rows)


class Memory:
    """Caches of one pipeline over one source.

    Parameters
    ----------
    graph : Graph
    lru_bytes : int
        Bytes of the outputs that are kept.
    untried : set of str
        Stages whose purity has not been tried; not copied.
    """

    def __init__(self, graph: Graph, lru_bytes: int, untried: set[str] | None = None) -> None:
        self._graph, self.lru_bytes = graph, lru_bytes
        self.lru = LRUCache(lru_bytes)
        self.origin = 0
        self.untried: set[str] = set() if untried is None else untried
        self.costs: dict[bytes, Costs] = {}
        """What targets cost, by digest."""
        self._histories: dict[str, dict[bytes, KernelHistory]] = {}
        self._checkpoints: dict[bytes, CheckpointRing] = {}  # of stages without state

    def histories(
        self,
        compiled: CompiledGraph,
        digests: dict[str, bytes],
        plan: Plan | None,
    ) -> dict[str, KernelHistory]:
        """The history of each kernel with its parameters; with rings as a plan says, if any."""
        result = {}
        for stage in compiled.kernels:
            known = self._histories.setdefault(stage.name, {})
            history = known.pop(digests[stage.name], None) or KernelHistory(self.origin)
            known[digests[stage.name]] = history
            idle = [d for d, h in known.items() if not any(m != "evaluate" for m in h.marks)]
            for digest in idle[:-_HISTORIES_PER_KERNEL]:
                del known[digest]
            if history.ring is None and plan is not None:
                history.ring = _ring(plan, plan.slots)
            result[stage.name] = history
        return result

    def adopt(self, plan: Plan, compiled: CompiledGraph, digests: dict[str, bytes]) -> None:
        """Size the caches as a plan says."""
        self.lru.capacity = plan.lru_bytes
        for history in self.histories(compiled, digests, None).values():
            if history.ring is not None:
                history.ring.slots = plan.slots
        self.checkpoint_stage(plan, digests)

    def checkpoint_stage(self, plan: Plan, digests: dict[str, bytes]) -> None:
        """Have checkpoints of the stage without state that a plan names, from now on."""
        if plan.checkpointed_stage is None:
            return
        digest = digests[plan.checkpointed_stage]
        ring = self._checkpoints.pop(digest, None)
        if ring is None:
            ring = _ring(plan, plan.stage_slots)
        ring.slots = plan.stage_slots
        self._checkpoints[digest] = ring
        for old in list(self._checkpoints)[:-_STAGE_RINGS]:
            del self._checkpoints[old]

    def caching(
        self, compiled: CompiledGraph, digests: dict[str, bytes], is_query: bool
    ) -> RowCache:
        """What an evaluation may take from the caches, and give to them.

        A question for a few windows may come again: all of its rows are worth keeping. In a long
        evaluation only those that another target reads as well are, and kernels have to run.
        """
        stages = {stage.name for stage in (compiled.order if is_query else compiled.before)}
        if not is_query:
            mine = {stage.name for stage in compiled.order}
            shared = (c.inputs for c in self._graph.stages.values() if c.name not in mine)
            stages &= set().union(*shared)
        rings = {}
        for stage in compiled.kernels if is_query else ():
            history = self._histories.get(stage.name, {}).get(digests[stage.name])
            if history and history.ring:
                rings[stage.name] = history.ring
        return RowCache(self.lru, stages, digests, rings, self._checkpoints, holds=is_query)

    def emptied(self, origin: int) -> Memory:
        """A memory without anything, in which kernels begin at window ``origin``.

        A question that is still being answered goes on with the old one.
        """
        memory = Memory(self._graph, self.lru_bytes, self.untried)
        memory.origin = origin
        return memory


def _ring(plan: Plan, slots: int) -> CheckpointRing:
    return CheckpointRing(plan.k, slots, plan.ring, plan.ring_limit_bytes)
