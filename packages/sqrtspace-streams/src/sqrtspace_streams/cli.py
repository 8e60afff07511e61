"""The command ``sqrtspace``: demonstrations and plans."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from sqrtspace_streams.config import Mode, Settings
from sqrtspace_streams.errors import StreamsError

if TYPE_CHECKING:
    from rich.table import Table

    from sqrtspace_streams.plan import Plan

_FAILED, _MISUSED = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Returns
    -------
    int
        0; 1 if results differ or a run fails; 2 for options that cannot be.
    """
    from sqrtspace_streams.metrics import ChildError

    options = _parser().parse_args(arguments)
    try:
        return _demo(options) if options.command == "demo" else _plan(options)
    except (StreamsError, ChildError, OSError) as error:
        return _say(f"sqrtspace: {error}", _FAILED)
    except ValueError as error:
        return _say(f"sqrtspace: {error}", _MISUSED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sqrtspace", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="run a demonstration beside its plain baseline")
    demo.add_argument("what", choices=["audio"])
    plan = commands.add_parser("plan", help="show how the audio demonstration would be evaluated")
    plan.add_argument("--print", action="store_true", help="as a table (the default)")
    plan.add_argument("--json", action="store_true", help="as JSON, in one line")
    plan.add_argument("--checkpoint-every", type=int, metavar="K")
    plan.add_argument("--lru-bytes", type=int)
    plan.add_argument("--max-workers", type=int)
    for command in (demo, plan):
        command.add_argument("--seconds", type=float, default=120.0, help="of the recording")
        command.add_argument("--window", type=int, default=Settings.window)
        command.add_argument("--hop", type=int, default=Settings.hop)
        command.add_argument("--mode", choices=get_args(Mode), default=Settings.mode)
        command.add_argument("--seed", type=int, default=0, help="of the recording")
    return parser


def _demo(options: argparse.Namespace) -> int:
    from rich.console import Console

    from sqrtspace_streams.demos import audio

    _check_recording(options)
    Settings.of({"window": options.window, "hop": options.hop})
    if options.seconds * audio.SAMPLE_RATE < options.window:
        raise ValueError(
            f"--seconds {options.seconds}: the recording has no window of {options.window} samples"
        )
    report = audio.demo(
        options.seconds,
        window=options.window,
        hop=options.hop,
        mode=options.mode,
        seed=options.seed,
    )
    Console().print(report.panel())
    return 0 if report.verdict.is_equal else _FAILED


def _plan(options: argparse.Namespace) -> int:
    from rich.console import Console

    plan = _audio_plan(options)
    if options.json:
        sys.stdout.write(plan.to_json() + "\n")
    if options.print or not options.json:
        Console().print(_table(plan))
    return 0


def _audio_plan(options: argparse.Namespace) -> Plan:
    """The plan for the recording, of which only the windows that are measured are generated."""
    from sqrtspace_streams.demos import audio
    from sqrtspace_streams.sources import CallableSource

    _check_recording(options)
    names = ("window", "hop", "mode", "checkpoint_every", "lru_bytes", "max_workers")
    given = {name: getattr(options, name) for name in names}
    config = {name: value for name, value in given.items() if value is not None}
    pipe = audio.pipeline(**config)
    length = int(options.seconds * audio.SAMPLE_RATE)
    pipe.bind(CallableSource(lambda start, n: audio.recording(start, n, seed=options.seed), length))
    return pipe.plan(audio.TARGET, params=audio.params(options.window))


def _check_recording(options: argparse.Namespace) -> None:
    if not 0 < options.seconds < float("inf"):
        raise ValueError(f"--seconds {options.seconds}: expected a time above 0")
    if options.seed < 0:
        raise ValueError(f"--seed {options.seed}: expected at least 0")


def _table(plan: Plan) -> Table:
    """A plan with its reasons."""
    from rich.table import Table

    table = Table("", "plan", show_header=False, title=f"Mode: {plan.mode}")
    for reason in plan.reasons:
        table.add_row("reason", reason)
    table.add_row("windows", f"{plan.num_windows} of {plan.window} samples, hop {plan.hop}")
    table.add_row("tile", f"{plan.tile} windows, {plan.workers} workers")
    table.add_row("checkpoints", f"every {plan.k} windows, {plan.slots} slots ({plan.ring})")
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


def _mib(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"


def _say(message: str, status: int) -> int:
    sys.stderr.write(message + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
