"""Zero-phase filtering of a recording that is larger than the memory that is allowed.

The forward filter's past is computed again from few states while the backward filter runs from the
end: the file is read twice, and neither it nor the result is ever in memory as a whole.

    python examples/zero_phase_recording.py --megabytes 2000

It needs `pip install 'sqrtspace-streams[signal]'`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from scipy import signal

from sqrtspace_streams import SqrtSpacePipeline
from sqrtspace_streams.metrics import Meter
from sqrtspace_streams.smoothers import zero_phase

WINDOW, RATE = 4096, 48_000


def write_recording(path: Path, num_windows: int) -> None:
    """A tone in noise, window by window."""
    rng = np.random.default_rng(0)
    header = {"descr": "<f4", "fortran_order": False, "shape": (num_windows * WINDOW,)}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_2_0(file, header)
        for t in range(num_windows):
            time = np.arange(t * WINDOW, (t + 1) * WINDOW) / RATE
            tone = np.sin(2 * np.pi * 440 * time) + rng.standard_normal(WINDOW)
            file.write(tone.astype("<f4").tobytes())


def main() -> None:
    """Filter, and compare what fits in memory with SciPy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--budget-megabytes", type=float, default=8)
    arguments = parser.parse_args()
    num_windows = arguments.megabytes * 1_000_000 // (4 * WINDOW)
    b, a = signal.butter(3, [300, 600], btype="bandpass", fs=RATE)
    pipe = SqrtSpacePipeline(window=WINDOW, hop=WINDOW)
    zero_phase(pipe, "smooth", b, a)
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "recording.npy", Path(folder) / "smooth.raw"
        write_recording(path, num_windows)
        pipe.bind(str(path))
        budget = int(arguments.budget_megabytes * 1e6)
        with Meter() as meter, open(out, "wb") as file:
            for first, rows in pipe.blocks_reversed("smooth", budget_bytes=budget):
                file.seek(first * WINDOW * 8)
                file.write(rows.tobytes())
        report, usage = pipe.last_reversal, meter.usage
        assert report is not None
        grown = (usage.peak_bytes - usage.floor_bytes) / 1e6
        print(f"{num_windows} windows, {report.steps / num_windows:.2f} steps a window")
        print(f"{report.peak_bundles} states and rows, {report.peak_bytes / 1e6:.1f} MB")
        print(f"{grown:.1f} MB more memory for {path.stat().st_size / 1e6:.0f} MB of samples")
        if arguments.megabytes <= 200:
            found = np.fromfile(out, np.float64)
            expected = signal.filtfilt(b, a, np.load(path))
            assert found.tobytes() == expected.tobytes()
            print("the bits of scipy.signal.filtfilt")


if __name__ == "__main__":
    main()
