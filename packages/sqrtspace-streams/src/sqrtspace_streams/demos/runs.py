"""Runs of a demonstration, each a process of its own that measures itself; as a module, one run.

python -m sqrtspace_streams.demos.runs '{"demo": "audio", "how": "numpy", ...}'
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sqrtspace_streams import demos
from sqrtspace_streams._rows import Array
from sqrtspace_streams.config import Mode
from sqrtspace_streams.counts import Counts
from sqrtspace_streams.metrics import Meter, Usage, run_child
from sqrtspace_streams.plan import Plan
from sqrtspace_streams.report import Report, compare

_MODULE = "sqrtspace_streams.demos.runs"
PLAIN = "numpy"
"""The way to run without the engine."""


@dataclass(frozen=True)
class Run:
    """What to run: a demonstration over a file, in plain NumPy or in one of the modes."""

    demo: str
    how: str
    """`PLAIN`, or a mode."""
    source: str
    window: int
    hop: int
    config: dict[str, Any] = field(default_factory=dict)
    """Further options of the pipeline."""
    out: str = ""
    """A .npy file for the rows; none by default."""


@dataclass(frozen=True)
class Measured:
    """What a run took and gave."""

    usage: Usage
    num_windows: int
    digest: str
    """Of type, shape and bytes of the rows."""
    plan: Plan | None = None
    """None in plain NumPy."""
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    """Windows, seconds and bytes of a row of each stage."""
    recompute: float = 0.0
    """Time on windows that are not in the answer, as a share of the rest."""

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Measured:
        """The inverse of `to_json`."""
        values = json.loads(text)
        plan = values.pop("plan")
        usage = Usage(**values.pop("usage"))
        return cls(usage, plan=plan and Plan.from_dict(plan), **values)


def measure(run: Run, *, before: Callable[[], None] | None = None) -> Measured:
    """Run in a fresh process.

    Parameters
    ----------
    run : Run
    before : callable, optional
        Called in the process before Python starts in it, to limit its memory for example.

    Raises
    ------
    ChildError
        If it fails.
    """
    return Measured.from_json(run_child(_MODULE, [json.dumps(asdict(run))], before=before))


def demonstrate(
    name: str, size: float, *, window: int, hop: int, mode: Mode = "auto", seed: int = 0
) -> Report:
    """Run in plain NumPy, in classic order and as the plan says, and compare.

    Parameters
    ----------
    name : str
        Of the demonstration.
    size : float
        Of its data, which is written to a temporary file.
    window, hop, mode
        As of `SqrtSpacePipeline`.
    seed : int
        Of the data.

    Raises
    ------
    ChildError
        If one of the processes fails.
    """
    demo = demos.load(name)
    found: list[tuple[Measured, Array]] = []
    with tempfile.TemporaryDirectory(prefix="sqrtspace-") as folder:
        source, out = Path(folder) / demo.file_name, Path(folder) / "rows.npy"
        demo.write(source, size, seed=seed)
        for how in (PLAIN, "classic", mode):
            measured = measure(Run(name, how, str(source), window, hop, out=str(out)))
            found.append((measured, np.load(out, allow_pickle=False)))
    (baseline, plain), (_, classic), (asked, rows) = found
    assert asked.plan is not None
    verdict = compare(rows, classic=classic, plain=plain)
    title = demo.title(size, len(rows))
    return Report(title, mode, asked.plan, asked.usage, baseline.usage, verdict)


def run_here(run: Run) -> Measured:
    """Run in this process."""
    demo = demos.load(run.demo)
    demo.import_libraries()
    if run.how == PLAIN:
        with Meter() as meter:
            rows = demo.plain(Path(run.source), window=run.window, hop=run.hop)
        plan, counts = None, Counts()
    else:
        config = {"window": run.window, "hop": run.hop, "mode": run.how, **run.config}
        pipe = demo.pipeline(**config)
        with Meter() as meter:
            pipe.bind(run.source)
            rows = demo.rows(pipe, run.window)
        plan, counts = pipe.last_plan, pipe.last_counts
    if run.out:
        np.save(run.out, rows)
    digest = hashlib.sha256(f"{rows.dtype.str}{rows.shape}".encode() + rows.tobytes())
    stages = {
        name: {
            "windows": windows,
            "seconds": counts.seconds[name],
            "row_bytes": counts.row_bytes[name],
        }
        for name, windows in counts.rows.items()
    }
    ratio = counts.recompute_ratio()
    return Measured(meter.usage, len(rows), digest.hexdigest(), plan, stages, ratio)


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(description=__doc__)
    _parser.add_argument("run", help="JSON of a Run")
    sys.stdout.write(run_here(Run(**json.loads(_parser.parse_args().run))).to_json() + "\n")
