"""What the stages of a target cost, and which of them is expensive to compute again."""

from __future__ import annotations

from dataclasses import dataclass

MAX_RECOMPUTE = 0.20  # of the time that an answer takes anyway
_STAGE_OVERHEAD = 1e-5  # seconds that the engine takes for a stage of a tile


@dataclass(frozen=True)
class StageCost:
    """What one stage costs."""

    name: str
    inputs: tuple[str, ...]
    seconds: float
    """For a window."""
    row_bytes: int
    """Output for a window."""
    work_bytes: int = 0
    """Further memory while it runs, for each window."""
    fixed_bytes: int = 0
    """The same, however many windows there are."""
    entry_bytes: int = 0
    """A checkpoint of it, if it is a kernel."""


@dataclass(frozen=True)
class Costs:
    """What a target costs."""

    stages: tuple[StageCost, ...]
    """In the order in which they run; the last is the target."""
    input_bytes: int
    """Samples read for a window; 0 where they are in memory already."""
    tile_seconds: float = 0.0
    """For a tile, besides its windows, where that was measured: what calls take by themselves."""
    held: float = 0.0
    """Share of the time in which no other Python thread can run."""

    @property
    def overhead_seconds(self) -> float:
        """For a tile, besides its windows."""
        return _STAGE_OVERHEAD * len(self.stages)

    @property
    def seconds(self) -> float:
        """For a window."""
        return sum(stage.seconds for stage in self.stages)

    def live_bytes(self, rows: int) -> int:
        """The most that a step of ``rows`` windows holds at once, its result included."""
        last_use = {name: i for i, stage in enumerate(self.stages) for name in stage.inputs}
        last_use[self.stages[-1].name] = len(self.stages)
        live, peak = {"input": self.input_bytes * rows}, 0
        for i, stage in enumerate(self.stages):
            work = stage.fixed_bytes + stage.work_bytes * rows
            live[stage.name] = stage.row_bytes * rows
            peak = max(peak, sum(live.values()) + work)
            live = {name: size for name, size in live.items() if last_use.get(name, -1) > i}
        return peak

    def seconds_given(self, name: str) -> float:
        """For a window of the target where that of stage ``name`` is there already."""
        wanted, seconds = {self.stages[-1].name} - {name}, 0.0
        for stage in reversed(self.stages):
            if stage.name in wanted:
                seconds += stage.seconds
                wanted.update(source for source in stage.inputs if source != name)
        return seconds

    def lowest_expensive_producer(self, block_rows: int) -> StageCost | None:
        """The stage without state whose rows are worth keeping here and there.

        The one nearest to the input from whose row the target's takes less than a fifth of its
        time: all that is expensive is then done. Kernels are checkpointed by themselves, and a
        stage that feeds one is no help: a kernel that is replayed reads windows in between.

        Parameters
        ----------
        block_rows : int
            Windows that are computed at least; where they take less time than the engine itself
            does, there is no expensive stage.
        """
        if block_rows * self.seconds < self.overhead_seconds:
            return None
        feeding: set[str] = set()
        for stage in reversed(self.stages):
            if stage.entry_bytes or stage.name in feeding:
                feeding.update(stage.inputs)
        for stage in self.stages:
            is_enough = self.seconds_given(stage.name) <= MAX_RECOMPUTE * self.seconds
            if is_enough and stage.name not in feeding:
                return None if stage.entry_bytes else stage
        return None

    @property
    def entry_bytes(self) -> int:
        """One checkpoint of every kernel."""
        return sum(stage.entry_bytes for stage in self.stages)
