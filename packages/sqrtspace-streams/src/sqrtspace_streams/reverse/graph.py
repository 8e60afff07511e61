"""What of a target runs forward, what runs backward, and the rows that go from one to the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sqrtspace_streams._graph import CompiledGraph, Graph
from sqrtspace_streams._rows import Array
from sqrtspace_streams._stage import INPUT, Keywords, Stage
from sqrtspace_streams.errors import GraphError

BOUNDARY = "reverse.boundary"  # no stage of a user has a dot in its name


class ReverseGraph:
    """A target that needs windows from the last to the first.

    Attributes
    ----------
    whole : CompiledGraph
        All that the target needs.
    forward : CompiledGraph
        What runs in the order of time. Its target gives all that the backward stages read.
    backward : tuple of Stage
        Reverse kernels and what reads them, in the order in which they run.
    boundary : tuple of str
        The stages, or the input, that backward stages read.
    pack : Pack or None
        Joins the rows of the boundary, where that is more than one stage.

    Raises
    ------
    GraphError
        If a kernel, or a stage with ``context``, reads a reverse kernel.
    """

    def __init__(self, graph: Graph, target: str) -> None:
        self.whole = graph.compile(target)
        reversed_names: set[str] = set()
        for stage in self.whole.order:
            if stage.is_reverse or reversed_names.intersection(stage.inputs):
                _check_backward(stage)
                reversed_names.add(stage.name)
        self.backward = tuple(s for s in self.whole.order if s.name in reversed_names)
        order = tuple(s for s in self.whole.order if s.name not in reversed_names)
        read = [name for stage in self.backward for name in stage.inputs] or [target]
        self.boundary = tuple(dict.fromkeys(n for n in read if n not in reversed_names))
        self.pack: Pack | None = None
        if len(self.boundary) == 1 and self.boundary[0] != INPUT:
            order = graph.compile(self.boundary[0]).order
            self.forward = CompiledGraph(self.boundary[0], order)
        else:
            self.pack = Pack(self.boundary)
            stage = Stage(
                BOUNDARY,
                self.pack,
                self.boundary,
                Keywords(),
                batch_invariant=True,
                check=False,
                takes_arrays=True,
            )
            self.forward = CompiledGraph(BOUNDARY, (*order, stage))

    def parted(self, rows: Array) -> dict[str, Array]:
        """The rows of each stage of the boundary."""
        if self.pack is None:
            return {self.boundary[0]: rows}
        return self.pack.parted(rows)


class Pack:
    """Joins the rows of several stages to rows of bytes, and parts them again."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._layout: list[tuple[np.dtype[np.generic], tuple[int, ...], int]] = []

    def __call__(self, *blocks: Array) -> Array:
        """Rows of bytes."""
        layout, parts = [], []
        for name, block in zip(self._names, blocks, strict=True):
            if block.dtype.hasobject:
                raise GraphError(f"a reverse kernel reads {name!r}, whose rows are Python objects")
            flat = np.ascontiguousarray(block).reshape(len(block), -1).view(np.uint8)
            layout.append((block.dtype, block.shape[1:], flat.shape[1]))
            parts.append(flat)
        self._layout = layout
        return np.concatenate(parts, axis=1)

    def parted(self, rows: Array) -> dict[str, Array]:
        """Arrays by name, read-only."""
        result, first = {}, 0
        for name, (dtype, shape, size) in zip(self._names, self._layout, strict=True):
            part = np.ascontiguousarray(rows[:, first : first + size])
            result[name] = part.view(dtype).reshape(len(rows), *shape)
            result[name].setflags(write=False)
            first += size
        return result


def _check_backward(stage: Stage) -> None:
    if stage.kernel and not stage.is_reverse:
        raise GraphError(
            f"kernel {stage.name!r} runs forward and reads a reverse kernel, which runs backward: "
            "write the rows of that one to a file, and bind it to another pipeline"
        )
    if stage.context != (0, 0):
        raise GraphError(f"stage {stage.name!r} has context= and reads a reverse kernel")
