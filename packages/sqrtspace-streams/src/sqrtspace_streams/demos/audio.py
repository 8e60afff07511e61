"""A recording, window by window: spectrum, band, spectral features, classes.

The runs that are compared are processes of their own; as a module this file is one of them.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import Unpack

from sqrtspace_streams import baselines, stages
from sqrtspace_streams._rows import Array
from sqrtspace_streams.config import Config, Mode
from sqrtspace_streams.metrics import Meter, Usage, run_child
from sqrtspace_streams.pipeline import SqrtSpacePipeline
from sqrtspace_streams.report import PlanLine, Report, compare

SAMPLE_RATE = 48_000
BAND = {"sr": SAMPLE_RATE, "f_lo": 80.0, "f_hi": 2000.0}
TARGET = "classify"
_BLOCK = 1 << 16  # samples that are drawn at once


def recording(start: int, n: int, *, seed: int = 0) -> Array:
    """Samples ``[start, start + n)`` of an endless generated recording at 48 kHz.

    Every second has another tone of 100 to 1900 Hz with its octave, in noise.

    Returns
    -------
    ndarray, shape (n,), float32
        In about [-1, 1]; a sample does not depend on the range in which it is asked for.
    """
    blocks = range(start // _BLOCK, math.ceil((start + n) / _BLOCK))
    whole = [_recording_block(index, seed) for index in blocks]
    if not whole:
        return np.empty(0, np.float32)
    first = start - blocks[0] * _BLOCK
    return np.concatenate(whole)[first : first + n]


def _recording_block(index: int, seed: int) -> Array:
    rng = np.random.default_rng([seed, index])
    time = np.arange(index * _BLOCK, (index + 1) * _BLOCK) / SAMPLE_RATE
    pitch = 100.0 + (time.astype(np.int64) * 7919 + seed) % 1800
    phase = 2 * np.pi * pitch * (time % 1.0)
    tone = 0.4 * np.sin(phase) + 0.2 * np.sin(2 * phase)
    return (tone + 0.05 * rng.standard_normal(_BLOCK)).astype(np.float32)


def write_recording(path: Path, seconds: float, *, seed: int = 0) -> None:
    """Write the beginning of the recording to a .npy file, block by block."""
    length = int(seconds * SAMPLE_RATE)
    samples = np.lib.format.open_memmap(path, "w+", np.float32, (length,))
    for start in range(0, length, _BLOCK):
        stop = min(start + _BLOCK, length)
        samples[start:stop] = recording(start, stop - start, seed=seed)
    samples.flush()


def pipeline(**config: Unpack[Config]) -> SqrtSpacePipeline:
    """The four stages, not bound to a recording; their parameters are `BAND`."""
    pipe = SqrtSpacePipeline(**config)
    pipe.stage("fft", batch_invariant=True)(stages.fft)
    pipe.stage("bandpass", ["fft"], batch_invariant=True)(stages.bandpass)
    pipe.stage("features", ["bandpass"])(stages.features)
    pipe.stage(TARGET, ["features"])(baselines.classifier())
    return pipe


def params(window: int) -> dict[str, Any]:
    """Parameters of the stages."""
    return {**BAND, "window": window}


def demo(
    seconds: float, *, window: int = 4096, hop: int = 1024, mode: Mode = "auto", seed: int = 0
) -> Report:
    """Run the recording in plain NumPy, in classic order and as the plan says, and compare.

    Parameters
    ----------
    seconds : float
        Of the recording, which is written to a temporary file.
    window, hop, mode
        As of `SqrtSpacePipeline`.
    seed : int
        Of the recording.

    Raises
    ------
    ChildError
        If one of the processes fails.
    """
    with tempfile.TemporaryDirectory(prefix="sqrtspace-") as folder:
        source = Path(folder) / "recording.npy"
        write_recording(source, seconds, seed=seed)
        found: dict[str, tuple[Usage, PlanLine | None, Array]] = {}
        for order in ("numpy", "classic", "asked"):
            rows = Path(folder) / f"{order}.npy"
            how = mode if order == "asked" else order
            printed = run_child(__name__, [how, str(source), str(rows), str(window), str(hop)])
            first, _, second = printed.strip().partition("\n")
            plan = PlanLine.from_json(second) if second else None
            found[order] = Usage.from_json(first), plan, np.load(rows, allow_pickle=False)
    usage, plan, result = found["asked"]
    assert plan is not None
    baseline, _, plain = found["numpy"]
    verdict = compare(result, classic=found["classic"][2], plain=plain)
    title = f"audio: {seconds:g} s at {SAMPLE_RATE / 1000:g} kHz, {len(result)} windows"
    return Report(title, mode, plan, usage, baseline, verdict)


def _run(how: str, source: str, out: str, window: int, hop: int) -> None:
    """Child: one run, its `Usage` and `PlanLine` on standard output, its rows in a file."""
    pipe = None if how == "numpy" else pipeline(window=window, hop=hop, mode=how)  # type: ignore[arg-type]
    with Meter() as meter:
        if pipe is None:
            rows = baselines.audio(np.load(source), **BAND, window=window, hop=hop)
        else:
            pipe.bind(source)
            rows = pipe.evaluate(TARGET, params=params(window))
    np.save(out, rows)
    sys.stdout.write(meter.usage.to_json() + "\n")
    if pipe is not None and pipe.last_plan is not None:
        sys.stdout.write(PlanLine.of(pipe.last_plan).to_json() + "\n")


if __name__ == "__main__":
    _parser = argparse.ArgumentParser()
    _parser.add_argument("how", choices=["numpy", "auto", "classic", "sqrt"])
    _parser.add_argument("source")
    _parser.add_argument("out")
    _parser.add_argument("window", type=int)
    _parser.add_argument("hop", type=int)
    _run(**vars(_parser.parse_args()))
