"""The command ``sqrtspace``: demonstrations, benches, plans, profiles."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from sqrtspace_streams import demos
from sqrtspace_streams.config import Mode, Settings
from sqrtspace_streams.errors import StreamsError
from sqrtspace_streams.tables import plan_table, stage_table

if TYPE_CHECKING:
    from sqrtspace_streams.demos.demo import Demo
    from sqrtspace_streams.plan import Plan

_FAILED, _MISUSED = 1, 2
_MODES = "stage by stage (classic), tile by tile (sqrt), or as is planned (auto, the default)"
_SIZES: dict[str, tuple[str, type, str]] = {
    "audio": ("seconds", float, "a recording: spectrum, band, features, classes"),
    "logs": ("lines", int, "an access log: regex filter, rolling quantiles, alerts"),
    "ml": ("images", int, "images: shingles, augmentation, features, DataLoader"),
}


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
    commands = {"demo": _demo, "bench": _bench, "plan": _plan, "profile": _profile}
    try:
        return commands[options.command](options)
    except (StreamsError, ChildError, OSError) as error:
        return _say(f"sqrtspace: {error}", _FAILED)
    except ValueError as error:
        return _say(f"sqrtspace: {error}", _MISUSED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sqrtspace", description="Long array pipelines in a small, constant memory."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="run a demonstration beside its plain baseline")
    profile = commands.add_parser("profile", help="time and memory of each stage")
    for command in (demo, profile):
        which = command.add_subparsers(dest="what", required=True)
        for name in demos.NAMES:
            _add_run_options(which.add_parser(name, help=_SIZES[name][2]), name)
    bench = commands.add_parser("bench", help="run the bench matrix: a CSV file and a plot")
    bench.add_argument("what", choices=["audio", "logs"], help="the data")
    bench.add_argument("--quick", action="store_true", help="one combination of options")
    bench.add_argument("--limit-mb", type=int, help="memory of each process (default: by the RAM)")
    bench.add_argument("--rounds", type=int, default=1, help="runs of each combination")
    bench.add_argument("--out", type=Path, help="folder (default: bench-audio or bench-logs)")
    bench.add_argument("--seed", type=int, default=0, help="of the data")
    plan = commands.add_parser("plan", help="show how the audio demonstration would be evaluated")
    plan.add_argument("--print", action="store_true", help="as a table (the default)")
    plan.add_argument("--json", action="store_true", help="as JSON, in one line")
    plan.add_argument("--checkpoint-every", type=int, metavar="K", help="windows apart")
    plan.add_argument("--lru-bytes", type=int, metavar="BYTES", help="of outputs that are kept")
    plan.add_argument("--max-workers", type=int, metavar="N", help="threads, at most")
    _add_run_options(plan, "audio")
    return parser


def _add_run_options(command: argparse.ArgumentParser, name: str) -> None:
    """The size of the data, what the windows are, the mode and the seed."""
    unit, kind, _ = _SIZES[name]
    size = f"of the {name} data (default: that of the demonstration)"
    command.add_argument(f"--{unit}", dest="size", type=kind, help=size, metavar=unit.upper())
    if name != "ml":  # a window is an image
        command.add_argument("--window", type=int, metavar="N", help="length of a window")
    if name == "audio":  # windows of other data do not overlap
        command.add_argument("--hop", type=int, metavar="N", help="from one to the next")
    command.add_argument("--mode", choices=get_args(Mode), default=Settings.mode, help=_MODES)
    command.add_argument("--seed", type=int, default=0, help="of the data")


def _run_options(options: argparse.Namespace, name: str) -> tuple[Demo, float, int, int]:
    """The demonstration, the size of its data, window and hop."""
    demo = demos.load(name)
    size = demo.default_size if options.size is None else options.size
    if not 0 < size < float("inf"):
        raise ValueError(f"--{demo.unit} {size}: expected a number above 0")
    if options.seed < 0:
        raise ValueError(f"--seed {options.seed}: expected at least 0")
    window = getattr(options, "window", None)
    hop = getattr(options, "hop", None)
    window = demo.window if window is None else window
    hop = (window if demo.hop == demo.window else demo.hop) if hop is None else hop
    Settings.of({"window": window, "hop": hop})
    if demo.num_windows(size, window, hop) < 1:
        raise ValueError(f"--{demo.unit} {size}: that is no window of {window}")
    return demo, size, window, hop


def _demo(options: argparse.Namespace) -> int:
    from rich.console import Console

    from sqrtspace_streams.demos import runs

    demo, size, window, hop = _run_options(options, options.what)
    report = runs.demonstrate(
        demo.name, size, window=window, hop=hop, mode=options.mode, seed=options.seed
    )
    Console().print(report.panel())
    return 0 if report.verdict.is_equal else _FAILED


def _bench(options: argparse.Namespace) -> int:
    from rich.console import Console

    from sqrtspace_streams.bench import data_sets, matrix, summary

    if options.rounds < 1 or (options.limit_mb is not None and options.limit_mb < 1):
        raise ValueError("--rounds and --limit-mb: expected at least 1")
    limit = data_sets.default_limit() if options.limit_mb is None else options.limit_mb * 1_000_000
    folder = options.out or Path(f"bench-{options.what}")
    cells = matrix.bench(
        options.what,
        folder,
        matrix=matrix.Matrix.of(options.what, quick=options.quick),
        limit=limit,
        seed=options.seed,
        rounds=options.rounds,
    )
    Console().print(summary.summary_table(cells))
    try:
        summary.plot(cells, folder / "results.png")
    except ImportError as error:
        _say(f"sqrtspace: no plot: {error}", 0)
    if different := summary.differing(cells):
        return _say(f"sqrtspace: other rows than in classic order: {different}", _FAILED)
    return 0


def _profile(options: argparse.Namespace) -> int:
    from rich.console import Console

    from sqrtspace_streams.demos import runs

    demo, size, window, hop = _run_options(options, options.what)
    with tempfile.TemporaryDirectory(prefix="sqrtspace-") as folder:
        source = Path(folder) / demo.file_name
        demo.write(source, size, seed=options.seed)
        run = runs.Run(demo.name, options.mode, str(source), window, hop)
        Console().print(stage_table(demo.name, runs.measure(run)))
    return 0


def _plan(options: argparse.Namespace) -> int:
    from rich.console import Console

    plan = _audio_plan(options)
    if options.json:
        sys.stdout.write(plan.to_json() + "\n")
    if options.print or not options.json:
        Console().print(plan_table(plan))
    return 0


def _audio_plan(options: argparse.Namespace) -> Plan:
    """The plan for the recording, of which only the windows that are measured are generated."""
    from sqrtspace_streams.demos import audio
    from sqrtspace_streams.sources import CallableSource

    demo, size, window, hop = _run_options(options, "audio")
    names = ("mode", "checkpoint_every", "lru_bytes", "max_workers")
    given = {name: getattr(options, name) for name in names}
    config = {name: value for name, value in given.items() if value is not None}
    pipe = demo.pipeline(window=window, hop=hop, **config)
    length = int(size * audio.SAMPLE_RATE)
    pipe.bind(CallableSource(lambda start, n: audio.recording(start, n, seed=options.seed), length))
    return pipe.plan(demo.target, params=demo.params(window))


def _say(message: str, status: int) -> int:
    sys.stderr.write(message + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
