"""What a pipeline remembers between questions: outputs, checkpoints, where kernels stand."""

from __future__ import annotations

from sqrtspace_streams._demand import Lookup
from sqrtspace_streams._graph import CompiledGraph, Graph
from sqrtspace_streams._kernel_run import KernelHistory
from sqrtspace_streams._rows import Range, Rows
from sqrtspace_streams._stage import Stage
from sqrtspace_streams._sweep import Admit
from sqrtspace_streams.cache import CheckpointRing, LRUCache, RingKind

_HISTORIES_PER_KERNEL = 4  # parameter sets whose checkpoints are kept


class Memory:
    """Caches of one pipeline over one source.

    Parameters
    ----------
    graph : Graph
    lru_bytes : int
        Bytes of the outputs that are kept.
    """

    def __init__(self, graph: Graph, lru_bytes: int) -> None:
        self._graph = graph
        self.lru = LRUCache(lru_bytes)
        self.origin = 0
        self._histories: dict[str, dict[bytes, KernelHistory]] = {}

    def histories(
        self,
        compiled: CompiledGraph,
        digests: dict[str, bytes],
        ring: tuple[int, int, RingKind] | None,
    ) -> dict[str, KernelHistory]:
        """The history of each kernel with its parameters.

        ``ring`` has the spacing, slots and kind of rings to make; None makes none.
        """
        result = {}
        for stage in compiled.kernels:
            known = self._histories.setdefault(stage.name, {})
            history = known.pop(digests[stage.name], None) or KernelHistory(self.origin)
            known[digests[stage.name]] = history
            idle = [d for d, h in known.items() if not any(m != "evaluate" for m in h.marks)]
            for digest in idle[:-_HISTORIES_PER_KERNEL]:
                del known[digest]
            if history.ring is None and ring is not None:
                history.ring = CheckpointRing(*ring)
            result[stage.name] = history
        return result

    def caching(
        self, compiled: CompiledGraph, digests: dict[str, bytes], is_query: bool
    ) -> tuple[Lookup, Admit]:
        """Functions that find and offer rows.

        A question for a few windows may come again: all of its rows are worth keeping. In a long
        evaluation only those that another target reads as well are, and kernels have to run.
        """
        mine = {stage.name for stage in compiled.order}
        cached = {
            stage.name
            for stage in (compiled.order if is_query else compiled.before)
            if is_query or any(c.name not in mine for c in self._graph.consumers(stage.name))
        }
        held: dict[tuple[str, Range], Rows] = {}  # what one question found stays found

        def lookup(stage: Stage, wanted: Range) -> Rows | None:
            if stage.name not in cached:
                return None
            if rows := held.get((stage.name, wanted)):
                return rows
            lo, hi = wanted
            array = self.lru.get((digests[stage.name], lo))
            if array is None or len(array) < hi - lo:
                return self._checkpoint(stage, digests, wanted, held)
            if is_query:
                held[stage.name, wanted] = Rows(lo, array)
            return Rows(lo, array)

        def admit(stage: Stage, rows: Rows) -> None:
            if stage.name in cached:
                self.lru.put((digests[stage.name], rows.lo), rows.array)

        return lookup, admit

    def _checkpoint(
        self,
        stage: Stage,
        digests: dict[str, bytes],
        wanted: Range,
        held: dict[tuple[str, Range], Rows],
    ) -> Rows | None:
        """The output of a kernel at a checkpoint."""
        history = self._histories.get(stage.name, {}).get(digests[stage.name])
        entry = history.ring.load(wanted[0]) if history and history.ring else None
        if entry is None or len(entry.output) < wanted[1] - wanted[0]:
            return None
        held[stage.name, wanted] = Rows(wanted[0], entry.output)
        return held[stage.name, wanted]

    def forget(self, origin: int) -> None:
        """Drop everything; kernels begin anew at window ``origin``."""
        self.lru.clear()
        self._histories.clear()
        self.origin = origin
