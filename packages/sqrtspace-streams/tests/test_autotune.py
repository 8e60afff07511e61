"""Plans: bounds, the table of decisions, probes, prediction; and what the machine has."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sqrtspace_streams import Kernel, SqrtSpacePipeline
from sqrtspace_streams._costs import Costs, StageCost
from sqrtspace_streams._hardware import UNKNOWN_LLC_BYTES, _cgroup_headrooms, llc_bytes
from sqrtspace_streams._interpreter_lock import LockWatch
from sqrtspace_streams.autotune import probe_size
from sqrtspace_streams.config import Config, Settings
from sqrtspace_streams.plan import LARGEST_HOT_BYTES, Machine, Plan, Planner

MIB = 1 << 20


def costs(row_bytes: int = 1000, seconds: float = 1e-5, entry_bytes: int = 0) -> Costs:
    """Two stages, the first of which takes the time and the memory."""
    return Costs(
        (
            StageCost("a", ("input",), seconds, row_bytes, row_bytes),
            StageCost("b", ("a",), seconds / 100, 8, entry_bytes=entry_bytes),
        ),
        input_bytes=100,
    )


def decide(rows: int | None, machine: Machine, cost: Costs, **config: Any) -> Plan:
    planner = Planner(Settings.of(Config(**config)))
    return planner.decide(cost, rows, machine, keeps_result=True)


SMALL_CACHE = Machine(llc_bytes=10 * MIB, ram_bytes=1000 * MIB, processors=4)


@pytest.mark.parametrize(
    ("rows", "row_bytes", "seconds", "mode", "reason"),
    [
        (1000, 1000, 1e-5, "classic", "the cache has room"),  # 2 MB of 6 MiB
        (50_000, 1000, 1e-5, "sqrt", "tiles cost no time"),  # 100 MB of 500 MiB
        (5_000, 100_000, 1e-8, "sqrt", "slower by"),  # 1 GB: no choice, though slower
        (1_000, 100_000, 1e-8, "classic", "tiles would be slower"),  # 200 MB, and slower
        (None, 1000, 1e-5, "sqrt", "not known"),
    ],
)
def test_the_table_of_decisions(
    rows: int | None, row_bytes: int, seconds: float, mode: str, reason: str
) -> None:
    """Fits the cache: classic; fits memory: tiles unless slower by 10 %; else tiles."""
    plan = decide(rows, SMALL_CACHE, costs(row_bytes, seconds))
    assert (plan.mode, reason in plan.reason) == (mode, True), plan


def test_tiles_that_are_faster_win_where_all_fits() -> None:
    """Fresh memory costs time: data that fits the cache is evaluated by tiles if that is faster."""
    slow_pages = replace(SMALL_CACHE, fresh_seconds_per_byte=1e-8)
    plan = decide(1000, slow_pages, costs())
    assert (plan.mode, plan.slowdown is not None and plan.slowdown < -0.1) == ("sqrt", True)
    assert "faster" in plan.reason
    assert decide(1000, slow_pages, costs(), mode="classic").mode == "classic"


def test_tiles_too_short_for_threads_get_all_of_the_cache() -> None:
    """Where one thread is enough, its tile is not made smaller for others."""
    short = costs(row_bytes=50_000, seconds=1e-6)
    many, one = (Machine(100 * MIB, 1000 * MIB, n) for n in (4, 1))
    plans = [decide(10_000, machine, short) for machine in (many, one)]
    assert plans[0].workers == 1
    assert plans[0].tile == plans[1].tile == 32


@pytest.mark.parametrize(
    ("llc_mib", "processors", "workers"),
    [(64, 4, 4), (64, 16, 8), (64, 1, 1), (16, 4, 2), (4, 4, 1)],
)
def test_threads_share_the_cache(llc_mib: int, processors: int, workers: int) -> None:
    """As many as there are processors, as ``max_workers`` allows, and as have room for a tile.

    A tile of 16 windows takes 1.6 MB here, half of 0.6 of the cache is theirs, and one more tile
    than there are threads is in work.
    """
    machine, cost = Machine(llc_mib * MIB, 1000 * MIB, processors), costs(50_000, 1e-3)
    plan = decide(10_000, machine, cost)
    assert (plan.workers, plan.tile) == (workers, 16)
    for most in (1, 3):
        assert decide(10_000, machine, cost, max_workers=most).workers == min(most, workers)


@pytest.mark.parametrize(("held", "workers"), [(0, 4), (0.2, 4), (0.3, 3), (0.4, 2), (0.9, 1)])
def test_threads_are_for_stages_that_let_others_run(held: float, workers: int) -> None:
    """Where half of the time is Python code, a third thread would only wait."""
    cost = replace(costs(1000, 1e-3), held=held)
    assert decide(10_000, SMALL_CACHE, cost, mode="sqrt").workers == workers


def test_python_code_keeps_other_threads_from_running() -> None:
    """A loop is seen to hold the lock; of a piece that is too short nothing is said."""
    watch = LockWatch()
    with watch:
        pass
    assert watch.held == 0
    for _ in range(2):
        with watch:
            end = time.perf_counter() + 0.05
            while time.perf_counter() < end:
                pass
    assert 0.5 < watch.held <= 1


def test_tiles_are_large_where_calls_take_time_of_their_own() -> None:
    """Up to a fiftieth of the time of a tile, while it is as small as caches are."""
    machine = replace(SMALL_CACHE, llc_bytes=100 * MIB)
    small, large, largest = (
        decide(10_000, machine, replace(costs(), tile_seconds=s), max_workers=1).tile
        for s in (0, 1e-4, 1e-2)
    )
    assert (small, large) == (128, 512)  # the engine takes 20 microseconds, a window 10
    assert costs().live_bytes(largest) <= LARGEST_HOT_BYTES < costs().live_bytes(2 * largest)


def test_a_plan_counts_what_was_measured() -> None:
    """Memory that a larger tile took while it was measured stays with the process."""
    planner = Planner(Settings())
    small, large = (
        planner.decide(costs(), 1000, SMALL_CACHE, keeps_result=True, probed=probed)
        for probed in (0, 500)
    )
    assert small.sqrt_bytes is not None
    kept = large.result_bytes + large.checkpoint_bytes
    assert large.sqrt_bytes == costs().live_bytes(500) + kept > small.sqrt_bytes


def test_pieces_come_from_tiles() -> None:
    """Where rows are not kept, small ranges are evaluated tile by tile as well."""
    for rows in (100, 600, 3000):
        pipe = measured_pipeline([], tile=16)
        assert max(len(block) for _, block in pipe.blocks("both", (0, rows))) <= 64
        assert pipe.last_plan is not None
        assert pipe.last_plan.mode == "sqrt"


@pytest.mark.parametrize("mode", ["classic", "sqrt"])
def test_a_mode_that_was_asked_for_is_kept(mode: str) -> None:
    """No cost changes an explicit mode."""
    for rows in (10, 10_000_000):
        assert decide(rows, SMALL_CACHE, costs(), mode=mode).mode == mode


@given(
    llc=st.integers(1 << 16, 1 << 28),
    row_bytes=st.integers(1, 1 << 18),
    seconds=st.floats(1e-8, 1e-2),
    entry=st.integers(0, 1 << 16),
    rows=st.none() | st.integers(1, 10**7),
    explicit=st.dictionaries(
        st.sampled_from(["tile", "max_workers", "slots", "lru_bytes", "checkpoint_every"]),
        st.integers(1, 1 << 20),
    ),
)
@example(llc=1 << 16, row_bytes=1, seconds=1 / 128, entry=24_634, rows=None, explicit={})
@settings(max_examples=60)
def test_plans_fit_the_cache_or_say_why_not(
    llc: int,
    row_bytes: int,
    seconds: float,
    entry: int,
    rows: int | None,
    explicit: dict[str, int],
) -> None:
    """Tiles, checkpoints and LRU cache stay below 0.6 of the cache; explicit values are kept."""
    machine = Machine(llc, 1 << 40, 8)
    plan = decide(rows, machine, costs(row_bytes, seconds, entry), **explicit)
    total = plan.hot_bytes + plan.checkpoint_bytes + plan.lru_bytes
    if total > 0.6 * llc:
        assert plan.constraints["llc"] in ("violated:user", "violated:window")
    if plan.constraints.get("llc") == "violated:window":
        smallest = 16 * (100 + 2 * row_bytes) + entry
        assert smallest > 0.6 * llc - 1
    for name, value in explicit.items():
        if name == "max_workers":
            assert plan.workers <= value
        elif name == "tile":
            assert value <= plan.tile < value + 16
        else:
            field = {"checkpoint_every": "k"}.get(name, name)
            assert getattr(plan, field) == value
    assert plan.workers <= machine.processors
    assert plan.tile % plan.block_rows == 0


def test_history_that_is_computed_again_is_flagged() -> None:
    """A replay of more than a fifth of the range exceeds the budget."""
    planner = Planner(Settings())
    for replay, flagged in [(100, False), (300, True)]:
        plan = planner.decide(costs(), 1000, SMALL_CACHE, keeps_result=True, replay=replay)
        assert plan.recompute == replay / 1000
        assert ("recompute" in plan.constraints) == flagged


def test_classic_memory_is_that_of_the_largest_cut() -> None:
    """Outputs count from their stage to their last reader, work space only during its stage."""
    cost = Costs(
        (
            StageCost("a", ("input",), 1, 100, 50),
            StageCost("b", ("a",), 1, 10, fixed_bytes=1000),
            StageCost("c", ("a", "b"), 1, 1),
        ),
        input_bytes=7,
    )
    assert cost.live_bytes(10) == max(10 * (7 + 100 + 50), 10 * (100 + 10) + 1000)


def test_a_plan_is_json() -> None:
    """Every field of a plan survives JSON."""
    plan = decide(1000, SMALL_CACHE, costs())
    assert json.loads(plan.to_json())["tile"] == plan.tile


@pytest.mark.parametrize(
    ("rows", "size"), [(100, 0), (500, 0), (534, 16), (1_067, 32), (10**6, 64), (None, 64)]
)
def test_probes_are_a_small_share(rows: int | None, size: int) -> None:
    """At most 3 % of the windows, at most 64, in whole blocks."""
    assert probe_size(rows, 16) == size
    assert probe_size(rows, 7) % 7 == 0


class Count(Kernel):
    """Counts its windows."""

    chunk_invariant = True

    def init_state(self, shape: Any, dtype: Any, **kw: Any) -> dict[str, Any]:
        return {"count": 0}

    def step(self, x_block: Any, state: dict[str, Any], **kw: Any) -> Any:
        count = state["count"] + len(x_block)
        return np.arange(state["count"], count), {"count": count}


def measured_pipeline(sizes: list[int], **config: Any) -> SqrtSpacePipeline:
    pipe = SqrtSpacePipeline(window=64, hop=64, **config)

    @pipe.stage("wave", batch_invariant=True, check=False)
    def wave(x: np.ndarray) -> np.ndarray:
        sizes.append(len(x))
        return np.sin(x).astype("float64")

    pipe.kernel("count")(Count)
    pipe.stage("both", ["wave", "count"])(lambda w, n: w[:, 0] + n)
    pipe.bind(np.arange(64 * 3000, dtype="float32"))
    return pipe


def test_an_evaluation_measures_its_first_windows_once() -> None:
    """Three probes of at most 64 windows; their rows are part of the answer; costs are kept."""
    sizes: list[int] = []
    pipe = measured_pipeline(sizes, max_workers=1)
    rows = pipe.evaluate("both")
    assert sizes[0] == 16
    assert sum(sizes) == len(rows) == 3000
    assert pipe.last_plan is not None
    assert pipe.last_plan.classic_bytes is not None
    np.testing.assert_array_equal(pipe.evaluate("count"), np.arange(3000))
    sizes.clear()
    assert pipe.evaluate("both").tobytes() == rows.tobytes()
    assert sum(sizes) == 3000
    assert sizes[0] != 16


def test_a_plan_alone_leaves_no_trace() -> None:
    """Probing for a plan runs at most 144 windows, and kernels still begin at the beginning."""
    sizes: list[int] = []
    pipe = measured_pipeline(sizes)
    plan = pipe.plan("both")
    assert 0 < sum(sizes) <= 3 * 64
    assert plan.num_windows == 3000
    assert plan.classic_seconds is not None
    assert plan.sqrt_seconds is not None
    np.testing.assert_array_equal(pipe.evaluate("count"), np.arange(3000))


@pytest.mark.parametrize("rows", [1000, 4000, 16_000])
def test_predicted_bytes_are_those_of_the_arrays(rows: int) -> None:
    """Predicted growth in classic order is what NumPy allocates, within 15 %, at three sizes."""
    import tracemalloc

    pipe = measured_pipeline([], mode="classic")
    pipe.bind(np.zeros(64 * rows, "float32"))
    pipe.evaluate("both", (0, 16))
    tracemalloc.start()
    pipe.evaluate("both")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    measured = measured_pipeline([])
    measured.bind(np.zeros(64 * rows, "float32"))
    plan = measured.plan("both")
    assert plan.classic_bytes == pytest.approx(peak - 8 * rows, rel=0.15)


def test_the_last_level_cache_is_read_from_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest level that is not for instructions; units K and M; the environment wins."""
    monkeypatch.delenv("SQRTSPACE_LLC_BYTES", raising=False)
    assert llc_bytes(tmp_path / "missing") == UNKNOWN_LLC_BYTES == 32 * MIB
    for index, (level, kind, size) in enumerate(
        [
            (1, "Data", "48K"),
            (1, "Instruction", "9M"),
            (2, "Unified", "2048K"),
            (3, "Unified", "7M"),
        ]
    ):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        for name, text in [("level", str(level)), ("type", kind), ("size", size)]:
            (folder / name).write_text(text + "\n")
    (tmp_path / "index9").mkdir()
    assert llc_bytes(tmp_path) == 7 * MIB
    monkeypatch.setenv("SQRTSPACE_LLC_BYTES", "12345")
    assert llc_bytes(tmp_path) == 12345


@pytest.mark.parametrize(("shared", "mib"), [("0-1", 32), ("0,4-6", 64), ("0-63", 480)])
def test_the_cache_of_a_host_is_not_taken_for_ours(tmp_path: Path, shared: str, mib: int) -> None:
    """A virtual machine with few processors is shown a cache for many."""
    (tmp_path / "index3").mkdir()
    values = {"level": "3", "type": "Unified", "size": "480M", "shared_cpu_list": shared}
    for name, text in values.items():
        (tmp_path / "index3" / name).write_text(text + "\n")
    assert llc_bytes(tmp_path) == mib * MIB


@pytest.mark.parametrize("version", [1, 2])
def test_control_groups_limit_memory(tmp_path: Path, version: int) -> None:
    """What is left in each group up to the root, cached files not counted, for both versions."""
    mount = tmp_path / "sys/fs/cgroup" / ("memory" if version == 1 else "")
    controllers, prefix = ("memory", "total_") if version == 1 else ("", "")
    names = {1: ("limit_in_bytes", "usage_in_bytes"), 2: ("max", "current")}[version]
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"7:cpu:/x\n4:{controllers}:/a/b\n")
    for folder, limit in [("a/b", "500"), ("a", "max"), ("", "900")]:
        group = mount / folder
        group.mkdir(parents=True, exist_ok=True)
        (group / f"memory.{names[0]}").write_text(limit)
        (group / f"memory.{names[1]}").write_text("300")
        (group / "memory.stat").write_text(f"anon 7\n{prefix}inactive_file 40\n")
    assert list(_cgroup_headrooms(tmp_path)) == [240, 640]
    assert list(_cgroup_headrooms(tmp_path / "nowhere")) == []
