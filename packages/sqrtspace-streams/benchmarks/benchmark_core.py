"""Peak memory, page faults and time of the two orders, seeks, and the cost of the engine itself.

Every run is a process of its own, with one BLAS thread; samples come from a .npy file that another
process wrote, with warm pages. The peak is the kernel's high-water mark after it was reset behind
the imports. Time is processor time.

    python benchmarks/benchmark_core.py orders --windows 8000 --rounds 3
    python benchmarks/benchmark_core.py long          # constant memory up to a million windows
    python benchmarks/benchmark_core.py seek          # into a kernel's million windows
    python benchmarks/benchmark_core.py overhead
"""

# ruff: noqa: ARG002
from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

WINDOW, HOP = 4096, 1024
ORDERS = ("numpy", "classic", "sqrt", "auto")
HANN = np.hanning(WINDOW).astype("float32")
WEIGHTS = np.random.default_rng(0).standard_normal((164, 32)).astype("float32") / 10


def fft(x: np.ndarray) -> np.ndarray:
    return np.fft.rfft(x * HANN)


def bandpass(spectrum: np.ndarray) -> np.ndarray:
    return spectrum[:, 7:171]


def features(band: np.ndarray) -> np.ndarray:
    return np.abs(band).astype("float32")


def classify(rows: np.ndarray) -> np.ndarray:
    return np.tanh(rows @ WEIGHTS)


def status(key: str) -> float:
    """Megabytes of a line of /proc/self/status."""
    text = Path("/proc/self/status").read_text()
    found = re.search(rf"{key}:\s+(\d+) kB", text)
    assert found
    return int(found[1]) * 1024 / 1e6


def one_order(order: str, path: str, windows: int) -> None:
    """Child: evaluate once and print what it took."""
    import resource

    import psutil  # noqa: F401 part of the floor, not of the run

    from sqrtspace_streams import SqrtSpacePipeline

    pipe = SqrtSpacePipeline(window=WINDOW, hop=HOP, mode="auto" if order == "numpy" else order)
    pipe.stage("fft", batch_invariant=True)(fft)
    pipe.stage("bandpass", ["fft"], batch_invariant=True)(bandpass)
    pipe.stage("features", ["bandpass"], batch_invariant=True)(features)
    pipe.stage("classify", ["features"])(classify)
    pipe.bind(path)
    Path("/proc/self/clear_refs").write_text("5")
    floor, before = status("VmRSS"), resource.getrusage(resource.RUSAGE_SELF)
    began = time.process_time()
    if order == "numpy":
        x = np.lib.stride_tricks.sliding_window_view(np.load(path), WINDOW)[::HOP]
        rows = classify(features(bandpass(fft(x))))
    else:
        rows = pipe.evaluate("classify")
    seconds, peak = time.process_time() - began, status("VmHWM")
    after = resource.getrusage(resource.RUSAGE_SELF)
    plan = pipe.last_plan
    predicted = plan and (plan.classic_bytes if plan.mode == "classic" else plan.sqrt_bytes)
    result = {
        "order": order,
        "peak_mb": round(peak, 1),
        "floor_mb": round(floor, 1),
        "predicted_mb": predicted and round(floor + predicted / 1e6, 1),
        "minor_faults": after.ru_minflt - before.ru_minflt,
        "major_faults": after.ru_majflt - before.ru_majflt,
        "cpu_s": round(seconds, 3),
        "mode": plan and plan.mode,
        "tile": plan and plan.tile,
        "digest": hashlib.sha256(rows[:windows].tobytes()).hexdigest()[:12],
    }
    print(json.dumps(result))


def orders(windows: int, rounds: int) -> None:
    """Interleaved rounds of every order; medians."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        make = (
            "import numpy as np, sys; np.save(sys.argv[1], np.random.default_rng(1)"
            f".standard_normal({(windows - 1) * HOP + WINDOW}).astype('float32'))"
        )
        subprocess.run([sys.executable, "-c", make, str(path)], check=True)
        found: dict[str, list[dict[str, Any]]] = {order: [] for order in ORDERS}
        for _ in range(rounds):
            for order in ORDERS:
                found[order].append(_child("one", order, str(path), str(windows)))
    for runs in found.values():
        middle = {k: statistics.median(r[k] for r in runs) for k in ("peak_mb", "cpu_s")}
        spread = [min(r["cpu_s"] for r in runs), max(r["cpu_s"] for r in runs)]
        print(json.dumps({**runs[0], **middle, "cpu_s_spread": spread, "rounds": rounds}))


def _child(*arguments: str) -> dict[str, Any]:
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    command = [sys.executable, __file__, *arguments]
    environment = {**os.environ, **threads}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(run.stdout)
    return result


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


def long() -> None:
    """The peak of one process after each power of ten of windows."""
    pipe = _kernel_pipeline()
    for windows in (10**3, 10**4, 10**5, 10**6):
        pipe.reset()
        Path("/proc/self/clear_refs").write_text("5")
        count = sum(len(rows) for _, rows in pipe.blocks("smooth", (0, windows)))
        print(json.dumps({"windows": count, "peak_mb": round(status("VmHWM"), 2)}))


def seek(windows: int = 10**6, seeks: int = 500) -> None:
    """Time of single windows at random, after one forward sweep; their bytes are compared."""
    pipe, out = _kernel_pipeline(), np.empty((windows, 1))
    pipe.evaluate("smooth", (0, windows), out=out)
    rng, times = np.random.default_rng(0), []
    for t in rng.integers(0, windows, seeks).tolist():
        began = time.perf_counter()
        row = pipe.evaluate("smooth", (t, t + 1))
        times.append(time.perf_counter() - began)
        assert row.tobytes() == out[t : t + 1].tobytes()
    p50, p99 = np.percentile(np.array(times) * 1e3, [50, 99])
    print(json.dumps({"windows": windows, "seeks": seeks, "p50_ms": p50, "p99_ms": p99}))


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
        print(json.dumps({"us_per_tile": per_tile * 1e6, "us_per_stage": per_tile / 6 * 1e6}))


def main() -> None:
    """Run one of the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["orders", "long", "seek", "overhead", "one"])
    parser.add_argument("child", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--windows", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.what == "one":
        order, path, windows = arguments.child
        one_order(order, path, int(windows))
    elif arguments.what == "orders":
        orders(arguments.windows, arguments.rounds)
    else:
        {"long": long, "seek": seek, "overhead": overhead}[arguments.what]()


if __name__ == "__main__":
    main()
