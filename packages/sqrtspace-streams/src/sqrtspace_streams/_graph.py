"""The graph of stages, and the part of it that one target needs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from sqrtspace_streams._stage import INPUT, Stage
from sqrtspace_streams.errors import CycleError, GraphError


class Graph:
    """Stages by name. Inputs may be named before they are registered, cycles may not be made."""

    def __init__(self) -> None:
        self.stages: dict[str, Stage] = {}

    def add(self, stage: Stage) -> None:
        """Register a stage; the graph is unchanged where this raises.

        Raises
        ------
        GraphError
            If the name is taken.
        CycleError
            If the stage would need its own output.
        """
        if stage.name in self.stages:
            raise GraphError(f"there is a stage {stage.name!r} already: choose another name")
        self.stages[stage.name] = stage
        for ancestor in self._ancestors(stage):
            if stage.name in ancestor.inputs:
                del self.stages[stage.name]
                raise CycleError(
                    f"stage {stage.name!r} reads {list(stage.inputs)}, and {ancestor.name!r} "
                    f"reads {stage.name!r}: a stage cannot need its own output"
                )

    def consumers(self, name: str) -> list[Stage]:
        """The stages that read ``name``."""
        return [stage for stage in self.stages.values() if name in stage.inputs]

    def sinks(self) -> list[str]:
        """The stages that no other stage reads."""
        return [name for name in self.stages if not self.consumers(name)]

    def _ancestors(self, stage: Stage) -> Iterator[Stage]:
        """The stage and the known stages that it needs."""
        waiting, seen = [stage.name], {stage.name}
        while waiting:
            node = self.stages.get(waiting.pop())
            if node is not None:
                yield node
                waiting += [name for name in node.inputs if name not in seen]
                seen.update(node.inputs)

    def compile(self, target: str) -> CompiledGraph:
        """What has to run for ``target``, in depth-first post-order.

        Raises
        ------
        GraphError
            If the target or the input of a stage is not registered.
        """
        order: list[Stage] = []
        placed: set[str] = set()
        stack: list[tuple[str, str | None]] = [(target, None)]
        while stack:
            name, reader = stack[-1]
            if name in placed or name == INPUT:
                stack.pop()
                continue
            stage = self._known(name, reader)
            if missing := [s for s in stage.inputs if s not in placed and s != INPUT]:
                stack += [(s, name) for s in reversed(missing)]
            else:
                placed.add(name)
                order.append(stage)
                stack.pop()
        return CompiledGraph(target, tuple(order))

    def _known(self, name: str, reader: str | None) -> Stage:
        if name in self.stages:
            return self.stages[name]
        close = difflib.get_close_matches(name, self.stages, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; there are {sorted(self.stages)}"
        by = f", which {reader!r} reads" if reader else ""
        raise GraphError(f"no stage is named {name!r}{by}{hint}")


class CompiledGraph:
    """The stages that a target needs, in depth-first post-order.

    Attributes
    ----------
    order : tuple of Stage
        Ends with the target.
    before, between, after : tuple of Stage
        The stages that no kernel feeds (their tiles are independent of each other), the kernels
        and what lies between two of them (they run in the order of time), and the rest.
    kernels : tuple of Stage
        The stages with state.
    lookahead : dict of str to int
        Windows after the target's that each node, the input included, is needed for.
    lookback : int
        Windows before the target's that the input is needed for, beside what kernels remember.
    """

    def __init__(self, target: str, order: tuple[Stage, ...]) -> None:
        self.target, self.order = target, order
        self.kernels = tuple(stage for stage in order if stage.kernel)
        stateful: set[str] = set()
        for stage in order:
            if stage.kernel or stateful.intersection(stage.inputs):
                stateful.add(stage.name)
        feeding: set[str] = set()
        self.lookahead = dict.fromkeys([INPUT, *(stage.name for stage in order)], 0)
        lookback = dict(self.lookahead)
        for stage in reversed(order):
            if stage.kernel or stage.name in feeding:
                feeding.update(stage.inputs, [stage.name])
            for name in stage.inputs:
                ahead = self.lookahead[stage.name] + stage.context[1]
                self.lookahead[name] = max(self.lookahead[name], ahead)
                lookback[name] = max(lookback[name], lookback[stage.name] + stage.context[0])
        self.lookback = lookback[INPUT]
        self.before = tuple(s for s in order if s.name not in stateful)
        self.between = tuple(s for s in order if s.name in stateful and s.name in feeding)
        self.after = tuple(s for s in order if s.name in stateful and s.name not in feeding)
