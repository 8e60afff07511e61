"""The figures that the package has to reach: memory, faults and time where data barely fits, time
where it fits, predictions, constant memory, seeks, and the cost of the engine itself.

Every compared run is a process of its own, with one BLAS thread, that measures itself behind its
imports; data comes from a file that another process wrote, with warm pages. Time is processor time.

    python bench/bench_acceptance.py barely      # under a limit that classic order barely fits
    python bench/bench_acceptance.py fits        # 15 interleaved pairs with plain NumPy
    python bench/bench_acceptance.py predicted   # peaks against those that the plan predicts
    python bench/bench_acceptance.py long        # constant memory up to a million windows
    python bench/bench_acceptance.py seek        # into a kernel's million windows
    python bench/bench_acceptance.py overhead
"""

# ruff: noqa: ARG002
from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench_utils import figures, interleaved, ratio

from sqrtspace_streams import demos
from sqrtspace_streams.bench.data_sets import SHARES, default_limit, measured_growth
from sqrtspace_streams.bench.limits import memory_limit
from sqrtspace_streams.demos.runs import PLAIN, Measured


def show(**values: Any) -> None:
    """One line of JSON."""
    print(json.dumps(values))


def status(key: str) -> float:
    """Megabytes of a line of /proc/self/status."""
    text = Path("/proc/self/status").read_text()
    found = re.search(rf"{key}:\s+(\d+) kB", text)
    assert found
    return int(found[1]) * 1024 / 1e6


def write(name: str, folder: str, windows: int) -> Path:
    """Data of a demonstration with so many windows."""
    demo = demos.load(name)
    path = Path(folder) / f"{windows}-{demo.file_name}"
    demo.write(path, demo.size_of(windows, demo.window, demo.hop))
    return path


def barely(name: str, rounds: int, limit: int) -> None:
    """Auto under a limit of which classic order, and then plain NumPy, takes about 0.8."""
    demo = demos.load(name)
    for base in ("classic", PLAIN):
        growth_of = measured_growth(name, base, demo.window, demo.hop)
        windows = growth_of.windows(SHARES["barely"] * limit)
        with tempfile.TemporaryDirectory() as folder, memory_limit(limit) as group:
            path = write(name, folder, windows)
            found = interleaved(name, path, (base, "auto"), rounds, before=group.enter)
        theirs, ours = found[base], found["auto"]
        for order, runs in found.items():
            show(demo=name, order=order, **figures(runs))
        show(
            limit_mb=limit / 1e6,
            kind=group.kind,
            base=base,
            base_share=round(max(run.usage.peak_bytes for run in theirs) / limit, 3),
            peak_base_over_auto=ratio(theirs, ours, lambda m: m.usage.peak_bytes),
            growth_base_over_auto=ratio(theirs, ours, growth),
            time_auto_over_base=ratio(ours, theirs, lambda m: m.usage.cpu_seconds),
        )


def growth(run: Measured) -> float:
    """Peak above the imports."""
    return max(run.usage.peak_bytes - run.usage.floor_bytes, 1)


def fits(name: str, rounds: int, _limit: int) -> None:
    """Auto, with its planning, against plain NumPy on data that fits easily, at two sizes."""
    with tempfile.TemporaryDirectory() as folder:
        for windows in (700, 1800):
            path = write(name, folder, windows)
            found = interleaved(name, path, (PLAIN, "auto", "classic"), rounds)
            for order, runs in found.items():
                time_ratio = ratio(runs, found[PLAIN], lambda m: m.usage.cpu_seconds)
                show(demo=name, order=order, **figures(runs), time_over_numpy=time_ratio)


def predicted(name: str, rounds: int, _limit: int) -> None:
    """Predicted peaks over measured ones, for both orders and three sizes."""
    demo = demos.load(name)
    with tempfile.TemporaryDirectory() as folder:
        for windows in (1500, 4000, 8000):
            path = write(name, folder, windows)
            pipe = demo.pipeline(window=demo.window, hop=demo.hop)
            pipe.bind(path)
            plan = pipe.plan(demo.target, params=demo.params(demo.window))
            found = interleaved(name, path, ("classic", "sqrt"), rounds)
            for order, bytes_ in (("classic", plan.classic_bytes), ("sqrt", plan.sqrt_bytes)):
                runs = found[order]
                middle = sorted(runs, key=lambda run: run.usage.peak_bytes)[len(runs) // 2].usage
                peak = middle.floor_bytes + (bytes_ or 0)
                show(
                    demo=name,
                    windows=windows,
                    order=order,
                    measured_mb=round(middle.peak_bytes / 1e6, 1),
                    predicted_mb=round(peak / 1e6, 1),
                    peak_ratio=round(peak / middle.peak_bytes, 3),
                )


def _kernel_pipeline() -> Any:
    from sqrtspace_streams import Kernel, SqrtSpacePipeline
    from sqrtspace_streams.sources import CallableSource

    class Smooth(Kernel):
        """A filter with a state of 4 KiB, 5 to 10 microseconds a window."""

        chunk_invariant = True

        def init_state(self, shape: Any, dtype: Any, **kw: Any) -> dict[str, Any]:
            return {"y": np.zeros(512)}

        def step(self, x_block: Any, state: dict[str, Any], **kw: Any) -> Any:
            y, out = state["y"], np.empty((len(x_block), 1))
            for i in range(len(x_block)):
                y = 0.5 * y + x_block[i, 0]
                out[i] = y[0]
            return out, {"y": y}

    def read(start: int, n: int) -> np.ndarray:
        return (np.arange(start, start + n) % 1009).astype("float32")

    pipe = SqrtSpacePipeline(window=64, hop=64)
    pipe.kernel("smooth")(Smooth)
    pipe.bind(CallableSource(read, 64 * 10**7))
    return pipe


def _stage_pipeline() -> Any:
    from sqrtspace_streams import SqrtSpacePipeline
    from sqrtspace_streams.sources import CallableSource

    def read(start: int, n: int) -> np.ndarray:
        return (np.arange(start, start + n) % 1009).astype("float32")

    pipe = SqrtSpacePipeline(window=64, hop=64, tile=512, max_workers=1)
    pipe.stage("spectrum", batch_invariant=True)(lambda x: np.fft.rfft(x))
    pipe.stage("power", ["spectrum"], batch_invariant=True)(lambda x: np.abs(x) ** 2)
    pipe.stage("loudest", ["power"], batch_invariant=True)(lambda x: x.max(axis=1))
    pipe.bind(CallableSource(read, 64 * 10**7))
    return pipe


def long() -> None:
    """The peak of one process after each power of ten of windows: stages, then a kernel.

    That of the kernel grows by its checkpoints, of 4 KiB each, up to what they may take.
    """
    for target, pipe in (("loudest", _stage_pipeline()), ("smooth", _kernel_pipeline())):
        for windows in (10**3, 10**4, 10**5, 10**6, 10**7):
            pipe.reset()
            Path("/proc/self/clear_refs").write_text("5")
            count = sum(len(rows) for _, rows in pipe.blocks(target, (0, windows)))
            checkpoints = sum(entry.nbytes for entry in _entries(pipe, target)) / 1e6
            show(
                target=target,
                windows=count,
                peak_mb=round(status("VmHWM"), 2),
                checkpoints_mb=round(checkpoints, 2),
            )


def _entries(pipe: Any, target: str) -> Any:
    for histories in pipe._memory._histories.get(target, {}).values():
        yield histories.ring


def seek(windows: int = 10**6, seeks: int = 500) -> None:
    """Time of single windows at random, after one forward sweep; their bytes are compared.

    Processor time as well: other work may take turns with a seek of a few milliseconds.
    """
    pipe, out = _kernel_pipeline(), np.empty((windows, 1))
    pipe.evaluate("smooth", (0, windows), out=out)
    rng, times, cpu_times = np.random.default_rng(0), [], []
    for t in rng.integers(0, windows, seeks).tolist():
        began, cpu_began = time.perf_counter(), time.process_time()
        row = pipe.evaluate("smooth", (t, t + 1))
        times.append(time.perf_counter() - began)
        cpu_times.append(time.process_time() - cpu_began)
        assert row.tobytes() == out[t : t + 1].tobytes()
    p50, p99 = np.percentile(np.array(times) * 1e3, [50, 99]).round(2)
    cpu_p50, cpu_p99 = np.percentile(np.array(cpu_times) * 1e3, [50, 99]).round(2)
    show(
        windows=windows, seeks=seeks, p50_ms=p50, p99_ms=p99, cpu_p50_ms=cpu_p50, cpu_p99_ms=cpu_p99
    )


def overhead(tiles: int = 10_000) -> None:
    """Processor time of the engine for a tile of six stages that do nothing."""
    from sqrtspace_streams import SqrtSpacePipeline

    pipe = SqrtSpacePipeline(window=64, hop=64, mode="sqrt", max_workers=1, tile=32)
    for i in range(6):
        inputs = [f"s{i - 1}"] if i else None
        pipe.stage(f"s{i}", inputs, batch_invariant=True)(lambda x: x)
    pipe.bind(np.zeros(64 * 32 * tiles, "float32"))
    for _ in range(3):
        began = time.process_time()
        for _ in pipe.blocks("s5"):
            pass
        per_tile = (time.process_time() - began) / tiles
        show(us_per_tile=per_tile * 1e6, us_per_stage=per_tile / 6 * 1e6)


def main() -> None:
    """Run one of the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    compared = {"barely": barely, "fits": fits, "predicted": predicted}
    alone = {"long": long, "seek": seek, "overhead": overhead}
    parser.add_argument("what", choices=[*compared, *alone])
    parser.add_argument("--demo", choices=demos.NAMES, default="audio")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--limit-mb", type=int, default=default_limit() // 1_000_000)
    arguments = parser.parse_args()
    if arguments.what in compared:
        limit = arguments.limit_mb * 1_000_000
        compared[arguments.what](arguments.demo, arguments.rounds, limit)
    else:
        for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
            os.environ.setdefault(name, "1")
        alone[arguments.what]()


if __name__ == "__main__":
    main()
