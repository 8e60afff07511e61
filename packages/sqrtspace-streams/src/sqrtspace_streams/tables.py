"""A plan and the stages of a run as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from sqrtspace_streams.demos.runs import Measured
    from sqrtspace_streams.plan import Plan


def plan_table(plan: Plan) -> Table:
    """A plan with its reasons."""
    from rich.table import Table

    table = Table("", "plan", show_header=False, title=f"Mode: {plan.mode}")
    for reason in plan.reasons:
        table.add_row("reason", reason)
    table.add_row("windows", f"{plan.num_windows} of {plan.window} samples, hop {plan.hop}")
    table.add_row("tile", f"{plan.tile} windows, {plan.workers} workers")
    table.add_row("checkpoints", f"every {plan.k} windows, {plan.slots} slots ({plan.ring})")
    if plan.checkpointed_stage:
        kept = f"{plan.checkpointed_stage}, {plan.stage_slots} slots"
        table.add_row("checkpointed stage", kept)
    table.add_row("LRU cache", _mib(plan.lru_bytes))
    for name, size in (
        ("tiles in work", plan.hot_bytes),
        ("last-level cache", plan.llc_bytes),
        ("free memory", plan.ram_bytes),
    ):
        if size:  # 0 where the plan was made without measurements
            table.add_row(name, _mib(size))
    for order, needed, seconds in (
        ("classic", plan.classic_bytes, plan.classic_seconds),
        ("sqrt", plan.sqrt_bytes, plan.sqrt_seconds),
    ):
        if needed is not None and seconds is not None:
            table.add_row(f"{order} order", f"{_mib(needed)}, {seconds:.3g} s predicted")
    for name, state in plan.constraints.items():
        table.add_row(f"constraint {name}", state)
    return table


def stage_table(demo: str, measured: Measured) -> Table:
    """What each stage of a run of a demonstration took."""
    from rich.table import Table

    usage, plan = measured.usage, measured.plan
    mode = f", {plan.mode} order, tiles of {plan.tile}" if plan else ""
    table = Table(title=f"{demo}: {measured.num_windows} windows{mode}")
    for column in ("stage", "windows", "seconds", "µs per window", "bytes per window"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    total = 0.0
    for name, stage in measured.stages.items():
        seconds, windows = stage["seconds"], int(stage["windows"])
        total += seconds
        each = f"{seconds / max(windows, 1) * 1e6:.1f}"
        table.add_row(name, str(windows), f"{seconds:.3f}", each, f"{int(stage['row_bytes'])}")
    table.add_section()
    table.add_row("stages in all", str(measured.num_windows), f"{total:.3f}", "", "")
    growth = usage.peak_bytes - usage.floor_bytes
    table.caption = (
        f"whole run {usage.seconds:.3f} s, {usage.cpu_seconds:.3f} s of processors; "
        f"peak {_mib(usage.peak_bytes)}, {_mib(growth)} above imports; "
        f"computed again {measured.recompute:.1%}"
    )
    if plan:
        table.caption += f"; why: {plan.reason}"
    return table


def _mib(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"
