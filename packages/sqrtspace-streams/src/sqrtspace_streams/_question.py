"""One question to a pipeline: a target with parameters, over the windows of a source."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from typing import Any

import numpy as np

from sqrtspace_streams._graph import Graph
from sqrtspace_streams._memory import Memory
from sqrtspace_streams._params import resolve, signatures
from sqrtspace_streams._rows import Array
from sqrtspace_streams._sweep import Counts, Sweep
from sqrtspace_streams.cache import RingKind
from sqrtspace_streams.config import Settings
from sqrtspace_streams.errors import StreamsError
from sqrtspace_streams.sources import ArraySource, Source


class Question:
    """A compiled target with its parameters resolved.

    Parameters
    ----------
    graph, target, params
        What is asked.
    source, settings, memory
        Of the pipeline.
    untried : set of str
        Stages whose purity has not been tried.
    """

    def __init__(
        self,
        graph: Graph,
        target: str,
        params: dict[str, Any] | None,
        source: Source,
        settings: Settings,
        memory: Memory,
        untried: set[str],
    ) -> None:
        self.compiled = graph.compile(target)
        self.target = target
        self._arguments = resolve(graph, self.compiled, params)
        self._digests = signatures(self.compiled, self._arguments)
        self._source, self._settings, self._memory = source, settings, memory
        self._untried = untried
        self._sweep: Sweep | None = None

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

    def blocks(self, t0: int, t1: int | None) -> Generator[tuple[int, Array], None, None]:
        """Compute windows ``[t0, t1)``, or to the end of the stream."""
        settings = self._settings
        tile = settings.tile or max(32, settings.block_rows)
        tile += -tile % settings.block_rows
        is_classic = settings.mode == "classic"
        is_query = not is_classic and t1 is not None and t1 - t0 <= tile
        ring: tuple[int, int, RingKind] | None = None
        if not is_classic:
            kind: RingKind = "thin" if settings.ring == "auto" else settings.ring
            ring = (settings.checkpoint_every, settings.slots or 1024, kind)
        histories = self._memory.histories(self.compiled, self._digests, ring)
        lookup, admit = self._memory.caching(self.compiled, self._digests, is_query)
        self._sweep = Sweep(
            self.compiled,
            self._arguments,
            self._source,
            settings,
            histories,
            lookup=lookup,
            admit=None if is_classic else admit,
            untried=self._untried,
        )
        workers = 1 if is_classic else settings.max_workers
        yield from self._sweep.run(t0, t1, None if is_classic else tile, workers)

    def remember(self, who: str) -> None:
        """Keep where the kernels stand, so that the next windows need no replay."""
        assert self._sweep is not None
        histories = self._memory.histories(self.compiled, self._digests, None)
        for name, kernel in self._sweep.kernels.items():
            histories[name].marks[who] = kernel.end()

    def no_rows(self) -> Array:
        """An array of no rows, with the shape and type that rows would have.

        They are found by running the stages on one window of zeros.
        """
        settings = self._settings
        shape = (settings.window, *self._source.item_shape)
        source = ArraySource(np.zeros(shape, self._source.dtype))
        histories = Memory(Graph(), 0).histories(self.compiled, self._digests, None)
        sweep = Sweep(self.compiled, self._arguments, source, settings, histories)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                rows = [rows for _, rows in sweep.run(0, 1, None)]
            except StreamsError:  # zeros are nothing to this stage
                return np.empty(0, settings.dtype)
        none: Array = rows[0][:0].copy()
        return none
