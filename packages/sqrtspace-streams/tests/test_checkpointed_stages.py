"""Checkpoints of stages without state: which one has them, and what they save."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from sqrtspace_streams import Kernel, SqrtSpacePipeline
from sqrtspace_streams._costs import Costs, StageCost
from sqrtspace_streams.cache import RING_BYTES, entry_bytes
from sqrtspace_streams.config import Config, Settings
from sqrtspace_streams.plan import Machine, Plan, Planner

SIGNAL = np.random.default_rng(4).standard_normal(32_000)
MACHINE = Machine(llc_bytes=10 << 20, ram_bytes=1 << 30, processors=1)


def decided(*stages: StageCost, machine: Machine = MACHINE, **config: Any) -> Plan:
    planner = Planner(Settings.of(Config(**config)))
    return planner.decide(Costs(stages, 100), 10_000, machine, keeps_result=True)


def chain(*seconds: float, kernel: str = "") -> list[StageCost]:
    """Stages a, b, c..., each of which reads the one before."""
    names = ["input", *"abcdef"]
    return [
        StageCost(name, (names[i],), cost, 100, entry_bytes=200 if name == kernel else 0)
        for i, (name, cost) in enumerate(zip(names[1:], seconds, strict=False))
    ]


@pytest.mark.parametrize(
    ("seconds", "kernel", "stage"),
    [
        ((1, 100, 1), "", "b"),
        ((100, 1, 1), "", "a"),
        ((1, 100, 100), "", "c"),  # b would leave half of the work
        ((100, 1, 1), "b", None),  # what the kernel reads in between is not there
        ((1, 100, 1), "b", None),  # it has checkpoints as a kernel
        ((1, 1, 100, 1), "a", "c"),
        ((1e-8, 1e-6, 1e-8), "", None),  # the engine takes longer
    ],
)
def test_the_lowest_expensive_producer_is_checkpointed(
    seconds: tuple[float, ...], kernel: str, stage: str | None
) -> None:
    """Of costs 1, 100, 1 only the stage of 100, and kernels in any case."""
    plan = decided(*chain(*seconds, kernel=kernel))
    assert plan.checkpointed_stage == stage
    assert bool(plan.stage_slots) == (stage is not None)
    assert plan.slots == 100  # the root of the windows, for kernels
    expected = plan.stage_slots * entry_bytes(100, None) + plan.slots * (200 if kernel else 0)
    assert plan.checkpoint_bytes == expected


def test_history_takes_no_more_however_long_the_stream_is() -> None:
    """Checkpoints have a limit of bytes, unless their spacing or number was asked for."""
    stages = [
        StageCost("a", ("input",), 100, 5_000),
        StageCost("b", ("a",), 1, 8, entry_bytes=4_000),
    ]
    planner = Planner(Settings())
    for count in (10**6, 10**8, None):
        plan = planner.decide(Costs(tuple(stages), 100), count, MACHINE, keeps_result=False)
        assert plan.slots == RING_BYTES // 4_000
        assert plan.ring_limit_bytes == RING_BYTES
    stages[1] = StageCost("b", ("a",), 1, 8)
    plan = planner.decide(Costs(tuple(stages), 100), 10**8, MACHINE, keeps_result=False)
    assert plan.stage_slots == RING_BYTES // entry_bytes(5_000, None)
    for asked in ({"slots": 900}, {"checkpoint_every": 64}):
        assert decided(*chain(1, 1, kernel="b"), **asked).ring_limit_bytes is None


def test_both_branches_count() -> None:
    """A stage beside another expensive one saves too little; the one that joins them does not."""
    a, b = StageCost("a", ("input",), 50, 100), StageCost("b", ("input",), 50, 100)
    join, last = StageCost("join", ("a", "b"), 1, 8), StageCost("last", ("join", "a"), 1, 8)
    assert decided(a, b, join).checkpointed_stage == "join"
    assert decided(a, b, join, last).checkpointed_stage == "last"


def test_checkpoints_of_a_stage_take_what_is_left() -> None:
    """Kernels come first, and rows that do not fit are not kept."""
    large = StageCost("b", ("a",), 100, 1 << 20)
    first, last = chain(1, 0, 1)[0], StageCost("c", ("b",), 1, 8)
    plan = decided(first, large, last, machine=Machine(64 << 20, 1 << 30, 1))
    assert plan.checkpointed_stage == "b"
    assert 0 < plan.stage_slots < plan.slots
    assert plan.hot_bytes + plan.checkpoint_bytes <= 0.6 * (64 << 20)
    many = decided(*chain(1, 100, 1), checkpoint_every=8)
    assert (many.slots, many.stage_slots) == (1250, 100)  # of kernels all that were asked for
    assert decided(first, large, last).checkpointed_stage is None
    assert decided(first, large, last).stage_slots == 0


class Total(Kernel):
    """The sum of all rows so far."""

    def init_state(self, shape: Any, dtype: Any, **kw: Any) -> dict[str, Any]:
        return {"total": np.zeros(shape)}

    def step(self, x_block: Any, state: dict[str, Any], **kw: Any) -> Any:
        state["total"] += x_block[0]
        return state["total"][None].copy(), state


def pipeline(calls: Counter[str], **config: Any) -> SqrtSpacePipeline:
    """Three stages, the second of which takes almost all of the time; a kernel beside them."""
    pipe = SqrtSpacePipeline(window=16, hop=16, lru_bytes=0, **config)

    def counted(name: str, x: np.ndarray) -> np.ndarray:
        calls[name] += 1
        return x

    @pipe.stage("costly", ["scaled"], vectorized=False)
    def costly(x: np.ndarray, *, power: int = 3) -> np.ndarray:
        for _ in range(200):
            x = np.sort(x)[::-1]
        return counted("costly", x**power)

    pipe.stage("scaled", batch_invariant=True)(lambda x: counted("scaled", 2 * x))
    pipe.stage("mean", ["costly"])(lambda x: counted("mean", x.mean(axis=1)))
    pipe.kernel("total", ["mean"])(Total)
    pipe.bind(SIGNAL)
    return pipe


@pytest.mark.parametrize("config", [{"max_workers": 1}, {"max_workers": 3, "tile": 48}])
def test_nothing_expensive_is_computed_again_at_a_checkpoint(config: dict[str, Any]) -> None:
    """There only the stages behind run; elsewhere all do; bytes are the same."""
    calls: Counter[str] = Counter()
    pipe = pipeline(calls, checkpoint_every=10, **config)
    whole = pipe.evaluate("mean", (0, 1000))
    plan = pipe.last_plan
    assert plan is not None
    assert plan.checkpointed_stage == "costly"
    (ring,) = pipe._memory._checkpoints.values()
    times = ring.times()
    assert times[0] < 192  # windows that were measured before the plan
    assert times == list(range(times[0], 1000, ring.every))
    assert len(times) <= plan.stage_slots
    for t in times[:2] + times[-1:]:
        calls.clear()
        assert pipe.evaluate("mean", (t, t + 1)).tobytes() == whole[t : t + 1].tobytes()
        assert calls == {"mean": 1}
        assert pipe.last_counts.found["costly"] == 1
    calls.clear()
    assert pipe.evaluate("mean", (5, 6)).tobytes() == whole[5:6].tobytes()
    assert (calls["scaled"], calls["costly"]) == (1, 1)


def test_checkpoints_belong_to_parameters_and_source() -> None:
    """Other parameters, and another source, never meet rows of the first."""
    calls: Counter[str] = Counter()
    pipe = pipeline(calls, max_workers=1)
    pipe.evaluate("mean")
    for _ in range(2):
        for power in (3, 2):
            fresh = pipeline(Counter(), mode="classic")
            fresh.bind(pipe.source)
            expected = fresh.evaluate("mean", (16, 17), {"power": power})
            assert pipe.evaluate("mean", (16, 17), {"power": power}).tobytes() == expected.tobytes()
        pipe.bind(-SIGNAL)


def test_a_stage_that_feeds_a_kernel_has_none() -> None:
    """A kernel is replayed from its own checkpoints."""
    pipe = pipeline(Counter(), max_workers=1)
    whole = pipe.evaluate("total")
    assert pipe.last_plan is not None
    assert pipe.last_plan.checkpointed_stage is None
    assert pipe.evaluate("total", (777, 779)).tobytes() == whole[777:779].tobytes()
